"""An adapter of a bank on its base, as an ordinary one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vxlab.adapters import adapted_layers, attach_layers, detach
from vxlab.adapters.bank.base import check_frozen, check_layers, check_method
from vxlab.adapters.bank.description import BankDescription
from vxlab.adapters.core import code_version
from vxlab.adapters.placement import attachment_of, bare, base_parameters, find_attachment, require_before_sharing_out
from vxlab.errors import VxlabError


def put_on_model(model: nn.Module, description: BankDescription, tensors: Mapping[str, Tensor], bank: str) -> None:
    """Give a bank's base the bank's method, where it has it not yet, and these tensors.

    Args:
        model: the base, compared already.
        description: the bank's.
        tensors: the adapter's and the head's, by the names that they have on a model.
        bank: what an error calls the bank.

    Raises:
        VxlabError: another method is attached, the model is merged, or frozen tensors do not reproduce here. The model
            is then as it was.
    """
    inside, already = bare(model), find_attachment(model)
    if already is None:
        require_before_sharing_out(model)
        modules = dict(inside.named_modules())
        with torch.random.fork_rng(devices=[]):  # the initial values are overwritten: leave the caller's generator be
            attach_layers(inside, description.method, {name: modules[name] for name in description.layers})
    attachment = attachment_of(inside)
    whose = f"the model for an adapter of {bank}"
    try:
        check_method(description, attachment.method, whose)
        check_layers(description, dict.fromkeys(attachment.layers), whose)
        check_frozen(description, {**attachment.fingerprints, **code_version(type(attachment.method))}, whose)
        _copy(inside, tensors, description.head)
    except VxlabError:
        if already is None:
            detach(inside)
        raise


@torch.no_grad()
def _copy(model: nn.Module, tensors: Mapping[str, Tensor], head: tuple[str, ...]) -> None:
    layers, own = adapted_layers(model), base_parameters(model)
    if any(layer.merged for layer in layers.values()):
        raise VxlabError("the model is merged; call unmerge(model) first")
    places = {f"{name}.{key}": each for name, layer in layers.items() for key, each in layer.trained_tensors().items()}
    places |= {name: own[name] for name in head}
    for name, tensor in tensors.items():
        places[name].copy_(tensor)
    for name in head:
        own[name].requires_grad_(True)
