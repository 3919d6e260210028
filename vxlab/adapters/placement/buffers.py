"""Buffers of a model that belong to its state and that training may move, such as BatchNorm's statistics."""

from collections.abc import Container, Mapping

from torch import Tensor, nn

from vxlab.adapters.core.fingerprint import weights_fingerprint


def persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a model's state dict has, by dotted name, in the model's order."""
    found = {}
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{prefix}.{name}".lstrip(".")] = buffer
    return found


def buffer_print(buffer: Tensor) -> str:
    """Return a fingerprint of one buffer, by which to tell later whether it moved."""
    return "meta" if buffer.is_meta else weights_fingerprint({"": buffer})


def select_unmoved(buffers: Mapping[str, Tensor], moved: Container[str]) -> dict[str, Tensor]:
    """Return the floating-point buffers outside ``moved``: counters and indices decide no number unless they move."""
    return {name: each for name, each in buffers.items() if name not in moved and each.is_floating_point()}
