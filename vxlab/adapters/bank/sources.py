"""The numbers of an adapter, wherever it is: on a model, in a folder, or as tensors by name."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vxlab.adapters import adapted_layers, detach, load_adapter, read_saved
from vxlab.adapters.bank.base import (
    check_base,
    check_frozen,
    check_layers,
    check_method,
    check_saved_base,
)
from vxlab.adapters.bank.description import BankDescription
from vxlab.adapters.core import code_version
from vxlab.adapters.interop import is_peft_folder
from vxlab.adapters.methods import method_from_name
from vxlab.adapters.placement import attachment_of, bare, base_buffers, base_parameters, own_buffers
from vxlab.adapters.saving import read_settings
from vxlab.checks import quote, settle
from vxlab.errors import VxlabError

Adapter = nn.Module | str | os.PathLike[str] | Mapping[str, Tensor]
"""A model with an adapter on it, a folder with one, or its tensors by the names that they have on a model."""


def read_row(adapter: Adapter, description: BankDescription, base: nn.Module | None, name: str, bank: str) -> Tensor:
    """Return an adapter as a row ``(P,)`` of a bank, on the CPU.

    Args:
        adapter: what to read.
        description: the bank's.
        base: the bank's base, where it is at hand: folders of others know no fingerprint, and go through it.
        name: what the bank is to call the adapter.
        bank: what an error calls the bank.

    Raises:
        VxlabError: it is of another base, method, setting or layers, or none of these.
    """
    if isinstance(adapter, nn.Module):
        whose = f"the adapter {name!r} on this {type(bare(adapter)).__name__}"
        tensors = _of_model(adapter, description, whose, bank)
    elif isinstance(adapter, Mapping):
        whose, tensors = f"the adapter {name!r}", dict(adapter)
    elif isinstance(adapter, str | os.PathLike):
        folder = Path(settle("folder", adapter, str))
        whose = f"the adapter in {folder}"
        read = _of_others_folder if is_peft_folder(folder) else _of_own_folder
        tensors = read(folder, description, base, whose, bank)
    else:
        raise VxlabError(
            f"the adapter {name!r} is {quote(adapter)}; give a model with it on, the folder that it was saved in, or "
            "its tensors by name"
        )
    return description.layout.pack(tensors, whose)


def _of_model(model: nn.Module, description: BankDescription, whose: str, bank: str) -> dict[str, Tensor]:
    model = bare(model)
    attachment, layers = attachment_of(model), adapted_layers(model)
    check_method(description, attachment.method, whose)
    check_layers(description, dict.fromkeys(attachment.layers), whose)
    if any(layer.merged for layer in layers.values()):
        raise VxlabError(f"{whose} is merged, so its base cannot be compared; call unmerge(model) first")
    if attachment.trained_on:
        raise VxlabError(f"{whose} was trained on another base and put here by base='any'; a bank takes none such")
    if moved := base_buffers(model)[0]:
        raise VxlabError(f"{whose} has moved the buffer `{min(moved)}`, which a bank's rows do not hold; save it alone")
    own = base_parameters(model)
    head = [name for name, each in own.items() if each.requires_grad]
    if head != list(description.head):
        raise VxlabError(f"{whose} trains {head} of the model itself, and the bank's {list(description.head)}")
    check_base(description, model, bank)
    check_frozen(description, {**attachment.fingerprints, **code_version(type(attachment.method))}, whose)
    trained = {f"{name}.{key}": each for name, layer in layers.items() for key, each in layer.trained_tensors().items()}
    return {**trained, **{name: own[name] for name in head}}


def _of_own_folder(
    folder: Path, description: BankDescription, base: nn.Module | None, whose: str, bank: str
) -> dict[str, Tensor]:
    settings = read_settings(folder)
    check_method(description, method_from_name(settings["method"], **settings["settings"]), whose)
    check_layers(description, dict.fromkeys(settings["layers"]), whose)
    check_saved_base(description, settings, whose)
    check_frozen(description, settings, whose)
    saved = read_saved(folder, description.layers)
    trained = {f"{layer}.{key}": each for layer, tensors in saved.tensors.items() for key, each in tensors.items()}
    return {**trained, **saved.others}


@torch.no_grad()
def _of_others_folder(
    folder: Path, description: BankDescription, base: nn.Module | None, whose: str, bank: str
) -> dict[str, Tensor]:
    """Put an adapter of another library's on the base, for only that tells whether it fits, and read it off there."""
    if base is None:
        raise VxlabError(
            f"{whose} is of another library, whose folders have no fingerprint of their base; open the bank with its "
            "base: vxlab.AdapterBank.open(folder, writable=True, model=model)"
        )
    inside = bare(base)
    own = {**base_parameters(inside), **own_buffers(inside)}
    before = {name: own[name].detach().clone() for name in read_saved(folder).others if name in own}
    load_adapter(base, folder)
    try:
        tensors = _of_model(base, description, whose, bank)
        return {name: each.detach().clone() for name, each in tensors.items()}
    finally:
        detach(base)
        for name, values in before.items():
            own[name].copy_(values)
