"""What the adapters on a model add to its weights, layer by layer: vxlab's and peft's alike."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vxlab.adapters.core import AdaptedLinear, linear_weight
from vxlab.adapters.peft import is_peft_layer, peft_base, peft_update
from vxlab.adapters.placement import bare

if TYPE_CHECKING:
    from vxlab.analysis import Update

_PEFT_MODEL = "base_model.model."
"""Begins the names of modules in a model that peft itself has wrapped."""


def adapter_updates(model: nn.Module) -> "dict[str, Update]":
    """Return the update of every adapted layer of a model as it stands, in float64 on the CPU, in model order.

    A method of peft's that has no thin factors gives the whole ΔW, a FullUpdate.

    Args:
        model: with adapters on it, peft's own models among them; without any there are no updates.

    Raises:
        VxlabError: what a layer adds is no update of its weight: it changes the bias, or is not linear in its input.

    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    >>> import vxlab
    >>> adapter_updates(vxlab.attach(model, vxlab.LoRA(rank=1), targets="1"))
    {'1': <Update 2×3, r=1>}
    """
    return {name: layer_update(layer, name) for name, layer in updated_layers(model).items()}


def updated_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that carry an adapter, vxlab's or peft's, by the base's dotted name, in model order."""
    found = {name: module for name, module in bare(model).named_modules() if _carries_adapter(module)}
    return {name.removeprefix(_PEFT_MODEL): layer for name, layer in found.items()}


@torch.no_grad()
def layer_update(layer: nn.Module, name: str) -> "Update":
    """Return the update of a layer that carries an adapter, as :func:`adapter_updates` does.

    Args:
        layer: of :func:`updated_layers`.
        name: of the layer, for an error.
    """
    from vxlab.analysis import FullUpdate, Update  # which needs SciPy, and attaching does not

    if isinstance(layer, AdaptedLinear):
        return Update(*(factor.detach().cpu().double() for factor in layer.factors()))
    left, right = peft_update(layer, name)
    return FullUpdate(left) if right is None else Update(left, right)


def weight_before(layer: nn.Module) -> Tensor:
    """Return W ``(out, in)`` of a layer that carries an adapter, without what that adds."""
    return layer.base_weight() if isinstance(layer, AdaptedLinear) else linear_weight(peft_base(layer)).detach()


def _carries_adapter(module: nn.Module) -> bool:
    return isinstance(module, AdaptedLinear) or is_peft_layer(module)
