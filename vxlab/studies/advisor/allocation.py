"""Share a budget of parameters among layers: greedily, by energy for each parameter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """What a layer captures and costs at each rank."""

    steps: Numbers
    """energy for each further parameter, from rank 0 on: never rising, never below 0; 0 beyond these"""
    prices: Numbers
    """parameters that each of these takes further"""
    cost: Callable[[int], int]
    """parameters at a rank; 0 at rank 0"""
    highest: int
    """rank"""


def fit_curve(energy: Sequence[float] | Numbers, cost: Callable[[int], int], highest: int) -> Curve:
    """Return the curve of a layer whose energy at the ranks 1, 2, ... is known with noise.

    Energy for each further parameter can only fall, where better directions come first; noise makes it rise and go
    below 0. What fits best in least squares and never rises is taken (pool adjacent violators, weighted by parameters),
    and nothing below 0.

    Args:
        energy: captured at the ranks 1, 2, ...
        cost: parameters at a rank.
        highest: rank that the layer takes.
    """
    prices = np.diff([0, *(cost(rank) for rank in range(1, len(energy) + 1))]).astype(float)
    blocks: list[list[float]] = []  # of energy, price and ranks
    for gain, price in zip(np.diff(energy, prepend=0.0), prices, strict=True):
        blocks.append([float(gain), float(price), 1])
        while len(blocks) > 1 and blocks[-1][0] * blocks[-2][1] > blocks[-2][0] * blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    slopes = np.repeat([max(0.0, block[0] / block[1]) for block in blocks], [int(block[2]) for block in blocks])
    return Curve(slopes[:highest], prices[:highest], cost, highest)


def allocate(curves: Mapping[str, Curve], budget: int) -> dict[str, int]:
    """Return each layer's rank, 0 to leave it out, for as much energy as a budget buys.

    The next rank goes where it brings most energy for each parameter, as long as it fits. What is left, once no rank
    brings energy or fits, goes to the lowest ranks among the layers that have one. Layers without energy stay at 0.

    Args:
        curves: by layer.
        budget: parameters, never exceeded.
    """
    names = list(curves)
    ranks, left = _by_energy([curves[name] for name in names], budget)
    return dict(zip(names, _fill([curves[name] for name in names], ranks, left), strict=True))


def uniform_rank(costs: Sequence[Callable[[int], int]], highest: int, budget: int) -> int:
    """Return the highest rank that all layers can have under a budget; 0 where not even rank 1 fits."""
    low, high = 0, highest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(cost(middle) for cost in costs) <= budget else (low, middle - 1)
    return low


def _by_energy(curves: Sequence[Curve], budget: int) -> tuple[list[int], int]:
    slopes = np.concatenate([curve.steps for curve in curves])
    layers = np.repeat(np.arange(len(curves)), [len(curve.steps) for curve in curves])
    steps = np.concatenate([np.arange(1, len(curve.steps) + 1) for curve in curves])
    prices = np.concatenate([curve.prices for curve in curves])
    order = np.argsort(-slopes, kind="stable")  # a layer's own ranks stay in order
    order = order[slopes[order] > 0]
    ranks, left = [0] * len(curves), budget
    cheapest = np.minimum.accumulate(prices[order][::-1])[::-1]
    for place, cheap in zip(order.tolist(), cheapest.tolist(), strict=True):
        if cheap > left:
            break
        layer, step, price = int(layers[place]), int(steps[place]), int(prices[place])
        if ranks[layer] == step - 1 and price <= left:
            ranks[layer], left = step, left - price
    return ranks, left


def _fill(curves: Sequence[Curve], ranks: list[int], left: int) -> list[int]:
    """Spend what is left on the lowest ranks of the layers that have one."""
    open_ones = {i for i, rank in enumerate(ranks) if 0 < rank < curves[i].highest}
    while open_ones:
        lowest = min(open_ones, key=lambda i: (ranks[i], i))
        price = curves[lowest].cost(ranks[lowest] + 1) - curves[lowest].cost(ranks[lowest])
        if price <= left:
            ranks[lowest], left = ranks[lowest] + 1, left - price
        if price > left or ranks[lowest] == curves[lowest].highest:
            open_ones.discard(lowest)
    return ranks
