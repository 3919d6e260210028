"""Singular values and vectors of a model's weights: in float64, computed once and kept."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.checks import require_choice, require_count
from vxlab.errors import VxlabError
from vxlab.spectra.cache import entry_key, read_entry, say_once, write_entry
from vxlab.spectra.decomposition import Slice, all_values, decompose, in_threads
from vxlab.spectra.krylov import is_worthwhile

BANDS = ("top", "middle", "bottom")
BLOCK = 32
"""Triplets are computed in multiples of this many, and a rank takes its share: all of LoRA-XS's published GLUE ranks
(4 to 25) come from one decomposition. Twice as many would double what is written and read."""


class SubspaceWarning(UserWarning):
    """Say that a band of singular vectors is not determined by the weight."""


class Triplets(NamedTuple):
    """r singular triplets of W, singular values in descending order: W ≈ U·diag(S)·Vh."""

    U: Tensor
    """(out, r)"""
    S: Tensor
    """(r,)"""
    Vh: Tensor
    """(r, in)"""


def singular_triplets(weights: Mapping[str, Tensor], rank: int, band: str = "top") -> dict[str, Triplets]:
    """Return r singular triplets of every weight: the largest, the middle or the smallest of them.

    They are exact, and the top ones of a weight with both sides of 2,048 or more, in a block of at most a sixteenth of
    them, are within 3e-5 radians: what another device's rounding may add to that is about 1e-6.

    The result is kept in the cache folder under the weight's content. It is cut from a block of 32 triplets, or the
    next multiple that holds the rank, so that the ranks up to 32 need one decomposition, and a rank's triplets are the
    same bit for bit whichever rank was asked for first. Signs follow one rule: the entry of largest magnitude in each
    left vector is positive.

    Args:
        weights: W, ``(out, in)``, of any floating dtype and device, by the layer's dotted name.
        rank: r, 1 to min(out, in) of every weight.
        band: ``top`` takes triplets 0 … r-1, ``bottom`` the last r, ``middle`` those from (min(out, in) - r) // 2 on.

    Returns:
        float64 triplets on the CPU, by layer.

    Warns:
        SubspaceWarning: a singular value inside the band equals one outside it, to the precision of the weight, so
            that the band's directions are an arbitrary choice among equals.
        CacheWarning: the cache folder cannot be written; the result is right all the same.

    Raises:
        VxlabError: the rank or band is out of range, or a weight is no matrix, all zero, or holds NaN or infinite
            values.

    >>> U, S, Vh = singular_triplets({"layer": torch.tensor([[3.0, 0.0], [0.0, -5.0]])}, rank=1)["layer"]
    >>> U.T.tolist(), S.tolist(), Vh.tolist()
    ([[0.0, 1.0]], [5.0], [[-0.0, -1.0]])
    """
    _check(weights, rank, band)
    sizes = {layer: min(weight.shape) for layer, weight in weights.items()}
    blocks = {layer: min(n, -(-rank // BLOCK) * BLOCK) for layer, n in sizes.items()}

    def compute(layers: Sequence[str]) -> list[dict[str, Tensor]]:
        _require_sound({layer: weights[layer] for layer in layers}, directions=True)
        keeps = [_place(sizes[layer], blocks[layer], band) for layer in layers]
        return [found._asdict() for found in decompose([weights[layer] for layer in layers], keeps)]

    kinds = {layer: f"{_method(weights[layer], block, band)}-{block}" for layer, block in blocks.items()}
    triplets = {}
    for layer, tensors in _computed_once(weights, kinds, compute).items():
        block, keep = Slice(**tensors), _place(sizes[layer], rank, band)
        _warn_of_ties(layer, weights[layer], block.values.tolist(), keep, band)
        first = keep.start - _place(sizes[layer], blocks[layer], band).start
        own = slice(first, first + rank)
        triplets[layer] = Triplets(block.U[:, own], block.S[own], block.Vh[own])
    return triplets


def singular_values(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all singular values of every weight, in descending order; zeros for a zero matrix.

    Args:
        weights: W, ``(out, in)``, of any floating dtype and device, by the layer's dotted name.

    Returns:
        float64, ``(min(out, in),)`` on the CPU, by layer; kept in the cache folder.

    Raises:
        VxlabError: a weight is no matrix, or holds NaN or infinite values.

    >>> singular_values({"layer": torch.tensor([[3.0, 0.0], [0.0, -5.0]])})["layer"].tolist()
    [5.0, 3.0]
    """

    def compute(layers: Sequence[str]) -> list[dict[str, Tensor]]:
        _require_sound({layer: weights[layer] for layer in layers})
        return [{"values": values} for values in all_values([weights[layer] for layer in layers])]

    _require_matrices(weights)
    found = _computed_once(weights, dict.fromkeys(weights, "values"), compute)
    return {layer: tensors["values"] for layer, tensors in found.items()}


def _computed_once(
    weights: Mapping[str, Tensor],
    kinds: Mapping[str, str],
    compute: Callable[[Sequence[str]], list[dict[str, Tensor]]],
) -> dict[str, dict[str, Tensor]]:
    """Return what the cache holds for each weight; compute what it lacks in one call, and keep that."""
    keys: dict[str, str] = {}

    def look_up(layer: str) -> dict[str, Tensor] | None:
        keys[layer] = entry_key(weights[layer], kinds[layer])
        return read_entry(keys[layer])

    found = dict(zip(weights, in_threads(look_up, [*weights]), strict=True))
    missing = [layer for layer, tensors in found.items() if tensors is None]
    new = dict(zip(missing, compute(missing), strict=True)) if missing else {}
    for error in in_threads(lambda layer: write_entry(keys[layer], new[layer]), missing):
        if error is not None:
            say_once(error)
    return {layer: new[layer] if tensors is None else tensors for layer, tensors in found.items()}


def _method(weight: Tensor, block: int, band: str) -> str:
    # Where the ways of computing differ in more than the last digit, what they keep has different names.
    return "leading" if band == "top" and is_worthwhile(weight, block) else band


def _place(n: int, rank: int, band: str) -> slice:
    # Slices of one band nest, whatever n: a smaller rank's lies inside a larger one's.
    start = {"top": 0, "middle": (n - rank) // 2, "bottom": n - rank}[band]
    return slice(start, start + rank)


def _check(weights: Mapping[str, Tensor], rank: int, band: str) -> None:
    require_choice("band", band, BANDS)
    require_count("rank", rank)
    _require_matrices(weights)
    for layer, weight in weights.items():
        if rank > min(weight.shape):
            raise VxlabError(
                f"rank={rank} is more than the {min(weight.shape)} singular values of `{layer}`, "
                f"{tuple(weight.shape)}; choose 1-{min(weight.shape)}"
            )


def _require_matrices(weights: Mapping[str, Tensor]) -> None:
    for layer, weight in weights.items():
        if weight.dim() != 2 or not weight.is_floating_point() or not weight.numel():
            raise VxlabError(
                f"the weight of `{layer}` is {tuple(weight.shape)} of {weight.dtype}; an SVD needs a matrix of real "
                "floating-point numbers (dequantise quantised weights first)"
            )
        if weight.is_meta:
            raise VxlabError(f"the weight of `{layer}` is on the meta device, without values; load the weights first")


def _require_sound(weights: Mapping[str, Tensor], *, directions: bool = False) -> None:
    """Raise where a weight holds NaN or infinite values, or, where its directions are wanted, is zero throughout."""

    def largest_of(weight: Tensor) -> float:
        values = weight.detach() if weight.element_size() > 1 else weight.detach().float()  # float8 has no aminmax
        return float(torch.stack(values.aminmax()).abs().max())

    for layer, largest in zip(weights, in_threads(largest_of, [*weights.values()]), strict=True):
        if not math.isfinite(largest):
            raise VxlabError(
                f"the weight of `{layer}` holds NaN or infinite values, so it has no SVD; load sound weights"
            )
        if directions and not largest:
            raise VxlabError(
                f"the weight of `{layer}` is zero throughout, so none of its directions is singled out; load trained "
                "weights, or leave the layer out of the targets"
            )


def _warn_of_ties(layer: str, weight: Tensor, values: list[float], keep: slice, band: str) -> None:
    """Warn where the band's edge runs between singular values that the weight's precision cannot tell apart."""
    whole = len(values) == min(weight.shape)
    if whole and weight.shape[0] != weight.shape[1]:  # the longer side has more directions, all of singular value 0
        values = [*values, 0.0]
    tie = _tie(weight) * values[0]
    tied = [i for i in (keep.stop, keep.start) if 0 < i < len(values) and values[i - 1] - values[i] <= tie]
    if not tied:
        return
    cluster = list(accumulate((a - b > tie for a, b in pairwise(values)), initial=0))
    arbitrary = sum(each in {cluster[i] for i in tied} for each in cluster[keep])
    edge, rank = tied[0], keep.stop - keep.start
    above, below = values[edge - 1 : edge + 1]
    warnings.warn(
        f"the {band} {rank} singular directions of `{layer}` are not unique: its singular values {edge} and "
        f"{edge + 1}, {above:.6g} and {below:.6g}, differ by {(above - below) / values[0]:.1e} of the largest, less "
        f"than the weight's precision tells apart, so {arbitrary} of the {rank} are an arbitrary choice among "
        "equals; choose a rank at which the singular values fall",
        SubspaceWarning,
        stacklevel=3,
    )


def _tie(weight: Tensor) -> float:
    """Return the share of σ₁ within which two singular values count as equal.

    Weights are kept, and adapters hold their bases, in float32 at best, and rounding W to it moves its singular values
    by about 2⁻²⁴·σ₁: closer ones could as well have come in the other order. Half precision is no coarser here, for
    the weight *is* the rounded one. A float64 weight is cut as finely as its SVD is accurate.
    """
    double = torch.finfo(torch.float64)
    return max(weight.shape) * double.eps if weight.dtype == torch.float64 else 2.0**-23
