"""The layers of an adapter in PEFT's format, of its file of tensors: what is held of each, and its update's size."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vxlab.analysis import Update
from vxlab.errors import VxlabError
from vxlab.experiments.exchange.own_tensors import COLUMNS
from vxlab.words import first_line

if TYPE_CHECKING:
    import pandas as pd

_PREFIX = "base_model.model."
_XS = "lora_latent_mapping.weight"
_PARTS = re.compile(
    r"[._](?P<part>(?:default_)?lora_latent_mapping\.weight|(?:lora|vera|tinylora|hada|lokr|ia3|oft|boft|fourierft|vblora|"
    r"randlora|hra|miss|shira|waveft|road|gralora|delora|pvera|unilora|c3a|bone|psoft|hira|lily|poly|glora)_[\w.]+)$"
)
"""What follows a layer's name in a key; of a method that is not among these, nothing is told by layer."""


def read_peft_layers(file: Path, config: Mapping[str, Any], name: str) -> "tuple[str, pd.DataFrame, int]":
    """Return what the adapter is in words, a row a layer, and how many numbers there are beside.

    Args:
        file: of its tensors.
        config: of its settings file.
        name: PEFT's name for its method.

    Raises:
        VxlabError: the file is damaged.
    """
    import pandas as pd

    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{file} cannot be read ({first_line(error)}); save the adapter again") from error
    by_layer: dict[str, dict[str, Tensor]] = {}
    beside = 0
    for key, tensor in tensors.items():
        found = _PARTS.search(key) if key.startswith(_PREFIX) else None
        if found is None:
            beside += tensor.numel()
        else:
            by_layer.setdefault(key[len(_PREFIX) : found.start()], {})[found["part"].removeprefix("default_")] = tensor
    rows = [(layer, *_describe(layer, own, config)) for layer, own in by_layer.items()]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["held"] = sum(tensor.numel() for own in by_layer.values() for tensor in own.values())
    xs = any(_XS in own for own in by_layer.values())
    kind = (
        "a LoRA-XS adapter as its released code writes it"
        if xs
        else f"an adapter in PEFT's format: {_told(name, config)}"
    )
    return kind, table, beside


def _told(name: str, config: Mapping[str, Any]) -> str:
    return "DoRA" if config.get("use_dora") else name


def _describe(
    layer: str, own: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[float, float, float, int, float]:
    """Return out, in, rank, numbers that train, and ‖ΔW‖_F of a layer."""
    held = sum(tensor.numel() for tensor in own.values())
    A, B, R = (own.get(part) for part in ("lora_A.weight", "lora_B.weight", _XS))
    if A is not None and B is not None and A.dim() == B.dim() == 2:
        trained = held if R is None else R.numel()
        return B.shape[0], A.shape[1], A.shape[0], trained, _norm(layer, A, B, R, config)
    b, d = own.get("vera_lambda_b"), own.get("vera_lambda_d")
    if b is not None and d is not None:
        return b.numel(), math.nan, d.numel(), held, math.nan
    return math.nan, math.nan, math.nan, held, math.nan


def _norm(layer: str, A: Tensor, B: Tensor, R: Tensor | None, config: Mapping[str, Any]) -> float:
    """Return ‖s·B·A‖_F, or ‖s·B·R·A‖_F; NaN where a magnitude vector makes the update depend on W."""
    finite = all(bool(factor.isfinite().all()) for factor in (A, B, *([R] if R is not None else [])))
    if config.get("use_dora") or not finite:
        return math.nan
    left = B.double() if R is None else B.double() @ R.double()
    return _scaling(layer, A.shape[0], config) * Update(left, A.double()).norm()


def _scaling(layer: str, rank: int, config: Mapping[str, Any]) -> float:
    """Return s = α/r, or α/√r, with α as the patterns of layers' names give it."""
    alpha = config.get("lora_alpha", 8)
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            alpha = own
            break
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
