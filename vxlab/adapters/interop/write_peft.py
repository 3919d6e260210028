"""Write the adapter on a model as a folder of the peft library's, in its own format or as plain LoRA."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core import AdaptedLinear, Family
from vxlab.adapters.families import LoRA, VeRA
from vxlab.adapters.interop.keys import MODEL, ROOT
from vxlab.adapters.interop.peft_files import write_peft_files
from vxlab.adapters.interop.peft_targets import name_exactly, pattern_of
from vxlab.adapters.interop.trained_modules import tensors_of, trained_modules
from vxlab.adapters.peft import PEFT, state_to_save
from vxlab.adapters.placement import adapted_layers, attachment_of, bare
from vxlab.adapters.saving import separate
from vxlab.checks import require_choice, settle
from vxlab.errors import VxlabError

TASK_TYPES = ("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")

Written = tuple[dict[str, Any], dict[str, Tensor]]
"""The fields of a config, and the tensors by their names in the file."""


def write_peft(
    model: nn.Module,
    folder: str | os.PathLike[str],
    as_lora: bool = False,
    base_model: str | None = None,
    revision: str | None = None,
    task_type: str | None = None,
) -> Path:
    """Write the adapter on a model as a folder that the peft library loads, and the trained head with it.

    LoRA and VeRA are written as peft's own, and a method of peft's by peft itself. As plain LoRA any family is written,
    without loss: with A = right, B = left and α = r, B·A is the update itself. VeRA's two matrices are stored, so that
    peft need not draw them again. Ranks by layer are LoRA's ``rank_pattern``; a VeRA of peft's has one rank.

    Args:
        model: a model with an adapter attached, not merged.
        folder: an adapter of peft's there is replaced, and all else there stays.
        as_lora: write ΔW's two factors in place of the method: r·(in + out) numbers a layer, for programs that serve
            LoRA alone.
        base_model: the base's name on a hub or its folder, as ``base_model_name_or_path`` has it.
        revision: of the base.
        task_type: what peft calls the task, such as ``SEQ_CLS`` or ``CAUSAL_LM``; None for any model.

    Returns:
        The folder.

    Raises:
        VxlabError: nothing is attached, the model is merged, peft has no such method, or not by layer, something trains
            that its folder cannot hold, or the folder cannot be written.
    """
    attachment, folder = attachment_of(model), Path(settle("folder", folder, str))
    method, named = attachment.method, {"base_model": base_model, "revision": revision}
    base_model, revision = (settle(name, value, str | None) for name, value in named.items())
    if task_type is not None:
        require_choice("task_type", task_type, TASK_TYPES)
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged; call unmerge(model) first")
    if isinstance(method, PEFT):
        fields, tensors = _of_peft(model, method, as_lora)
    elif isinstance(method, Family):
        fields, tensors = _of_family(method, adapted_layers(model), as_lora)
    else:
        raise VxlabError(
            f"{method} puts no adapter on layers, so peft has no folder for it; save the model by save_pretrained"
        )
    biases = [name.removeprefix(MODEL).replace(".base_layer.", ".") for name in tensors if name.endswith(".bias")]
    modules = trained_modules(model, but=biases)
    tensors |= {f"{MODEL}{name}": each for name, each in tensors_of(model, modules).items()}
    config = fields | {
        "base_model_name_or_path": base_model,
        "revision": revision,
        "task_type": task_type,
        "inference_mode": True,
        "target_modules": fields.get("target_modules") or name_exactly(attachment.layers, bare(model), modules),
        "modules_to_save": modules or None,
        "auto_mapping": None,
    }
    write_peft_files(folder, config, separate(tensors))
    return folder


def _of_peft(model: nn.Module, method: PEFT, as_lora: bool) -> Written:
    if as_lora and method.config != "lora":
        raise VxlabError(
            f"{method} is peft's own, so its two factors are not known here; write it as it is, and convert it by "
            "peft.convert_to_lora"
        )
    fields, tensors = state_to_save(model)
    if method.config in ("lora", "dora"):  # which other programs read, and know by the ends of names
        fields["target_modules"] = None
    return fields, dict(tensors)


@torch.no_grad()
def _of_family(method: Family, layers: Mapping[str, AdaptedLinear], as_lora: bool) -> Written:
    fields: dict[str, Any] = {
        "bias": "none",
        "fan_in_fan_out": any(getattr(layer, "transposed", False) for layer in layers.values()),
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    if as_lora:
        own, tensors = _factors(method, layers)
    elif type(method) is LoRA:
        own, tensors = _lora(method, layers)
    elif type(method) is VeRA and not method.unique:
        own, tensors = _vera(method, layers)
    else:
        raise VxlabError(f"peft has no {method}; as_lora=True writes its update as plain LoRA, without loss")
    return fields | own, tensors


def _lora(method: LoRA, layers: Mapping[str, AdaptedLinear]) -> Written:
    tensors: dict[str, Tensor] = {}
    for name, layer in layers.items():
        own = {**layer.frozen_tensors(), **layer.trained_tensors()}
        tensors |= {f"{MODEL}{name}.lora_{side}.weight": own[side] for side in ("A", "B")}
    ranks = {name: layer.family.r for name, layer in layers.items()}
    return _lora_fields(ranks, method.alpha, method.rank_stabilised, method.dropout), tensors


def _factors(method: Family, layers: Mapping[str, AdaptedLinear]) -> Written:
    """Return ΔW = left·right of every layer as LoRA with s = 1."""
    both = {name: layer.factors() for name, layer in layers.items()}
    tensors = {f"{MODEL}{name}.lora_A.weight": right for name, (_, right) in both.items()}
    tensors |= {f"{MODEL}{name}.lora_B.weight": left for name, (left, _) in both.items()}
    ranks = {name: right.shape[0] for name, (_, right) in both.items()}
    return _lora_fields(ranks, None, False, method.dropout_probability), tensors


def _lora_fields(
    ranks: Mapping[str, int], alpha: float | None, rank_stabilised: bool, dropout: float
) -> dict[str, Any]:
    """Return the config of a LoRA; α None stands for each layer's own rank."""
    most = max(ranks.values())
    fewer = {pattern_of(name): rank for name, rank in ranks.items() if rank != most}
    told = most if alpha is None else alpha
    return {
        "peft_type": "LORA",
        "r": most,
        "lora_alpha": int(told) if float(told).is_integer() else told,
        "use_rslora": rank_stabilised,
        "lora_dropout": dropout,
        "use_dora": False,
        "lora_bias": False,
        "init_lora_weights": True,
        "rank_pattern": fewer,
        "alpha_pattern": dict(fewer) if alpha is None else {},
    }


def _vera(method: VeRA, layers: Mapping[str, AdaptedLinear]) -> Written:
    if len(groups := method.by_rank(layers)) > 1:
        raise VxlabError(
            f"peft's VeRA has one rank, and {method} several; as_lora=True writes its update, without loss"
        )
    method = groups[0][0]
    A, B = _pair(method, layers)
    tensors: dict[str, Tensor] = {f"{ROOT}vera_A": A, f"{ROOT}vera_B": B}
    for name, layer in layers.items():
        own = layer.trained_tensors()
        d = own.get("lambda_d", torch.full((method.r,), method.d_initial))
        tensors[f"{MODEL}{name}.vera_lambda_d"] = d
        tensors[f"{MODEL}{name}.vera_lambda_b"] = own.get("lambda_b", torch.ones(layer.shape[0]))
    fields = {
        "peft_type": "VERA",
        "r": method.r,
        "d_initial": method.d_initial,
        "projection_prng_key": method.seed % 2**32,
        "save_projection": True,
        "vera_dropout": method.dropout,
        "init_weights": True,
    }
    return fields, tensors


def _pair(method: VeRA, layers: Mapping[str, AdaptedLinear]) -> tuple[Tensor, Tensor]:
    """Return the two matrices that all layers share, each cut to its size."""
    if not method.stores_bases:
        shared = dict(next(iter(layers.values())).shared.named_buffers())
        return shared["A"], shared["B"]
    own = [layer.frozen_tensors() for layer in layers.values()]
    A = max((each["right_basis"] for each in own), key=lambda basis: basis.shape[1])
    B = max((each["left_basis"] for each in own), key=len)
    if not all(
        torch.equal(A[:, : each["right_basis"].shape[1]], each["right_basis"])
        and torch.equal(B[: len(each["left_basis"])], each["left_basis"])
        for each in own
    ):
        raise VxlabError(
            f"the layers of {method} share no pair of matrices; as_lora=True writes its update all the same"
        )
    return A, B
