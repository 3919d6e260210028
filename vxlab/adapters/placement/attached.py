"""What is on a model: its method, the adapted layers, and whose its parameters and buffers are."""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from vxlab.adapters.core import (
    AdaptedLinear,
    Method,
    Quantisation,
    has_values,
    linear_shape,
    linear_weight,
    quantisation_of,
    weights_fingerprint,
)
from vxlab.adapters.placement.targets import head_parameters
from vxlab.adapters.placement.wrappers import bare
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class Attachment:
    """What ``attach`` did to a model, kept on it as ``model.vxlab_attachment``."""

    method: Method
    layers: tuple[str, ...]
    own: Mapping[str, bool]
    """whether each of the bare model's parameters trained, by name"""
    buffers: Mapping[str, str]
    """a fingerprint of each persistent buffer of the bare model, as it was"""
    fingerprints: Mapping[str, Any]
    """of the frozen tensors of the adapted layers, taken before any cast of the model"""
    trained_on: Mapping[str, Any] | None = None
    """fingerprints and quantisation of the base that it was trained on, where it was loaded onto another"""


class ParameterCount(NamedTuple):
    """Numbers of parameters."""

    backbone: int
    """trained in the backbone: the adapters, or everything under full fine-tuning"""
    head: int
    """trained in the task head"""
    total: int
    """of the model without adapters, trained or frozen"""


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by dotted name, in model order."""
    return {name: module for name, module in bare(model).named_modules() if isinstance(module, AdaptedLinear)}


def attachment_of(model: nn.Module) -> Attachment:
    """Return what was attached to a model.

    Raises:
        VxlabError: nothing was.
    """
    attachment = find_attachment(model)
    if attachment is None:
        raise VxlabError(f"this {type(model).__name__} has no adapter; call vxlab.attach(model, method) first")
    return attachment


def trainable_parameters(model: nn.Module) -> ParameterCount:
    """Count what trains, in the backbone and in the task head apart, and the model's parameters without adapters."""
    head, base = set(head_parameters(bare(model))), base_parameters(model)
    counts = {"backbone": 0, "head": 0}
    for name, parameter in bare(model).named_parameters():
        if parameter.requires_grad:
            counts["head" if name in head else "backbone"] += parameter.numel()
    packed = {id(layer.get_parameter("weight")): math.prod(linear_shape(layer)) for layer in _quantised(model).values()}
    total = sum(packed.get(id(parameter), parameter.numel()) for parameter in base.values())
    return ParameterCount(**counts, total=total)


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the bare model's own parameters, under the names that they have without adapters."""
    model, attachment = bare(model), find_attachment(model)
    if attachment is None:
        return dict(model.named_parameters())
    # PEFT wraps a layer, whose own parameters then stand one level deeper.
    found = {
        name if name in attachment.own else name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters()
    }
    return {name: parameter for name, parameter in found.items() if name in attachment.own}


class BaseValues(Mapping[str, Tensor]):
    """The bare model's own parameters by name, where quantised as what they stand for, made when asked for.

    Args:
        model: with adapters or without.
        without: names to leave out.
    """

    def __init__(self, model: nn.Module, without: Container[str] = ()) -> None:
        self._parameters = {name: each for name, each in base_parameters(model).items() if name not in without}
        self._packed = {id(layer.get_parameter("weight")): layer for layer in _quantised(model).values()}

    def __getitem__(self, name: str) -> Tensor:
        parameter = self._parameters[name]
        layer = self._packed.get(id(parameter))
        return parameter if layer is None else linear_weight(layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def quantisations(model: nn.Module) -> list[Quantisation]:
    """Return in what ways layers of a model are quantised, each once; none where none is."""
    return sorted({found for layer in _quantised(model).values() if (found := quantisation_of(layer))})


def _quantised(model: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in bare(model).named_modules() if quantisation_of(layer)}


def adapter_parameters(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Return the adapters' parameters by layer and by name within it, a shared one in the first layer that has it."""
    known = {id(parameter) for parameter in base_parameters(model).values()}
    found: dict[str, dict[str, nn.Parameter]] = {}
    for layer in attachment_of(model).layers:
        inside = bare(model).get_submodule(layer).named_parameters()
        found[layer] = {name: parameter for name, parameter in inside if id(parameter) not in known}
        known |= {id(parameter) for parameter in found[layer].values()}
    return found


def stored_bases(model: nn.Module) -> dict[str, Tensor]:
    """Return the frozen tensors that are saved, by dotted name: those that nothing else reproduces."""
    own = {name: layer for name, layer in adapted_layers(model).items() if layer.family.stores_bases}
    return {f"{name}.{key}": basis for name, layer in own.items() for key, basis in layer.frozen_tensors().items()}


def persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a model's state dict has, by dotted name, in the model's order."""
    found = {}
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{prefix}.{name}".lstrip(".")] = buffer
    return found


def own_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the persistent buffers of the bare model, with adapters on it or without."""
    buffers, attachment = persistent_buffers(bare(model)), find_attachment(model)
    return {name: each for name, each in buffers.items() if attachment is None or name in attachment.buffers}


def base_buffers(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the bare model's persistent buffers that moved since the method was attached, and those that did not."""
    before, buffers = attachment_of(model).buffers, own_buffers(model)
    moved = {name: buffer for name, buffer in buffers.items() if buffer_print(buffer) != before[name]}
    return moved, select_unmoved(buffers, moved)


def buffer_print(buffer: Tensor) -> str:
    """Return a fingerprint of one buffer, by which to tell later whether it moved."""
    return weights_fingerprint({"": buffer}) if has_values(buffer) else "meta"


def select_unmoved(buffers: Mapping[str, Tensor], moved: Container[str]) -> dict[str, Tensor]:
    """Return the floating-point buffers outside ``moved``: counters and indices decide no number unless they move."""
    return {name: each for name, each in buffers.items() if name not in moved and each.is_floating_point()}


def find_attachment(model: nn.Module) -> Attachment | None:
    """Return what was attached to a model, or None."""
    attachment = getattr(bare(model), "vxlab_attachment", None)
    return attachment if isinstance(attachment, Attachment) else None


def require_unattached(model: nn.Module) -> None:
    """Raise where a model has a method attached, stacked adapters, a bank's, or an adapter of peft's."""
    attachment = find_attachment(model)
    if attachment is not None:
        raise VxlabError(f"the model already has {attachment.method} attached; call vxlab.detach(model) first")
    if hasattr(model, "vxlab_stack"):
        raise VxlabError("the model has stacked adapters on it already; call remove() of their stack first")
    if hasattr(model, "vxlab_bank"):
        raise VxlabError("the model has the adapters of a bank on it; call detach() of their bank first")
    theirs = [type(module).__name__ for module in model.modules() if type(module).__module__.startswith("peft.")]
    if theirs:
        raise VxlabError(
            f"the model has an adapter of the peft library's on it ({theirs[0]}), whose layers would be left out; give "
            "its base, as model.unload() or model.merge_and_unload() returns it"
        )
