"""How well each family fits a matrix with so many trained parameters: random matrices, and a layer's own."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vxlab.adapters import VeRA
from vxlab.analysis import ROUNDS, STARTS, fit_lidb, fit_lora_xs, fit_vera, lora_errors
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import base_weights, blocks_and_roles, full_updates, require_finished
from vxlab.spectra import decompose

Shape = tuple[int, int]
"""(out, in)"""

_VERA_RANK = 96
"""VeRA's largest rank by default: a step of its fit grows with the cube of the rank."""


class Size(NamedTuple):
    """A family at one size."""

    family: str
    setting: str
    """the rank, or LiDB's two inner sides, in words"""
    rank: int
    parameters: int
    """trained"""
    freedom: int
    """dimensions of the set of matrices it can be: trained parameters less those that change nothing"""


def random_errors(
    shapes: Sequence[Shape] = ((10, 10),), matrices: int = 500, *, vera_rank: int = _VERA_RANK, seed: int = 0
) -> pd.DataFrame:
    """Fit random matrices of standard normal entries by every family at several sizes.

    Everything frozen is drawn anew for each matrix: VeRA's pair, LiDB's bases, and the random W whose singular
    vectors are LoRA-XS's bases.

    Args:
        shapes: (out, in) of the matrices.
        matrices: how many of each shape, 1 or more.
        vera_rank: VeRA's largest rank; its parameters also stay within 70 % of the entries.
        seed: of the matrices, of what is frozen and of VeRA's starts.

    Returns:
        One row for each matrix and size: ``shape`` as "10×10", ``matrix``, ``entries`` of each, the fields of
        :class:`Size`, and ``error``, the mean squared error over the entries. Fitting nothing has 1 on average.

    Raises:
        VxlabError: no matrices, or a side below 1.
    """
    if matrices < 1 or any(side < 1 for shape in shapes for side in shape):
        raise VxlabError(f"shapes={shapes}, matrices={matrices}: give sides and a number of matrices of 1 or more")
    return pd.concat([_random(shape, matrices, vera_rank, seed) for shape in shapes], ignore_index=True)


def real_errors(
    targets: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    *,
    vera_ranks: Sequence[int] = (),
    starts: int = 3,
    rounds: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit a layer's matrix by every family, LoRA-XS between the singular vectors of the layer's own weight.

    VeRA's random pair is one for all layers, sliced where shapes differ, as the adapter has it. The search for its
    fit is short: at these sizes starts end within a percent of each other.

    Args:
        targets: what to fit by layer's name, ``(out, in)``: an update, or the weight itself.
        weights: W of those layers, and of others where blocks in stages are to be numbered through them.
        vera_ranks: ranks of VeRA; none takes :func:`layer_vera_ranks`.
        starts: of VeRA's search, a round.
        rounds: of VeRA's search, at most.
        seed: of what is random.

    Returns:
        One row for each layer and size: ``layer``, ``block``, ``role``, ``entries`` of its matrix, the fields of
        :class:`Size`, and ``error`` = ‖T − fit‖² / ‖T‖², NaN for a zero target.

    Raises:
        VxlabError: no targets, or a target whose layer has no weight of its shape.
    """
    if not targets:
        raise VxlabError("targets is empty; give one layer or more")
    for layer, target in targets.items():
        if layer not in weights or weights[layer].shape != target.shape:
            known = tuple(weights[layer].shape) if layer in weights else "absent"
            raise VxlabError(f"the weight of {layer!r} is {known}; the target is {tuple(target.shape)}: give its own W")
    shapes = [(target.shape[0], target.shape[1]) for target in targets.values()]
    search = {"vera_ranks": vera_ranks or layer_vera_ranks(shapes), "starts": starts, "rounds": rounds, "seed": seed}
    tables = [_real(shape, shapes, targets, weights, **search) for shape in dict.fromkeys(shapes)]
    return pd.concat(tables, ignore_index=True)


def run_errors(
    record: RunRecord, layers: str | Sequence[str] = "all-linear", blocks: Sequence[int] | None = None, **search: Any
) -> pd.DataFrame:
    """Fit what a full fine-tuning run changed, and the weights it started from.

    Args:
        record: a finished run of ``Full()``.
        layers: as :func:`vxlab.attach` takes targets.
        blocks: transformer blocks, from 0; None takes all.
        search: of :func:`real_errors`.

    Returns:
        What :func:`real_errors` returns, with ``target``: ``ΔW`` or ``W``.

    Raises:
        VxlabError: the run did not finish, is of another method, or there is no such layer in these blocks.
    """
    require_finished(record)
    weights = base_weights(record, layers)
    numbers = {layer: block for layer, (block, _) in blocks_and_roles(weights).items()}
    chosen = [layer for layer in weights if blocks is None or numbers[layer] in blocks]
    if not chosen:
        there = sorted(set(numbers.values()))
        raise VxlabError(f"blocks={list(blocks or [])} holds none of layers={layers!r}, whose blocks are {there}")
    W = {layer: weights[layer] for layer in chosen}
    changed = full_updates(record, layers)
    fits = {"ΔW": {layer: changed[layer].to_matrix() for layer in chosen}, "W": W}
    tables = [real_errors(targets, weights, **search).assign(target=name) for name, targets in fits.items()]
    return pd.concat(tables, ignore_index=True)


def layer_vera_ranks(shapes: Sequence[Shape]) -> list[int]:
    """Return VeRA's ranks for a model's layers: up to the least in_features, in steps of four.

    At r = in_features VeRA trains as many parameters as LoRA of rank 1. Wider layers have no such pair among these,
    for a step of VeRA's fit grows with the cube of the rank.

    >>> layer_vera_ranks([(384, 384), (384, 1536)])
    [24, 96, 384]
    """
    least = min(in_features for _, in_features in shapes)
    return sorted({max(1, least // 16), max(1, least // 4), least})


def vera_ranks(shape: Shape, largest: int = _VERA_RANK) -> list[int]:
    """Return VeRA's ranks for a shape: some below LoRA's r=1 in parameters, and steps of half a LoRA rank from there.

    At r = in + (k − 1)(in + out) it trains as many parameters as LoRA of rank k.

    >>> vera_ranks((10, 10))
    [1, 2, 3, 6, 10, 20, 30, 40, 50, 60]
    """
    out_features, in_features = shape
    most = max(1, min(largest, int(0.7 * out_features * in_features) - out_features))
    below = {round(rank) for rank in np.geomspace(1, in_features, 5)}
    half = max(1, (in_features + out_features) // 2)
    return sorted(rank for rank in below | set(range(in_features, most + 1, half)) if rank <= most)


def _random(shape: Shape, matrices: int, vera_rank: int, seed: int) -> pd.DataFrame:
    generator = torch.Generator().manual_seed(seed)
    targets, weights = (torch.randn(matrices, *shape, generator=generator).double() for _ in range(2))
    pair = partial(_own_pairs, matrices, shape, generator)
    fits = _fits(targets, weights, generator, vera_ranks(shape, vera_rank), pair, seed)
    errors = {size: squared / (shape[0] * shape[1]) for size, squared in fits}
    return _long(errors, {"shape": f"{shape[0]}×{shape[1]}", "matrix": range(matrices), "entries": shape[0] * shape[1]})


def _real(
    shape: Shape, shapes: Sequence[Shape], T: Mapping[str, Tensor], W: Mapping[str, Tensor], **search: Any
) -> pd.DataFrame:
    layers = [layer for layer, target in T.items() if target.shape == shape]
    targets, weights = (torch.stack([by[layer].detach().cpu().double() for layer in layers]) for by in (T, W))
    seed = search.pop("seed")
    pair = partial(_shared_pair, shapes, shape, seed)
    generator = torch.Generator().manual_seed(seed)
    fits = _fits(targets, weights, generator, search.pop("vera_ranks"), pair, seed, **search)
    whole = targets.square().sum((-2, -1))
    places = blocks_and_roles(W)
    named = {name: [places[layer][at] for layer in layers] for at, name in enumerate(("block", "role"))}
    return _long(
        {size: squared / whole for size, squared in fits}, {"layer": layers, **named, "entries": shape[0] * shape[1]}
    )


def _fits(
    targets: Tensor,
    weights: Tensor,
    generator: torch.Generator,
    vera: Sequence[int],
    pair: Callable[[int], tuple[Tensor, Tensor]],
    seed: int,
    starts: int = STARTS,
    rounds: int = ROUNDS,
) -> Iterator[tuple[Size, Tensor]]:
    """Yield each size and the squared errors (m,) of its fits."""
    m, out_features, in_features = targets.shape
    both, least = out_features + in_features, min(out_features, in_features)
    ranks = _spread(least)
    for rank, errors in zip(ranks, lora_errors(targets, ranks).T, strict=True):
        yield Size("LoRA", f"r={rank}", rank, rank * both, rank * (both - rank)), errors
    for rank in vera:
        A, B = pair(rank)
        fit = fit_vera(targets, A, B, starts=starts, rounds=rounds, seed=_search_seed(seed, rank))
        yield Size("VeRA", f"r={rank}", rank, out_features + rank, out_features + rank - 1), fit.error
    U, Vh = _singular_vectors(weights)
    for rank in ranks:
        size = Size("LoRA-XS", f"r={rank}", rank, rank**2, rank**2)
        yield size, fit_lora_xs(targets, U[..., :rank], Vh[:, :rank]).error
    sides = _lidb_sides(out_features, in_features)
    left, right = (
        torch.linalg.qr(torch.randn(m, side, most, generator=generator).double()).Q
        for side, most in zip((out_features, in_features), sides[-1], strict=True)
    )
    for a, b in sides:
        size = Size("LiDB, rank 1", f"a={a}, b={b}", 1, a + b, a + b - 1)
        yield size, fit_lidb(targets, left[..., :a], right[..., :b].mT, 1).error
    everything = out_features * in_features
    yield Size("full", "every entry", least, everything, everything), torch.zeros(m).double()


def _search_seed(seed: int, rank: int) -> int:
    """Return a seed of its own for each rank; a prime above any rank keeps seeds apart."""
    return (seed * 1_000_003 + rank) % 2**63


def _singular_vectors(weights: Tensor) -> tuple[Tensor, Tensor]:
    found = decompose([*weights], [slice(0, min(weights.shape[1:]))] * len(weights))
    return torch.stack([each.U for each in found]), torch.stack([each.Vh for each in found])


def _spread(most: int, counts: int = 10) -> list[int]:
    return sorted({round(rank) for rank in np.geomspace(1, most, counts)})


def _lidb_sides(out_features: int, in_features: int) -> list[tuple[int, int]]:
    """Return LiDB's (a, b): the same share of either side; both whole, it would be LoRA."""
    longest = max(out_features, in_features)
    shares = [side / longest for side in _spread(longest)[:-1]] or [1.0]
    return list(dict.fromkeys((math.ceil(share * out_features), math.ceil(share * in_features)) for share in shares))


def _own_pairs(m: int, shape: Shape, generator: torch.Generator, rank: int) -> tuple[Tensor, Tensor]:
    # Uniform as Kaiming's; its bounds scale b alone.
    A, B = torch.rand(m, rank, shape[1], generator=generator), torch.rand(m, shape[0], rank, generator=generator)
    return 2 * A - 1, 2 * B - 1


def _shared_pair(shapes: Sequence[Shape], shape: Shape, seed: int, rank: int) -> tuple[Tensor, Tensor]:
    pair = VeRA(rank=rank, seed=seed).shared(shapes)
    return pair["A"][:, : shape[1]], pair["B"][: shape[0]]


def _long(errors: Mapping[Size, Tensor], named: Mapping[str, object]) -> pd.DataFrame:
    """Return a row for each matrix and size."""
    tables = [pd.DataFrame({**named, **size._asdict(), "error": each.numpy()}) for size, each in errors.items()]
    return pd.concat(tables, ignore_index=True)
