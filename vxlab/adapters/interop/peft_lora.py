"""LoRA as the peft library saves it: as our LoRA where that can say it, else as peft's own method."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vxlab.adapters.interop.keys import own_names, sort_tensors
from vxlab.adapters.interop.peft_files import WEIGHTS_FILE
from vxlab.adapters.interop.peft_other import settings_there
from vxlab.adapters.interop.peft_targets import matching
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.checks import quote
from vxlab.errors import VxlabError

_STARTS = (True, False, "gaussian", "orthogonal", "eva", "mica")
"""How A and B may have started: these leave the base's own weights as they are."""
_OURS = {"lora_A.weight": "A", "lora_B.weight": "B"}
_SAYS_MORE = ("use_dora", "lora_bias")
"""What peft's own LoRA says beside A and B, and ours does not."""


def read_lora(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedAdapter:
    """Return a LoRA of the peft library.

    With nothing beside A and B it is ``lora``, at one rank or at ranks by layer, where one α, or α = r in every layer,
    says all scales. Other scales, DoRA, a bias on B and trained biases of the base are ``peft:lora`` or ``peft:dora``.

    Raises:
        VxlabError: a tensor is missing, or of another shape than the config says; or it started from other weights
            than the base's.
    """
    _refuse_changed_base(folder, config)
    layers, shared, others, stored = sort_tensors(tensors, own_names("LORA"))
    if shared:
        raise VxlabError(f"{folder / WEIGHTS_FILE} has {quote(min(shared))}, which is of no LoRA")
    ranks = {name: _checked_rank(folder, config, name, own) for name, own in layers.items()}
    alphas = {name: _alpha(config, name) for name in ranks}
    common: dict[str, Any] = {
        "folder": folder,
        "kind": "peft",
        "layers": tuple(layers),
        "others": others,
        "stored": stored,
        "base": config.get("base_model_name_or_path"),
        "config": config,
        "scalings": {name: _scaling(config, alphas[name], rank) for name, rank in ranks.items()},
    }
    plain = not any(config.get(name) for name in _SAYS_MORE) and config.get("bias", "none") == "none"
    named = {name: {_OURS.get(key, key): each for key, each in own.items()} for name, own in layers.items()}
    if plain and (sizes := _sizes(ranks, alphas)) is not None:
        return SavedAdapter(**common, method="lora", settings=sizes | _settings(config), tensors=named)
    method, settings = settings_there(folder, config)
    return SavedAdapter(**common, method=method, settings=settings, tensors=named)


def _refuse_changed_base(folder: Path, config: Mapping[str, Any]) -> None:
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        raise VxlabError(
            f"{folder} started from init_lora_weights={quote(start)}, which took a part out of the base's weights, so "
            "the adapter alone does not say the update; save it with peft's save_pretrained(folder, "
            "path_initial_model_for_weight_conversion=...), which writes the whole update as plain LoRA"
        )


def _checked_rank(folder: Path, config: Mapping[str, Any], layer: str, own: Mapping[str, Tensor]) -> int:
    """Return a layer's rank as its tensors have it and the config says it."""
    path = folder / WEIGHTS_FILE
    if fault := next(_faults(config, own), ""):
        raise VxlabError(f"{path}: `{layer}` {fault}; get the whole folder, or save the adapter again")
    A, B = own["lora_A.weight"], own["lora_B.weight"]
    if A.shape[0] != B.shape[1]:
        raise VxlabError(f"{path}: A {tuple(A.shape)} and B {tuple(B.shape)} of `{layer}` have two ranks")
    told = matching(config.get("rank_pattern") or {}, layer, config.get("r"))
    if told != A.shape[0]:
        raise VxlabError(
            f"{folder}: the config says rank {told} for `{layer}`, and its tensors have {A.shape[0]}, so its scale is "
            "not known; get the config that belongs to them"
        )
    return A.shape[0]


def _faults(config: Mapping[str, Any], own: Mapping[str, Tensor]) -> Iterator[str]:
    if embedding := [name for name in own if "embedding" in name]:
        yield f"has {embedding[0]!r}: an adapter on an embedding, and vxlab's are on linear layers"
    needed = {*_OURS}
    if config.get("use_dora"):
        needed.add("lora_magnitude_vector")
    if config.get("lora_bias"):
        needed.add("lora_B.bias")
    found = {name.removesuffix(".weight") if "magnitude" in name else name for name in own}
    if found != needed:
        lacking, surplus = sorted(needed - found), sorted(found - needed)
        yield " and ".join(
            [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(surplus)} too"] * bool(surplus)
        )
    for name in _OURS:
        if own[name].ndim != 2 or not own[name].numel() or not own[name].is_floating_point():
            kind = f"{str(own[name].dtype).removeprefix('torch.')} {tuple(own[name].shape)}"
            yield f"has {name} {kind}, and an adapter on a linear layer has two sides of real numbers"


def _sizes(ranks: Mapping[str, int], alphas: Mapping[str, float]) -> dict[str, Any] | None:
    """Return our LoRA's rank, or ranks by layer, and its α; None where one α does not say all scales."""
    each, every = set(ranks.values()), set(alphas.values())
    rank = each.pop() if len(each) == 1 else dict(ranks)
    if len(every) == 1:
        return {"rank": rank, "alpha": every.pop()}
    return {"rank": rank, "alpha": None} if alphas == ranks else None


def _scaling(config: Mapping[str, Any], alpha: float, rank: int) -> float:
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _alpha(config: Mapping[str, Any], layer: str) -> float:
    alpha = matching(config.get("alpha_pattern") or {}, layer, config.get("lora_alpha", 8))
    return float(alpha)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"rank_stabilised": bool(config.get("use_rslora")), "dropout": config.get("lora_dropout", 0.0)}
