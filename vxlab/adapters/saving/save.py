"""Save adapters: a folder with the trained tensors and the settings, and nothing that can be rebuilt."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vxlab._version import __version__
from vxlab.adapters.core import base_fingerprints, code_version
from vxlab.adapters.methods import require_registered
from vxlab.adapters.placement import (
    BaseValues,
    adapted_layers,
    adapter_parameters,
    attachment_of,
    base_buffers,
    base_parameters,
    persistent_buffers,
    quantisations,
    stored_bases,
)
from vxlab.adapters.saving.adapter_files import FORMAT, write_adapter
from vxlab.checks import settle
from vxlab.errors import VxlabError


def save_adapter(model: nn.Module, folder: str | os.PathLike[str]) -> Path:
    """Save what was trained, with all that is needed to put it on the same base again.

    ``adapter.safetensors`` holds the trained tensors only: an adapter's, stacked over layers of one shape (key
    ``R.16x16``: ``(layers, 16, 16)``, in the order of ``layers``), and the head's, under their own names, with the
    buffers that training moved (BatchNorm's statistics). ``adapter.json`` holds the method and its settings (with the
    seed of frozen random matrices), the layers, sha256 fingerprints of the tensors file, the frozen base weights and
    buffers and the shared random matrices, one probe for each layer's own frozen tensors (LoRA-XS's basis, what PEFT
    draws or decomposes), and a checksum of all this. The bases of
    ``LoRAXS(basis="gradient")``, and of ``"given"``, and VeRA's given matrices, which nothing here reproduces, are
    stored themselves, by layer: r·(in + out) numbers each, many times what trains.

    Args:
        model: a model with a method attached, not merged.
        folder: both files are written or neither; an earlier adapter there is replaced, and all else there stays.

    Returns:
        The folder.

    Raises:
        VxlabError: nothing is attached, the method is one of your own that is not registered, the model is merged, or
            the folder cannot be written or has files of these names that are no adapter of vxlab's.
    """
    attachment, folder = attachment_of(model), Path(settle("folder", folder, str))
    require_registered(attachment.method)
    if any(layer.merged for layer in adapted_layers(model).values()):
        raise VxlabError("the model is merged, so its base weights cannot be fingerprinted; call unmerge(model) first")
    # Outside the adapters: the head, or the model's own parameters that the method chose.
    other = {name: parameter for name, parameter in base_parameters(model).items() if parameter.requires_grad}
    moved, still = base_buffers(model)
    settings = {
        "format": FORMAT,
        "method": attachment.method.name,
        "settings": attachment.method.settings(),
        "layers": list(attachment.layers),
        "base": base_fingerprints(BaseValues(model, other)),
        **({"quantisation": [each._asdict() for each in found]} if (found := quantisations(model)) else {}),
        **({"trained_on": dict(attachment.trained_on)} if attachment.trained_on else {}),
        **({"buffers": base_fingerprints(still)} if still else {}),
        **attachment.fingerprints,
        **code_version(type(attachment.method)),
        "vxlab": __version__,
        "torch": torch.__version__,
    }
    tensors = {**stack(adapter_parameters(model)), **separate(other | moved | stored_bases(model))}
    write_adapter(folder, settings, tensors)
    return folder


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return what no start reproduces, under the names of the model's own state dict, on the CPU."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    # With every buffer of its state: one that has not moved yet may move before this is loaded.
    return separate(trained | persistent_buffers(model) | stored_bases(model))


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU in memory of their own each, as safetensors takes them."""
    alone, taken = {}, set()
    for name, tensor in tensors.items():
        here = tensor.detach().cpu().contiguous()
        alone[name] = here.clone() if here.untyped_storage().data_ptr() in taken else here
        taken.add(here.untyped_storage().data_ptr())
    return alone


def stack(layers: Mapping[str, Mapping[str, nn.Parameter]]) -> dict[str, Tensor]:
    """Return the layers' parameters of one name and shape as one tensor, ``(layers, *shape)``."""
    # One entry a layer would cost 100 bytes of header each: more than VeRA's d itself at a low rank.
    groups: dict[str, list[Tensor]] = {}
    for parameters in layers.values():
        for name, parameter in parameters.items():
            groups.setdefault(group(name, parameter), []).append(parameter.detach().cpu())
    return {key: torch.stack(members) for key, members in groups.items()}


def group(name: str, tensor: Tensor) -> str:
    """Return the key under which :func:`stack` holds a layer's parameter."""
    return f"{name}.{'x'.join(map(str, tensor.shape))}"
