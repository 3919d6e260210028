"""Adapters folded into the packed weights of a quantised base, and what that loses."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vxlab.adapters.attach import detach, unmerge
from vxlab.adapters.core import AdaptedQuantisedLinear, guard_kernels, linear_weight, quantise_alike
from vxlab.adapters.placement import adapted_layers, bare
from vxlab.errors import VxlabError


class Requantisation(NamedTuple):
    """What quantising merged weights lost."""

    layers: dict[str, float]
    """‖Q(W + ΔW) - (W + ΔW)‖ / ‖ΔW‖ of every quantised layer, by dotted name: at 1, as much as the whole update"""
    outputs: float | None
    """‖ỹ - y‖ / ‖y - y₀‖ over a batch's logits: y with the update beside the packed weights, ỹ with it in them, y₀
    without it; None without a batch"""


@torch.no_grad()
def requantise(model: nn.Module, batch: Mapping[str, Tensor] | None = None) -> Requantisation:
    """Fold every update into its layer's packed weight, by the base's own scheme, and return what that loses.

    The scheme's steps stay as wide as they were, and an update is small beside them, so that much of it may round
    away: this is for a base of the size and form that it had, where the error is known and small enough, and cannot be
    undone. :func:`vxlab.merge` makes weights in floating point, and loses nothing.

    Args:
        model: with an adapter family on quantised layers, merged or not; changed in place, and afterwards without
            adapters, as :func:`vxlab.detach` leaves it.
        batch: keyword arguments of the model, which returns ``logits``, to measure on; it must be in evaluation mode.

    Raises:
        VxlabError: an adapted layer is not quantised, or there is none, or the model is in training mode where there
            is a batch. The model is then as it was.
    """
    inside = bare(model)
    layers = adapted_layers(inside)
    plain = [name for name, layer in layers.items() if not isinstance(layer, AdaptedQuantisedLinear)]
    if plain or not layers:
        what = f"`{plain[0]}` of this" if plain else "no adapted layer of this"
        raise VxlabError(
            f"{what} {type(inside).__name__} is {'not ' if plain else ''}quantised; use vxlab.merge(model)"
        )
    if batch is not None and inside.training:
        raise VxlabError("the model is in training mode, whose dropout would be measured, too; call model.eval() first")
    if any(layer.merged for layer in layers.values()):
        unmerge(inside)
    deltas = {name: layer.delta_weight() for name, layer in layers.items()}
    adapted = _logits(inside, batch)
    without = _logits(detach(inside), batch)
    errors = {name: _fold(inside, name, delta) for name, delta in deltas.items()}
    guard_kernels(inside)
    return Requantisation(errors, _share(_logits(inside, batch), adapted, without))


def _fold(model: nn.Module, name: str, delta: Tensor) -> float:
    """Put a layer with W + ΔW quantised in the place of its base; return the error's share of ΔW."""
    layer = model.get_submodule(name)
    wanted = linear_weight(layer) + delta
    new = quantise_alike(layer, wanted)
    model.set_submodule(name, new)
    lost, size = float((linear_weight(new) - wanted).norm()), float(delta.norm())
    return lost / size if size else math.nan


def _logits(model: nn.Module, batch: Mapping[str, Tensor] | None) -> Tensor | None:
    return None if batch is None else model(**batch).logits


def _share(found: Tensor | None, wanted: Tensor | None, without: Tensor | None) -> float | None:
    if found is None or wanted is None or without is None:
        return None
    moved = float((wanted - without).norm())
    return float((found - wanted).norm()) / moved if moved else math.nan
