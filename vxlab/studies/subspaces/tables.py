"""Spectra of weights and of what training added, and where in the weights' spectra the updates lie."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vxlab.analysis import (
    Update,
    band_places,
    band_rank,
    effective_rank,
    energy,
    rank_for_energy,
    sampled_angles,
    stable_rank,
)
from vxlab.experiments.runs import blocks_and_roles
from vxlab.spectra import BANDS, Triplets, decompose, in_threads

_POINTS = 64
_DRAWS = 60
_LAYER = ["layer", "block", "role"]
_SPECTRA = ["of", *_LAYER, "position", "rank", "energy", "rank_90", "stable_rank", "effective_rank"]
_ENERGIES = [
    "update", *_LAYER, "band", "fraction", "rank", "weight", "output", "input", "both",
    "chance_output", "chance_input", "chance_both",
]  # fmt: skip
_ANGLES = [
    "update", *_LAYER, "side", "band", "fraction", "number", "degrees",
    "chance", "chance_low", "chance_high",
]  # fmt: skip
SIDES = ("output", "input")
"""The sides of W ``(out, in)``: left singular vectors lie in the space of its outputs, right ones in that of inputs."""


def spectra_table(matrices: Mapping[str, Mapping[str, Update | Triplets]], among: Iterable[str] = ()) -> pd.DataFrame:
    """Return the share of the energy that the first singular triplets hold, by layer.

    Args:
        matrices: what they are (such as ``W`` or ``LoRA r=8``) to updates, or to all singular triplets of matrices,
            by layer.
        among: names of all layers that are looked at, where these are some of them: blocks in stages are numbered
            through all.

    Returns:
        One row a point of a spectrum: ``of``, ``layer``, ``block``, ``role``, ``position`` = k / min(out, in), ``rank``
        = k, and ``energy``, the share of ‖·‖²_F in the first k triplets; for each matrix also the constants ``rank_90``
        (triplets that hold 90 %), ``stable_rank`` and ``effective_rank``. A zero matrix has energies of NaN.
    """
    places = _places([layer for layers in matrices.values() for layer in layers], among)
    rows = (
        row
        for of, layers in matrices.items()
        for layer, matrix in layers.items()
        for row in _spectrum({"of": of, **places[layer]}, *_values(matrix))
    )
    return pd.DataFrame(rows, columns=_SPECTRA)


def band_energies(
    weights: Mapping[str, Triplets],
    updates: Mapping[str, Mapping[str, Update]],
    *,
    fractions: Sequence[float] = (0.125, 0.25, 0.5, 1.0),
    bands: Sequence[str] = ("top", "middle", "bottom"),
    among: Iterable[str] = (),
) -> pd.DataFrame:
    """Return how much of each update lies in each band of the singular vectors of the weight that it changes.

    Args:
        weights: all singular triplets of W ``(out, in)``, by layer, from :func:`decompose_weights`.
        updates: what they are to ΔW, by layer.
        fractions: of the min(out, in) triplets of W, above 0 and at most 1.
        bands: ``top``, ``middle`` or ``bottom``.
        among: names of all layers that are looked at, where these are some of them: blocks in stages are numbered
            through all.

    Returns:
        One row an update, layer, band and fraction: ``update``, ``layer``, ``block``, ``role``, ``band``,
        ``fraction``, ``rank``; ``weight``, the share of ‖W‖²_F in the band; and of ‖ΔW‖²_F the share left after
        projecting its columns on the band's left vectors (``output``), its rows on the right ones (``input``), and
        both (``both``), each with its mean for a random band, ``chance_output``, ``chance_input`` and
        ``chance_both``. A zero update has shares of NaN.
    """
    places = _places(weights, among)

    def of_layer(layer: str) -> list[dict[str, Any]]:
        return [
            {"update": name, **places[layer], **row}
            for name, several in updates.items()
            if layer in several
            for row in _energies(weights[layer], several[layer].to_matrix(), fractions, bands)
        ]

    return pd.DataFrame([row for rows in in_threads(of_layer, [*weights]) for row in rows], columns=_ENERGIES)


def band_angles(
    weights: Mapping[str, Triplets],
    updates: Mapping[str, Mapping[str, Update | Triplets]],
    *,
    fractions: Sequence[float] = (0.25,),
    directions: int = 8,
    seed: int = 0,
    among: Iterable[str] = (),
) -> pd.DataFrame:
    """Return the principal angles between updates' strongest directions and bands of their weights, of several sizes.

    The directions are written in W's own singular vectors, where a band is a choice of rows: one product serves all
    bands, and the angles are the arccosines of a few singular values, good to 1e-6 degrees.

    Args:
        weights: all singular triplets of W ``(out, in)``, by layer, from :func:`decompose_weights`.
        updates: what they are to ΔW, or to all its singular triplets, by layer.
        fractions: of W's triplets that a band holds, each above 0, at most 1.
        directions: of the update's singular vectors, the first so many.
        seed: of the random subspaces that give the level of chance.
        among: names of all layers that are looked at, where these are some of them: blocks in stages are numbered
            through all.

    Returns:
        One row an angle: ``update``, ``layer``, ``block``, ``role``, ``side`` (``output`` or ``input``), ``band``,
        ``fraction``, ``number`` from 1 (the smallest angle), ``degrees``, and of random subspaces of the same sizes
        ``chance`` (the median), ``chance_low`` and ``chance_high`` (95 % of the draws).
    """
    places = _places(weights, among)

    def of_layer(layer: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name, several in updates.items():
            if layer not in several:
                continue
            U, S, Vh = _strongest(several[layer], directions)
            if len(S):  # a zero update has no directions
                about, own = {"update": name, **places[layer]}, weights[layer]
                rows += _angles(about | {"side": SIDES[0]}, own.U, U, fractions, seed)
                rows += _angles(about | {"side": SIDES[1]}, own.Vh.mT, Vh.mT, fractions, seed)
        return rows

    return pd.DataFrame([row for rows in in_threads(of_layer, [*weights]) for row in rows], columns=_ANGLES)


def decompose_weights(weights: Mapping[str, Tensor]) -> dict[str, Triplets]:
    """Return all singular triplets of matrices of any floating dtype and device, in float64 on the CPU."""
    keeps = [slice(0, min(weight.shape)) for weight in weights.values()]
    found = decompose([*weights.values()], keeps)
    return {layer: Triplets(each.U, each.S, each.Vh) for layer, each in zip(weights, found, strict=True)}


def _spectrum(about: dict[str, Any], values: Tensor, n: int) -> Iterator[dict[str, Any]]:
    shares = energy(values)
    constants = {
        "rank_90": rank_for_energy(values, 0.9),
        "stable_rank": stable_rank(values),
        "effective_rank": effective_rank(values),
    }
    for rank in sorted({*np.unique(np.geomspace(1, n, _POINTS).round().astype(int)).tolist()}):
        share = float(shares[min(rank, len(shares)) - 1])  # beyond an update's rank nothing is added
        yield {**about, "position": rank / n, "rank": rank, "energy": share, **constants}


def _values(matrix: Update | Triplets) -> tuple[Tensor, int]:
    """Return singular values, and how many a matrix of this shape has."""
    if isinstance(matrix, Triplets):
        return matrix.S, len(matrix.S)
    return matrix.singular_values(), min(matrix.shape)


def _energies(
    triplets: Triplets, delta: Tensor, fractions: Sequence[float], bands: Sequence[str]
) -> Iterator[dict[str, Any]]:
    U, S, Vh = triplets
    whole, n = delta.square().sum(), len(S)
    left, right = U.mT @ delta, delta @ Vh.mT
    # In W's own coordinates a projection on a band is a choice of rows and columns.
    by_output, by_input, by_both = left.square().sum(1), right.square().sum(0), (left @ Vh.mT).square()
    out, into = delta.shape
    for which in bands:
        for fraction in fractions:
            rank = band_rank(n, fraction)
            chosen = band_places(n, fraction, which)
            yield {
                "band": which, "fraction": fraction, "rank": rank,
                "weight": float(S[chosen].square().sum() / S.square().sum()),
                "output": float(by_output[chosen].sum() / whole), "input": float(by_input[chosen].sum() / whole),
                "both": float(by_both[chosen][:, chosen].sum() / whole),
                "chance_output": rank / out, "chance_input": rank / into, "chance_both": rank * rank / (out * into),
            }  # fmt: skip


def _strongest(update: Update | Triplets, directions: int) -> Triplets:
    """Return an update's first triplets; fewer where its rank is lower."""
    U, S, Vh = update if isinstance(update, Triplets) else update.svd()
    there = int((S[:directions] > len(S) * torch.finfo(torch.float64).eps * S[0]).sum())
    return Triplets(U[:, :there], S[:there], Vh[:there])


def _angles(
    about: Mapping[str, Any], own: Tensor, moved: Tensor, fractions: Sequence[float], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the angles of some directions ``(n, a)`` to every band of W's vectors ``(n, k)`` of one side."""
    inside, k = own.mT @ moved, own.shape[1]
    for band_name in BANDS:
        for fraction in fractions:
            rank = band_rank(k, fraction)
            chosen = band_places(k, fraction, band_name)
            cosines = torch.linalg.svdvals(inside[chosen]).clamp(max=1)
            found = torch.rad2deg(torch.arccos(cosines)).tolist()
            levels = _chance(own.shape[0], moved.shape[1], rank, seed)
            for number, (degrees, chance, low, high) in enumerate(zip(found, *levels, strict=True), 1):
                yield {
                    **about, "band": band_name, "fraction": fraction, "number": number, "degrees": degrees,
                    "chance": chance, "chance_low": low, "chance_high": high,
                }  # fmt: skip


@lru_cache(maxsize=128)
def _chance(n: int, a: int, b: int, seed: int) -> tuple[list[float], ...]:
    """Return the median of random angles, in degrees, and the ends of 95 % of them."""
    drawn = torch.rad2deg(sampled_angles(n, a, b, _DRAWS, seed))
    levels = torch.tensor([0.5, 0.025, 0.975], dtype=drawn.dtype)
    return tuple(torch.quantile(drawn, levels, dim=0).tolist())


def _places(layers: Iterable[str], among: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = blocks_and_roles([*layers, *among]).items()
    return {layer: {"layer": layer, "block": block, "role": role} for layer, (block, role) in found}
