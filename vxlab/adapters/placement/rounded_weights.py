"""Frozen weights that autocast rounds in every pass, held rounded while a model trains."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vxlab.adapters.core import AdaptedLinear, Family, code_version
from vxlab.adapters.placement.attached import attachment_of


@contextlib.contextmanager
def hold_weights_rounded(model: nn.Module, dtype: torch.dtype, batch: Mapping[str, Tensor]) -> Iterator[None]:
    """Hold W and bias of frozen linear layers in autocast's dtype meanwhile; afterwards they are as they were.

    Autocast rounds what a linear layer computes with in every pass, and keeps for the next only what trains: of
    MiniLM's step on 8 short texts that is a twelfth. A step's peak of memory stays about the same, for its backward
    pass needs the rounded weights in any case; what is evaluated in between has them beside it.

    No result changes by a bit. Where one would (a model's code may ask a weight for its dtype), its outputs for the
    batch tell, and nothing is held rounded.

    Args:
        model: with a family of vxlab's on it, in float32; with anything else, nothing happens.
        dtype: autocast's, on the model's device; nothing happens where it is float32.
        batch: the model's keyword arguments, a small one.
    """
    chosen = [] if dtype == torch.float32 else _frozen_in_linear_layers(model)
    if not chosen:
        yield
        return
    whole, expected = [parameter.data for parameter in chosen], _outputs(model, dtype, batch)
    try:
        for parameter in chosen:
            parameter.data = parameter.data.to(dtype)
        if not _are_equal(_outputs(model, dtype, batch), expected):
            _put_back(chosen, whole)
        yield
    finally:
        _put_back(chosen, whole)


def _frozen_in_linear_layers(model: nn.Module) -> list[nn.Parameter]:
    """Return the frozen float32 parameters that linear layers alone compute with: an embedding is never rounded."""
    method = attachment_of(model).method
    if not isinstance(method, Family) or code_version(type(method)):
        return []  # what is not ours may compute with W itself, as DoRA does with its norms
    users: dict[bool, Counter[nn.Parameter]] = {True: Counter(), False: Counter()}
    for module in model.modules():
        own = (parameter for parameter in module._parameters.values() if parameter is not None)
        users[type(module) in (nn.Linear, AdaptedLinear)].update(own)
    return [
        parameter
        for parameter in users[True]
        if parameter not in users[False] and not parameter.requires_grad and parameter.dtype == torch.float32
    ]


def _put_back(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value


@torch.no_grad()
def _outputs(model: nn.Module, dtype: torch.dtype, batch: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Return what a model gives in evaluation mode under autocast; None where it fails."""
    device, modes = next(model.parameters()).device, {module: module.training for module in model.modules()}
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.autocast(device.type, dtype):
            given = {name: tensor.to(device) for name, tensor in batch.items()}
            outputs = model.eval()(**given)
        return [outputs["loss"], outputs["logits"]]
    except Exception:  # whatever the code of a model says to a weight in another dtype
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode


def _are_equal(found: list[Tensor] | None, expected: list[Tensor] | None) -> bool:
    """Tell whether the same numbers came, in the same dtypes."""
    if found is None or expected is None:
        return False
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(found, expected, strict=True))
