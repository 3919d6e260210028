"""What each layer's gradient lets a method express at every rank: on all batches, and on each half of many splits."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vxlab.adapters import Family, LoRA, LoRAXS, VeRA
from vxlab.analysis import block_energies, free_energies, paired_energies, row_energies
from vxlab.errors import VxlabError
from vxlab.spectra import singular_triplets

WIDTH = 96
"""Directions of a layer in which LoRA's energies are reckoned: the leading ones of all its gradients together."""
WIDEST_VERA = 1024
RESAMPLES = 20
"""Random halvings of the batches, each judged both ways."""

Numbers = NDArray[np.float64]
Half = tuple[int, ...]


@dataclass(frozen=True)
class LayerEnergies:
    """What one layer's gradient lets a method express."""

    ranks: tuple[int, ...]
    """in ascending order"""
    highest: int
    """rank that the layer takes"""
    energy: Numbers
    """captured at each rank, by all batches"""
    halves: Numbers
    """(resamples, 2, ranks): the same by each half of the batches alone"""
    pairs: Numbers
    """(n, n) of the whole gradients"""
    flat: bool
    """whether the energy is one at all ranks, and what differs between them is luck of the draw"""

    @property
    def whole(self) -> float:
        """‖E[G]‖², the mean over pairs of two gradients."""
        return mean_of_pairs(self.pairs)

    def expect(self, energy: Numbers) -> Numbers:
        """Return the energy to reckon with at the ranks 1, 2, ...; the last holds for all that follow."""
        return energy.mean(-1, keepdims=True) if self.flat else energy

    def captured(self, energy: Numbers, rank: int) -> float:
        """Return the energy to reckon with at one rank, 0 at rank 0."""
        known = self.expect(energy)
        return float(known[min(rank, len(known)) - 1]) if rank else 0.0


def measure_energies(
    signal: Mapping[str, Tensor], weights: Mapping[str, Tensor], family: Family, seed: int
) -> Iterator[tuple[str, LayerEnergies]]:
    """Yield each layer's energies under a method.

    LoRA: the best matrix of each rank, chosen by one half of the gradients and judged by the other. LoRA-XS: between
    its own bases, W's singular vectors. VeRA: along its own rows at the start, b = 0, at powers of two; as each rank
    draws another pair, and any draw reaches as much on average, the layer's energy is the mean over them, at all ranks.

    Args:
        signal: gradients ``(n, out, in)`` by layer.
        weights: W ``(out, in)`` by layer.
        family: the method, of any rank.
        seed: of the random halves.
    """
    halves = random_halves(len(next(iter(signal.values()))), seed)
    by_rank = _vera_pairs(signal, weights, family) if isinstance(family, VeRA) else {}
    for name, gradients in signal.items():
        if isinstance(family, LoRA):
            ranks, energy, by_half = _free(gradients, halves)
        elif isinstance(family, VeRA):
            ranks, energy, by_half = _fixed(by_rank[name], halves)
        else:
            bases = singular_triplets({name: weights[name]}, min(weights[name].shape))[name]
            ranks, energy, by_half = _fixed(dict(enumerate(block_energies(gradients, bases.U, bases.Vh), 1)), halves)
        highest = WIDEST_VERA if isinstance(family, VeRA) else min(weights[name].shape)
        pairs = paired_energies(gradients).numpy()
        yield name, LayerEnergies(ranks, highest, energy, by_half, pairs, isinstance(family, VeRA))


def require_advisable(family: object) -> None:
    """Raise where a method has no ranks to advise on, or starts from what is not known here."""
    if not isinstance(family, LoRA | LoRAXS | VeRA):
        raise VxlabError(f"method={family!r} has no ranks that can be advised; give LoRA, VeRA or LoRAXS")
    if isinstance(family, LoRAXS) and family.basis != "top":
        raise VxlabError(f"LoRAXS basis={family.basis!r} is not nested in its ranks; advice is for basis='top'")
    if isinstance(family, VeRA) and (family.vectors == "d" or family.stores_bases):
        raise VxlabError(f"{family!r}: advice is for VeRA whose b trains, in matrices that it draws")
    if isinstance(family, LoRA) and family.trains != "both":
        raise VxlabError(
            f"LoRA trains={family.trains!r}: advice is for LoRA whose A trains too; its directions are free"
        )


def random_halves(count: int, seed: int) -> list[tuple[Half, Half]]:
    """Return random halvings of so many gradients, of equal size; an odd one rests."""
    random, size = np.random.default_rng(seed), count // 2
    orders = [random.permutation(count).tolist() for _ in range(RESAMPLES)]
    return [(tuple(order[:size]), tuple(order[size : 2 * size])) for order in orders]


def mean_of_pairs(pairs: Numbers) -> float:
    """Return the mean of an ``(n, n)`` matrix off its diagonal: without the noise's own energy."""
    return float(_mean_of_pairs(pairs, range(len(pairs))))


def _mean_of_pairs(pairs: Numbers, places: Sequence[int]) -> Numbers:
    own = pairs[..., list(places), :][..., list(places)]
    count = len(places)
    mean: Numbers = (own.sum((-1, -2)) - own.trace(axis1=-2, axis2=-1)) / (count * (count - 1))
    return mean


def _free(gradients: Tensor, halves: list[tuple[Half, Half]]) -> tuple[tuple[int, ...], Numbers, Numbers]:
    """Return LoRA's ranks, the energies by all gradients, and by each half from its own two quarters."""
    whole = [(a, b) for one, other in halves for a, b in ((one, other), (other, one))]
    quarters = [(each[: len(each) // 2], each[len(each) // 2 :]) for both in halves for each in both]
    within = [(a, b) for one, other in quarters for a, b in ((one, other), (other, one))]
    curves = free_energies(gradients, [*whole, *within], WIDTH).numpy()
    by_half = curves[len(whole) :].reshape(len(halves), 2, 2, -1).mean(2)
    return tuple(range(1, curves.shape[1] + 1)), curves[: len(whole)].mean(0), by_half


def _fixed(by_rank: Mapping[int, Tensor], halves: list[tuple[Half, Half]]) -> tuple[tuple[int, ...], Numbers, Numbers]:
    """Return the ranks of a method whose directions are its own, and its energies by all gradients and by each half."""
    pairs = torch.stack(list(by_rank.values())).numpy()
    by_half = np.array([[_mean_of_pairs(pairs, half) for half in both] for both in halves])
    return tuple(by_rank), _mean_of_pairs(pairs, range(pairs.shape[-1])), by_half


def _vera_pairs(
    signal: Mapping[str, Tensor], weights: Mapping[str, Tensor], family: VeRA
) -> dict[str, dict[int, Tensor]]:
    found: dict[str, dict[int, Tensor]] = {name: {} for name in signal}
    for rank in (2**power for power in range(WIDEST_VERA.bit_length())):
        for name, rows in zip(signal, _vera_rows(weights, family, rank), strict=True):
            found[name][rank] = row_energies(signal[name], rows)
    return found


def _vera_rows(weights: Mapping[str, Tensor], family: VeRA, rank: int) -> Iterator[Tensor]:
    """Yield m_k = (B_k ∘ d)·A of every layer, ``(out, in)``: what VeRA's update is as b = 1, d as it starts."""
    at = dataclasses.replace(family, rank=rank)
    shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()}
    shared = at.shared(list(shapes.values()))
    for name, shape in shapes.items():
        own = at.frozen({name: weights[name]})[name]
        left, right = at.factors({**shared, **own, **at.trained(shape), "lambda_b": torch.ones(shape[0])}, shape)
        yield left @ right
