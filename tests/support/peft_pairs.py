"""Pairs of models, ours and PEFT's, whose adapters hold the same values."""

from collections.abc import Iterator

import peft
import torch
from architectures import ARCHITECTURES, LAYERS
from torch import Tensor, nn

import vxlab
from vxlab.adapters import Family

_THEIRS = {
    "A": "lora_A.default.weight",
    "B": "lora_B.default.weight",
    "lambda_b": "vera_lambda_b.default",
    "lambda_d": "vera_lambda_d.default",
}
_ROLES = {"all-linear": (), "query-value": ("query", "value", "fused-qkv")}


def peft_pair(
    name: str, method: Family, config: peft.PeftConfig, targets: str = "all-linear"
) -> tuple[nn.Module, nn.Module]:
    """Return our model and PEFT's, with the same random values in the trained tensors."""
    ours = vxlab.attach(ARCHITECTURES[name](), method, targets).eval()
    theirs = peft.get_peft_model(ARCHITECTURES[name](), config).eval()
    torch.manual_seed(2)
    with torch.no_grad():
        for tensor, parameter in trained_by_both(ours, theirs):
            tensor.copy_(torch.randn_like(tensor) * 0.1)
            parameter.copy_(tensor)
    return ours, theirs


def trained_by_both(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each trained tensor of our adapters with PEFT's that does the same."""
    for path, layer in vxlab.adapted_layers(ours).items():
        for key, tensor in layer.trained_tensors().items():
            yield tensor, theirs.get_parameter(f"base_model.model.{path}.{_THEIRS[key]}")


def target_modules(name: str, targets: str = "all-linear") -> list[str]:
    """Return a target set's layers as PEFT takes them, from the names written by hand."""
    path, layers = LAYERS[name]
    chosen = [layer for role, layer in layers.items() if not _ROLES[targets] or role in _ROLES[targets]]
    return [f"{path}.{block}.{layer}" for block in range(2) for layer in chosen]


def lora_config(name: str, targets: str = "all-linear", **settings: object) -> peft.LoraConfig:
    """Return PEFT's LoRA for a model of ours."""
    return peft.LoraConfig(**_places(name, targets), **settings)  # type: ignore[arg-type]


def vera_config(name: str, targets: str = "all-linear", **settings: object) -> peft.VeraConfig:
    """Return PEFT's VeRA for a model of ours."""
    return peft.VeraConfig(**_places(name, targets), **settings)  # type: ignore[arg-type]


def _places(name: str, targets: str) -> dict[str, object]:
    return {"target_modules": target_modules(name, targets), "fan_in_fan_out": name.startswith("gpt2")}
