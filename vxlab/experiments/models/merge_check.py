"""Whether merging changes what a trained adapter answers, held against its definition in float64."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vxlab.adapters import AdaptedLinear, adapted_layers, merge, unmerge
from vxlab.adapters.core import float_linear, quantisation_of, replace_layer
from vxlab.errors import VxlabError

_TIMES = 4.0
"""How often the rounding of the definition itself counts as rounding: sums that run in another order differ so."""


class MergeCheck(NamedTuple):
    """Largest absolute differences of logits on some rows, from the definition computed in float64."""

    merged: float
    """of the merged model, in the run's precision"""
    unmerged: float
    """of the adapters beside their weights, in the run's precision"""
    rounding: float
    """of the definition itself, computed in the run's precision; at the least the logits' last binary digit"""
    effect: float
    """of the model without its update, in float64: how far the adapter moves the answers"""
    rows: int
    precision: str

    @property
    def merges(self) -> bool:
        """Whether the merged model is off by no more than rounding."""
        return self.merged <= _TIMES * self.rounding

    @property
    def computes(self) -> bool:
        """Whether the unmerged model is off by no more than rounding."""
        return self.unmerged <= _TIMES * self.rounding

    def sentence(self) -> str:
        """Return what was found, in Markdown."""
        if not all(map(math.isfinite, (self.merged, self.unmerged, self.effect))):
            return "The logits are not finite, merged or not: what was trained is of no use, and shows nothing."
        if self.effect == 0:
            return "The adapter moves no logit of these rows, so they cannot show what merging does to it."
        named = self.precision if self.precision == "float32" else f"{self.precision} by autocast"
        told = [
            f"Held against the definition x·Wᵀ + bias + (x·rightᵀ)·leftᵀ in float64, on {self.rows} test rows: in "
            f"{named} on the CPU the logits of the merged model are off by at most **{self.merged:.1e}**, those of the "
            f"unmerged one by {self.unmerged:.1e}, and those of the definition itself by {self.rounding:.1e}, which is "
            f"rounding. The update moves them by up to {self.effect:.2g}."
        ]
        share = f"{_percent(self.merged / self.effect)} of what the update does"
        if self.merges:
            told.append(f"Merging loses no more than rounding does: {share}.")
        else:
            told.append(f"**Merging changes the answers**, by {share}: serve this run unmerged.")
        if not self.computes:
            told.append("**The unmerged model does not compute its definition**: trust neither.")
        return " ".join(told)


@torch.no_grad()
def check_merge(model: nn.Module, batches: Sequence[Mapping[str, Tensor]], precision: str = "float32") -> MergeCheck:
    """Measure how far a model's logits are, merged and unmerged, from the definition of its adapters in float64.

    The exact logits are of a copy of the model in float64 whose adapted layers compute x·Wᵀ + bias + (x·rightᵀ)·leftᵀ
    here, from their factors: no step of it is that of merging, or of the operation that trains.

    Args:
        model: with adapters in factors, unmerged, on the CPU; left so, and in evaluation mode.
        batches: of rows, the model's keyword arguments without labels.
        precision: of the merged and the unmerged model: ``float32``, or ``bfloat16`` or ``float16`` by autocast.

    Raises:
        VxlabError: no layer has an adapter in factors, one is merged, or there is no batch.
    """
    layers = adapted_layers(model)
    if not layers or any(layer.merged for layer in layers.values()):
        raise VxlabError("model must have adapters in factors, unmerged; attach one, or call unmerge(model) first")
    if not batches:
        raise VxlabError("batches is empty, so there is no logit to compare; give one batch of rows or more")
    dtype = getattr(torch, precision)
    with torch.autocast("cpu", dtype, enabled=precision != "float32"):
        unmerged = _logits(model.eval(), batches).double()
        merged = _merged(model, batches).double()
        defined = _logits(_redefined(model, layers, double=False), batches).double()
    exact = _logits(_redefined(model, layers, double=True), batches)
    without = _logits(_redefined(model, layers, double=True, update=False), batches)
    digit = torch.finfo(dtype).eps * float(exact.abs().max())
    return MergeCheck(
        merged=_distance(merged, exact),
        unmerged=_distance(unmerged, exact),
        rounding=max(_distance(defined, exact), digit),
        effect=_distance(without, exact),
        rows=sum(len(next(iter(batch.values()))) for batch in batches),
        precision=precision,
    )


def _merged(model: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    merge(model)
    try:
        return _logits(model, batches)
    finally:
        unmerge(model)


def _logits(model: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return all logits of all rows, one after the other; images are given in the model's own dtype."""
    dtype = next(model.parameters()).dtype
    found = []
    for batch in batches:
        given = {name: each.to(dtype) if each.is_floating_point() else each for name, each in batch.items()}
        found.append(model(**given).logits.flatten())
    return torch.cat(found)


def _redefined(model: nn.Module, layers: dict[str, AdaptedLinear], *, double: bool, update: bool = True) -> nn.Module:
    """Return a copy whose adapted layers compute W's part and the update's thin one here, from their factors."""
    copied = copy.deepcopy(model)
    for name, layer in layers.items():
        replace_layer(copied, name, _Defined(_linear(layer, double, update)))
    if double:
        for name, packed in [each for each in copied.named_modules() if quantisation_of(each[1])]:
            replace_layer(copied, name, float_linear(packed, torch.float64))
    return (copied.double() if double else copied).eval()


class _Defined(nn.Module):
    """Compute by a function."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.forward = compute


def _linear(layer: AdaptedLinear, double: bool, update: bool) -> Callable[[Tensor], Tensor]:
    kept = (layer.base_weight(), *layer.factors())
    weight, left, right = (tensor.double() if double else tensor for tensor in kept)
    bias = layer.bias if layer.bias is None or not double else layer.bias.double()

    def computed(x: Tensor) -> Tensor:
        y = nn.functional.linear(x, weight, bias)
        return y + (x @ right.T) @ left.T if update else y

    return computed


def _distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 else "under 0.01 %"
