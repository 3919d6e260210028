"""Time things in turn, round by round, and hold one's rounds against another's."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from vxlab.experiments.costs import Step, time_call


class Ratio(NamedTuple):
    """A ratio of step times over interleaved rounds."""

    median: float
    low: float
    """first quartile"""
    high: float
    """third quartile"""


def interleaved_seconds(steps: Mapping[str, Step], rounds: int, warm_ups: int = 1) -> dict[str, list[float]]:
    """Time steps in turn, so that a slow moment of the machine touches all alike.

    Args:
        steps: by name; each round runs every one, and every other round in reverse order.
        rounds: timings of each.
        warm_ups: untimed runs of each, first.

    Returns:
        Seconds by name, in round order.
    """
    for step in [step for step in steps.values() for _ in range(warm_ups)]:
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(rounds):
        for name in list(steps)[:: -1 if round_number % 2 else 1]:
            seconds[name].append(time_call(steps[name]))
    return seconds


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> Ratio:
    """Return the median and quartiles of the rounds' ratios ours / theirs."""
    ratios = torch.tensor(list(ours), dtype=torch.float64) / torch.tensor(list(theirs), dtype=torch.float64)
    low, median, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return Ratio(median, low, high)
