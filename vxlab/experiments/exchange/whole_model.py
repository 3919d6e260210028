"""What a whole model's folder holds, of its config and the headers of its weights: no weight is read."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from vxlab.errors import VxlabError
from vxlab.experiments.exchange.adapter_layers import COLUMNS
from vxlab.words import first_line, in_bytes

if TYPE_CHECKING:
    import pandas as pd


def describe_whole_model(folder: Path) -> "tuple[str, dict[str, str], pd.DataFrame]":
    """Return what it is, facts by name, and a row for the matrices of one name and shape in all blocks.

    Raises:
        VxlabError: the config or a file of weights is damaged, or there are no weights that are not pickled.
    """
    import pandas as pd

    config = _config(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise VxlabError(f"{folder} holds config.json and no safetensors, so it is no whole model; save it with them")
    found = {name: (shape, dtype) for file in files for name, shape, dtype in _headers(file)}
    groups: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, (shape, _) in found.items():
        if len(shape) == 2:
            pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", name.removesuffix(".weight"))
            groups[pattern, shape] = groups.get((pattern, shape), 0) + 1
    rows = [
        (f"{name} ({count})", rows, columns, math.nan, count * rows * columns, math.nan)
        for (name, (rows, columns)), count in groups.items()
    ]
    facts = {
        "model": ", ".join(config.get("architectures") or [str(config.get("model_type", "not named"))]),
        "labels": ", ".join((config.get("id2label") or {}).values()) or "none",
        "numbers held": f"{sum(math.prod(shape) for shape, _ in found.values()):,}",
        "precision": ", ".join(sorted({dtype for _, dtype in found.values()})),
        "size": f"{in_bytes(sum(file.stat().st_size for file in files))} in {len(files)} file{'s' * (len(files) > 1)}",
    }
    if "quantization_config" in config:
        facts["quantised by"] = str(config["quantization_config"].get("quant_method", "what it does not name"))
    return "a whole model", facts, pd.DataFrame(rows, columns=COLUMNS)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VxlabError(f"{folder / 'config.json'} is damaged ({first_line(error)}); save the model again") from error
    if not isinstance(config, dict):
        raise VxlabError(f"{folder / 'config.json'} holds no settings; save the model again")
    return config


def _headers(file: Path) -> Iterator[tuple[str, tuple[int, ...], str]]:
    try:
        with safe_open(file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118
                held = opened.get_slice(key)
                yield key, tuple(held.get_shape()), held.get_dtype()
    except (OSError, SafetensorError) as error:
        raise VxlabError(f"{file} cannot be read ({first_line(error)}); save the model again") from error
