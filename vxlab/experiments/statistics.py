"""Summarise scores over seeds, and say which candidates can be told apart."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vxlab.errors import VxlabError
from vxlab.experiments.metrics import _prepared, compute, resampled

Array = NDArray[Any]
Runs = Mapping[int, Array]
"""a candidate's runs: seed to predictions, (items, classes) logits or (items,) answers"""

RESAMPLES = 1000
_CORRELATIONS = ("pearson", "spearman")
_UNSTEADY = 0.01  # the chance that a pool of equal variances wrongly loses its largest


class Comparison(NamedTuple):
    """The difference of two candidates' expected scores, with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float
    covers_seeds: bool
    """whether interval and p allow for other training seeds, or for other test items alone"""


def summarise(scores: Sequence[float] | Array) -> dict[str, float | int]:
    """Summarise one candidate's scores over its seeds.

    Args:
        scores: one a run, as fractions; NaN where the run diverged.

    Returns:
        ``median``, ``q1``, ``q3`` (linear between order statistics), ``mean`` and ``sd`` (divisor n - 1; NaN for one
        run) of the finished runs; ``n``, how many finished, and ``diverged``, how many did not. NaN where none did.

    >>> [round(value, 3) for value in summarise([0.90, 0.92, float("nan"), 0.97]).values()]
    [0.92, 0.91, 0.945, 0.93, 0.036, 3, 1]
    """
    values = np.asarray(scores, dtype=np.float64)
    done = values[np.isfinite(values)]
    q1, median, q3 = np.quantile(done, [0.25, 0.5, 0.75]) if len(done) else (math.nan,) * 3
    return {
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "mean": float(done.mean()) if len(done) else math.nan,
        "sd": float(done.std(ddof=1)) if len(done) > 1 else math.nan,
        "n": len(done),
        "diverged": len(values) - len(done),
    }


def holm(p_values: Sequence[float] | Array) -> Array:
    """Adjust p-values for how many they are: the chance that any equal pair falls below 5 % stays at most 5 %.

    Of m values in rising order the k-th becomes max over j ≤ k of min(1, (m - j + 1)·p_j).

    Args:
        p_values: (m,) from 0 to 1; NaN where there was nothing to compare stays NaN and is not counted.

    Returns:
        (m,) adjusted values, in the order given.

    Raises:
        VxlabError: a value outside 0 to 1.

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise VxlabError(f"p_values={p[(p < 0) | (p > 1)].tolist()}: a p-value lies between 0 and 1")
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN sorts last
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order]))
    return adjusted


def compare(a: Runs, b: Runs, labels: Array, metric: str = "accuracy") -> Comparison:
    """Compare two candidates alone; :func:`compare_all` learns from more of them how much seeds matter.

    >>> labels = np.arange(400) % 2
    >>> good, poor = (np.where(np.arange(400) % 20 < wrong, 1 - labels, labels) for wrong in (1, 5))
    >>> compare({0: good, 1: good}, {2: poor, 3: poor}, labels).difference.__round__(3)
    0.2
    """
    return compare_all({"a": a, "b": b}, labels, metric)["a", "b"]


def compare_all(
    predictions: Mapping[str, Runs], labels: Array, metric: str = "accuracy"
) -> dict[tuple[str, str], Comparison]:
    """Compare every two candidates of one task: expected score of the first less that of the second.

    The expectation is over test items of the task's population and over training seeds, at the candidates' chosen
    settings. With n_a and n_b runs the variance of a difference is put together from

    - items: the variance over other test items, paired across all runs: the jackknife's, or for correlations that of
      1,000 bootstrap resamples; and as if two items more had been answered differently, one each way, so that no
      small test set looks free of noise;
    - seeds: s²_a / n_a + s²_b / n_b. Few seeds tell little of their own variance, so s² is pooled over all
      candidates, less any whose variance stands out (Cochran's test), which keeps its own; and where the two's own
      estimates give more than the pool, they count;
    - less what both hold: an item that some seeds of a candidate miss moves both terms.

    The interval is Student's. Its degrees of freedom are Satterthwaite's, with the seeds' term raised by 1 + 1/freedom
    and never fewer than that term's: unraised they let 8 % false positives pass at two seeds. Seeds are not paired: two
    methods share little at one seed, and pairing would halve the degrees of freedom. A percentile bootstrap of items
    and seeds is far too narrow with few seeds (``benchmarks/verdicts.py`` measures both). Where no candidate has two
    seeds, items alone count.

    Assumes that items are independent, that seeds' scores are roughly normal, and that seeds matter about alike to all
    candidates: where two of nine vary six times as much, 6 to 10 % of tables err. Tuning's choices are taken as given.

    Args:
        predictions: candidate to its runs on the same items; diverged runs (predictions with NaN, or absent) are left
            out. Seeds need not agree between candidates.
        labels: (items,) class ids or targets, 2 or more.
        metric: one of :func:`vxlab.experiments.metrics.compute`.

    Returns:
        For each pair, in the order given, its comparison; NaN where one of the two has no finished run.

    Raises:
        VxlabError: an unknown metric, predictions of another length, or fewer than two items.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 11. Satterthwaite, An approximate
        distribution of estimates of variance components, 1946. Cochran, The distribution of the largest of a set of
        estimated variances, 1941. Agresti and Min, Effects and non-effects of paired identical observations, 2004, for
        the two items. Bouthillier et al., Accounting for variance in machine learning benchmarks, 2021.
    """
    if len(labels) < 2:
        raise VxlabError(f"labels has {len(labels)} item(s); candidates are compared on 2 or more")
    measured = {name: _measured(name, runs, labels, metric) for name, runs in predictions.items()}
    luck = _seed_variances({name: each.scores for name, each in measured.items()})
    return {
        (a, b): _compared(measured[a], measured[b], luck.get(a), luck.get(b), len(labels))
        for a, b in combinations(measured, 2)
    }


class _Measured(NamedTuple):
    scores: Array
    wobble: Array
    """its variance is that of the mean score under other items"""
    repeats: float
    """the part of that variance that comes of items answered now so, now so by the seeds"""


class _Luck(NamedTuple):
    variance: float
    """of one run's score, over seeds"""
    freedom: int
    own: float
    """the same, of the candidate alone where it has two runs"""


def _measured(name: str, runs: Runs, labels: Array, metric: str) -> _Measured:
    rows = [_run(f"{name}, seed {seed}", predictions, labels, metric) for seed, predictions in runs.items()]
    done = [(score, wobble) for score, wobble in rows if math.isfinite(score)]
    if not done:
        return _Measured(np.array([]), np.array([]), 0.0)
    scores, wobbles = (np.array(each) for each in zip(*done, strict=True))
    mean, runs_done = wobbles.mean(axis=0), len(done)
    spread = float(np.var(wobbles - mean, axis=1, ddof=1).sum())
    return _Measured(scores, mean, spread / ((runs_done - 1) * runs_done) if runs_done > 1 else 0.0)


def _run(name: str, predictions: Array, labels: Array, metric: str) -> tuple[float, Array]:
    try:
        score = compute([metric], predictions, labels)[metric]
    except VxlabError as error:
        raise VxlabError(f"{name}: {error}") from error
    if not math.isfinite(score):
        return score, np.array([])
    if metric in _CORRELATIONS:  # there every item is of its own kind
        return score, resampled(metric, predictions, labels, RESAMPLES)
    return score, _pseudo_values(score, *_prepared(metric, predictions, labels), metric) / math.sqrt(len(labels))


def _pseudo_values(score: float, predicted: Array, true: Array, metric: str) -> Array:
    """Return n·score - (n - 1)·(score without the item) for each: of an accuracy, whether the item is right."""
    kinds = predicted * (true.max() + 1) + true  # items alike in class and answer count alike
    _, first, kind = np.unique(kinds, return_index=True, return_inverse=True)
    without = [compute([metric], np.delete(predicted, i), np.delete(true, i))[metric] for i in first]
    return np.asarray(len(true) * score - (len(true) - 1) * np.array(without)[kind])


def _seed_variances(scores: Mapping[str, Array]) -> dict[str, _Luck]:
    """Return the variance over seeds to use for each candidate; nothing where no candidate has two seeds."""
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


def _own(scores: Array) -> _Luck:
    variance = float(np.var(scores, ddof=1))
    return _Luck(variance, len(scores) - 1, variance)


def _unsteady(lucks: Mapping[str, _Luck]) -> str | None:
    """Return the candidate whose variance is too large to be one of these, as after a collapsed run."""
    from scipy.special import fdtri

    largest = max(lucks, key=lambda name: lucks[name].variance)
    rest = _pooled({name: luck for name, luck in lucks.items() if name != largest})
    limit = fdtri(lucks[largest].freedom, rest.freedom, 1 - _UNSTEADY / len(lucks))
    return largest if rest.variance > 0 and lucks[largest].variance > limit * rest.variance else None


def _pooled(lucks: Mapping[str, _Luck]) -> _Luck:
    freedom = sum(luck.freedom for luck in lucks.values())
    variance = sum(luck.variance * luck.freedom for luck in lucks.values()) / freedom
    return _Luck(variance, freedom, variance)


def _compared(a: _Measured, b: _Measured, luck_a: _Luck | None, luck_b: _Luck | None, items: int) -> Comparison:
    from scipy.special import stdtr, stdtrit

    if not (len(a.scores) and len(b.scores)):
        return Comparison(*(math.nan,) * 4, covers_seeds=False)
    difference = float(a.scores.mean() - b.scores.mean())
    by_items = float(np.var(a.wobble - b.wobble, ddof=1)) + 2 / items**2
    if luck_a is None or luck_b is None:
        variance, freedom = by_items, float(items - 1)
    else:
        by_seeds = max(
            luck_a.variance / len(a.scores) + luck_b.variance / len(b.scores),
            luck_a.own / len(a.scores) + luck_b.own / len(b.scores),
        )
        # Each term alone is a lower bound, whatever chance makes of the others.
        variance = max(by_items, by_seeds, by_items + by_seeds - a.repeats - b.repeats)
        few = min(luck_a.freedom, luck_b.freedom)
        # Else, where chance made the seeds' variance small, the degrees of freedom would be too many.
        freedom = max(few, variance**2 / ((by_seeds * (1 + 1 / few)) ** 2 / few + by_items**2 / (items - 1)))
    error = math.sqrt(variance)
    half = float(stdtrit(freedom, 0.975)) * error
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return Comparison(difference, difference - half, difference + half, p, luck_a is not None)
