"""How much the luck of a training seed moves a score: few seeds each, pooled over the candidates."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri

from vxlab.experiments.scoring.formulas import Array

UNSTEADY = 0.01  # the chance that a pool of equal variances wrongly loses its largest


class Luck(NamedTuple):
    """The variance of one run's score over seeds, as it is used for a candidate."""

    variance: float
    freedom: float
    own: float
    """the same, of the candidate alone where it has two runs"""


def seed_luck(scores: Mapping[str, Array]) -> dict[str, Luck]:
    """Return each candidate's luck; nothing where no candidate has two seeds.

    The variance is pooled over all candidates, less any whose own stands out (Cochran's test), which keeps its own.

    Args:
        scores: candidate to the scores of its runs, (runs,).
    """
    own = {name: _own(each) for name, each in scores.items() if len(each) > 1}
    if not own:
        return {}
    steady = dict(own)
    while len(steady) > 2 and (name := _unsteady(steady)) is not None:
        del steady[name]
    pool = _pooled(steady)
    return {
        name: own[name] if name in own and name not in steady else pool._replace(own=own.get(name, pool).own)
        for name in scores
    }


def _own(scores: Array) -> Luck:
    variance = float(np.var(scores, ddof=1))
    return Luck(variance, len(scores) - 1, variance)


def _unsteady(lucks: Mapping[str, Luck]) -> str | None:
    """Return the candidate whose variance is too large to be one of these, as after a collapsed run."""
    largest = max(lucks, key=lambda name: lucks[name].variance)
    rest = _pooled({name: luck for name, luck in lucks.items() if name != largest})
    limit = fdtri(lucks[largest].freedom, rest.freedom, 1 - UNSTEADY / len(lucks))
    return largest if rest.variance > 0 and lucks[largest].variance > limit * rest.variance else None


def _pooled(lucks: Mapping[str, Luck]) -> Luck:
    freedom = sum(luck.freedom for luck in lucks.values())
    variance = sum(luck.variance * luck.freedom for luck in lucks.values()) / freedom
    return Luck(variance, freedom, variance)
