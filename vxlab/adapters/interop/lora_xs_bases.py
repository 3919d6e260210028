"""Whose singular vectors a released LoRA-XS adapter's bases are: a base's exact ones, its randomised ones, or none."""

import math
import statistics
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vxlab.adapters.core import linear_weight
from vxlab.adapters.families import LoRAXS
from vxlab.adapters.interop.lora_xs_folder import drew_bases
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.errors import VxlabError
from vxlab.spectra import SubspaceWarning
from vxlab.warn import warn_once

SKEWED = 0.01
"""How far UᵀU of an orthonormal U may be from I in an entry: half precision leaves 1e-3, a random U 0.3 and more."""
_SINGLE = 2.0**-24
"""A float32's largest relative rounding error."""


class BasisMatch(NamedTuple):
    """How a layer's bases U ``(out, r)`` and ΣVᵀ ``(r, in)`` stand to its weight W."""

    residual: float
    """‖UᵀW − ΣVᵀ‖_F / ‖W‖_F: 0 to rounding where ΣVᵀ was made of this W, however far the SVD had converged"""
    tolerance: float
    """what rounding may leave of the residual"""
    orthonormal: bool
    """whether U's columns are, as those of an SVD"""
    angle: float
    """the largest principal angle to W's own top r singular directions, of the two sides, in radians"""
    exact: bool
    """whether they are W's own top r triplets, up to signs and the rounding of the products that they enter"""
    signs: Tensor
    """±1 ``(r,)``: which of W's own triplets have the other sign here"""


def compare_bases(saved: SavedAdapter, layers: Mapping[str, nn.Module]) -> dict[str, BasisMatch]:
    """Return how the bases of every layer stand to a model's weights.

    **Made of this W**: the released code takes U from a randomised SVD and ΣVᵀ as UᵀW, so that this holds to rounding
    even where U is far from W's singular vectors. Entries of W are rounded by its dtype's ε, which UᵀW sees by a share
    √(r/out); those of U by the stored ε, which √r of them add up; and sums of ``out`` products in float32 by √out·2⁻²⁴.

    **Exact**: each vector within √n·2⁻²³ of W's own, n the larger side. That is what float32 itself makes of a product
    with n terms, so that no output tells which of the two was used.

    Args:
        saved: as ``read_lora_xs`` returned it.
        layers: the model's that it adapts, by dotted name.

    Raises:
        VxlabError: a layer is not of the bases' size.
    """
    weights = {name: _weight(saved, name, layers[name]) for name in saved.layers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SubspaceWarning)  # whichever directions stand among equals, these are given
        own = LoRAXS(rank=saved.settings["rank"]).frozen(weights)
    return {name: _match(saved.frozen[name], own[name], layers[name]) for name in saved.layers}


def settle_bases(saved: SavedAdapter, layers: Mapping[str, nn.Module]) -> SavedAdapter:
    """Return the adapter as it is to go on a model: between W's own bases where it has them, else as it was given.

    The same R on another basis is another model, so bases that are not W's own to rounding stay those of the folder,
    with a warning that says how far they are.

    Args:
        saved: as ``read_lora_xs`` returned it.
        layers: of the model, by dotted name.

    Raises:
        VxlabError: the bases are singular vectors, but of another weight.

    Warns:
        VxlabWarning: the bases are not W's own, or were drawn at random, so that nothing tells their base; or the run
            had dropout, which LoRA-XS here has not.
    """
    if dropout := saved.config.get("lora_dropout"):
        told = f"{saved.folder} was trained with lora_dropout={dropout}, which LoRA-XS here does not have"
        warn_once(f"{told}: its outputs are the same, training goes on without")
    matches = compare_bases(saved, layers)
    _refuse_other_base(saved, matches)
    if all(match.exact for match in matches.values()):
        return _between_own(saved, matches)
    warn_once(_how_far(saved, matches))
    return saved


def refuse_lost_r(saved: SavedAdapter, layers: Mapping[str, nn.Module]) -> None:
    """Raise where what looks like a LoRA is a released LoRA-XS adapter whose R was lost on the way.

    Its B is then orthonormal and its A is BᵀW to rounding, in every layer, which no training leaves; as a LoRA it would
    add W's own top triplets to W.

    Args:
        saved: a LoRA with ``A`` and ``B``.
        layers: of the model, by dotted name.
    """
    for name in saved.layers:
        own = saved.tensors[name]
        if own.keys() != {"A", "B"} or not _is_orthonormal(own["B"]):
            return
        residual, tolerance = _residual(own["B"], own["A"], layers[name])
        if residual > tolerance:
            return
    raise VxlabError(
        f"{saved.folder} says LoRA, and its A and B are singular triplets of this base's own weights in all "
        f"{len(saved.layers)} layers: LoRA-XS of the released code without its R (lora_latent_mapping), which loading "
        "that is not strict loses silently, and without which the update is not known; get the whole folder"
    )


def _weight(saved: SavedAdapter, name: str, layer: nn.Module) -> Tensor:
    W, bases = linear_weight(layer), saved.frozen[name]
    shape = bases["left_basis"].shape[0], bases["right_basis"].shape[1]
    if tuple(W.shape) != shape:
        raise VxlabError(
            f"the bases of `{name}` in {saved.folder} are of a layer (out, in) = {shape}, and this model's is "
            f"{tuple(W.shape)}; load the base that it was trained on{_named_base(saved)}"
        )
    return W


def _match(given: Mapping[str, Tensor], own: Mapping[str, Tensor], layer: nn.Module) -> BasisMatch:
    from vxlab.analysis import principal_angles  # which brings SciPy

    B, A, U, SV = (
        each.to("cpu", torch.float64)
        for each in (given["left_basis"], given["right_basis"], own["left_basis"], own["right_basis"])
    )
    signs = torch.where((B * U).sum(0) < 0, -1.0, 1.0).double()
    apart = max(
        float((B * signs - U).norm(dim=0).max()),
        float(((A * signs[:, None] - SV).norm(dim=1) / SV.norm(dim=1)).max()),
    )
    angles = [principal_angles(B, U), principal_angles(A.T, SV.T)]
    residual, tolerance = _residual(given["left_basis"], given["right_basis"], layer)
    return BasisMatch(
        residual=residual,
        tolerance=tolerance,
        orthonormal=_is_orthonormal(B),
        angle=max((float(each[-1]) for each in angles if len(each)), default=math.nan),
        exact=apart <= math.sqrt(max(len(B), A.shape[1])) * 2 * _SINGLE,
        signs=signs,
    )


def _residual(left: Tensor, right: Tensor, layer: nn.Module) -> tuple[float, float]:
    """Return how far ΣVᵀ is from UᵀW, and what rounding may leave of it, both as shares of ‖W‖."""
    weight = linear_weight(layer)
    W, B, A = (each.to("cpu", torch.float64) for each in (weight, left, right))
    # Of a layer that stores Wᵀ the released code decomposes that, which fits a square one alone.
    made_of = [W, W.T] if not isinstance(layer, nn.Linear) and W.shape[0] == W.shape[1] else [W]
    out_features, rank = B.shape
    stored, base = max(torch.finfo(left.dtype).eps, torch.finfo(right.dtype).eps), torch.finfo(weight.dtype).eps
    tolerance = math.sqrt(rank) * stored + math.sqrt(rank / out_features) * base + math.sqrt(out_features) * _SINGLE
    return min(float((B.T @ each - A).norm() / W.norm()) for each in made_of), tolerance


def _is_orthonormal(U: Tensor) -> bool:
    U = U.to("cpu", torch.float64)
    return float((U.T @ U - torch.eye(U.shape[1], dtype=U.dtype)).abs().max()) <= SKEWED


def _refuse_other_base(saved: SavedAdapter, matches: Mapping[str, BasisMatch]) -> None:
    if drew_bases(saved.folder):
        return
    others = {name: each for name, each in matches.items() if each.orthonormal and each.residual > each.tolerance}
    if not others:
        return
    worst = max(others, key=lambda name: others[name].residual)
    raise VxlabError(
        f"the bases in {saved.folder} are singular vectors of another base's weights in {len(others)} of "
        f"{len(matches)} layers: in `{worst}` UᵀW differs from the stored ΣVᵀ by {others[worst].residual:.2g} of "
        f"‖W‖, and rounding leaves {others[worst].tolerance:.1g}; load the base that it was trained on"
        f"{_named_base(saved)}"
    )


def _between_own(saved: SavedAdapter, matches: Mapping[str, BasisMatch]) -> SavedAdapter:
    """Return the adapter between W's own bases, with R said in their signs."""
    tensors = {
        name: {"R": own["R"] * (signs := matches[name].signs.to(own["R"].dtype)) * signs[:, None]}
        for name, own in saved.tensors.items()
    }
    settings = {name: value for name, value in saved.settings.items() if name != "basis"}
    return replace(saved, settings=settings, tensors=tensors, frozen={})


def _how_far(saved: SavedAdapter, matches: Mapping[str, BasisMatch]) -> str:
    apart = [name for name, each in matches.items() if not each.exact]
    worst = max(apart, key=lambda name: matches[name].angle)
    middle = statistics.median(each.angle for each in matches.values())
    skewed = sum(not each.orthonormal for each in matches.values())
    if skewed or drew_bases(saved.folder):
        why = f"no SVD's (random, or half so), so which base they belong to cannot be told{_named_base(saved)}"
    else:
        why = "those of a randomised SVD, which stops short of the exact, the further the closer singular values lie"
    return (
        f"the bases in {saved.folder} are not the exact singular vectors of this base's weights in {len(apart)} of "
        f"{len(matches)} layers: the largest principal angle is {_degrees(matches[worst].angle)} in `{worst}` "
        f"(median over the layers: {_degrees(middle)}). They are {why}; they are kept as given, and saved with the "
        "adapter"
    )


def _degrees(angle: float) -> str:
    return f"{math.degrees(angle):.2g}°"


def _named_base(saved: SavedAdapter) -> str:
    return f" ({saved.base})" if saved.base else ""
