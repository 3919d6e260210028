"""Summarise scores over seeds, and say which candidates can be told apart."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.draw_luck import draw_luck, paired_luck, widening
from vxlab.experiments.scoring.evidence import Evidence, from_error
from vxlab.experiments.scoring.formulas import OF_VALUES, Array, score_metric
from vxlab.experiments.scoring.jackknife import wobbles
from vxlab.experiments.scoring.metrics import RESAMPLES, prepare, resample
from vxlab.experiments.scoring.seed_luck import Luck, seed_luck
from vxlab.experiments.scoring.text_formulas import OF_SUMS, SHARES, UNBOUNDED
from vxlab.experiments.scoring.unit_statistics import Units, units_of

Runs = Mapping[Any, Array]  # a mapping is of the very type of its keys: int or tuple[int, int]
"""a candidate's runs: seed to predictions, (items, classes) logits, (items,) answers or (items, columns) statistics; or
(draw, seed) to them, where runs learned from different draws of few-shot rows"""

LEVEL = 0.05
"""at which a test counts as showing something, after Holm's correction"""


_STILL = "a score that never moves\0"  # no candidate's name

NO_DRAWS: Mapping[str, float] = MappingProxyType({})
"""shares of rows that draws take, where there are none"""


class Difference(NamedTuple):
    """The difference of two candidates' expected scores, with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float
    covers_seeds: bool
    """whether interval and p allow for other training seeds (and draws), or for other test items alone"""
    error: float = math.nan
    """standard error of the difference"""
    freedom: float = math.nan
    """Student's degrees of freedom for it"""

    @property
    def seen(self) -> bool:
        """Whether it is told from 0, uncorrected for any others."""
        return self.p <= LEVEL

    def turned(self) -> "Difference":
        """Return the difference of the second less the first."""
        return self._replace(difference=-self.difference, low=-self.high, high=-self.low)

    def evidence(self) -> Evidence:
        """Return the tests of it against any bound."""
        return from_error(self.difference, self.error, self.freedom)


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


def compare_two(a: Runs, b: Runs, labels: Array, metric: str = "accuracy", units: Array | None = None) -> Difference:
    """Compare two candidates alone; :func:`compare_all` learns from more of them how much seeds matter.

    >>> labels = np.arange(400) % 2
    >>> good, poor = (np.where(np.arange(400) % 20 < wrong, 1 - labels, labels) for wrong in (1, 5))
    >>> compare_two({0: good, 1: good}, {2: poor, 3: poor}, labels).difference.__round__(3)
    0.2
    """
    return compare_all({"a": a, "b": b}, labels, metric, units=units)["a", "b"]


def compare_all(
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str = "accuracy",
    *,
    units: Array | None = None,
    fixed: Collection[str] = (),
    drawn: Mapping[str, float] = NO_DRAWS,
) -> dict[tuple[str, str], Difference]:
    """Compare every two candidates of one task: expected score of the first less that of the second.

    The expectation is over test items of the task's population (over its units, such as films, where items come in
    units) and over training seeds, at the candidates' chosen settings. With n_a and n_b runs the variance of a
    difference is put together from

    - items: the variance over other test units, paired across all runs: the jackknife's, which leaves out whole units,
      or for correlations that of 1,000 bootstrap resamples of whole units; never less than if items were independent;
      and as if two items more had been answered differently, one each way, each for as many items as the design
      effect says go together, so that no small test set looks free of noise (of texts' metrics, which have other scales
      than right and wrong, by as much as items differ there);
    - seeds: s²_a / n_a + s²_b / n_b. Few seeds tell little of their own variance, so s² is pooled over all
      candidates, less any whose variance stands out (Cochran's test), which keeps its own; and where the two's own
      estimates give more than the pool, they count;
    - less what both hold: an item that some seeds of a candidate miss moves both terms.

    The interval is Student's. Its degrees of freedom are Satterthwaite's, with the seeds' term raised by 1 + 1/freedom
    and never fewer than that term's: unraised they let 8 % false positives pass at two seeds. Those of the items' term
    are :meth:`vxlab.experiments.scoring.Units.freedom`. Seeds are not paired: two methods share little at one
    seed, and pairing would halve the degrees of freedom. A percentile bootstrap of items and seeds is far too narrow
    with few seeds (``benchmarks/verdicts.py`` measures both). Where no candidate has two seeds, items alone count.

    Runs that learned from different draws of few-shot rows, each with its own seed, count by draw: the runs of one draw
    are one, their mean. All candidates share the draws, and what a good draw gives to all alike is no difference:
    candidates on the same draws are paired by draw (:func:`paired_luck`), others are compared as seeds are, on the
    freedom of the draws alone. Where draws take a large part of the rows that they are from, they share rows, and the
    draws' variance is widened for what other rows would change (:func:`widening`).

    Assumes that units are independent (without ``units``: items), that seeds' scores are roughly normal, and that seeds
    matter about alike to all candidates: where two of nine vary six times as much, 6 to 10 % of tables err. Tuning's
    choices are taken as given.

    Args:
        predictions: candidate to its runs on the same items; diverged runs (predictions with NaN, or absent) are left
            out. Seeds need not agree between candidates.
        labels: (items,) class ids or targets, 2 or more.
        metric: one of :func:`vxlab.experiments.scoring.metrics.compute`.
        units: (items,) the independent unit of each item, such as its film; None where items are independent.
        fixed: candidates without luck of training, such as a trivial answer: their runs, where all answer alike, count
            once, and no variance over seeds is added for them.
        drawn: by candidate, the share of its class's rows that a draw takes, 0 to below 1; of those that are not named
            0, as of draws from far more rows.

    Returns:
        For each pair, in the order given, its comparison; NaN where one of the two has no finished run.

    Raises:
        VxlabError: an unknown metric, predictions or units of another length, fewer than two items or units, a name
            in ``fixed`` that is no candidate's, or draws of a candidate that take all there is.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 11. Satterthwaite, An approximate
        distribution of estimates of variance components, 1946. Cochran, The distribution of the largest of a set of
        estimated variances, 1941. Agresti and Min, Effects and non-effects of paired identical observations, 2004, for
        the two items. MacKinnon, Nielsen and Webb, Cluster-robust inference: a guide to empirical practice, 2023.
        Bouthillier et al., Accounting for variance in machine learning benchmarks, 2021.
    """
    held, measured = _measure_all(predictions, labels, metric, units, fixed, drawn)
    luck = _luck_alone(measured)
    paired = _luck_paired(measured)
    return {
        (a, b): _compared(measured[a], measured[b], _lucks_of(a, b, measured, luck, paired, drawn), held)
        for a, b in combinations(measured, 2)
    }


def score_intervals(
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str = "accuracy",
    *,
    units: Array | None = None,
    drawn: Mapping[str, float] = NO_DRAWS,
) -> dict[str, tuple[float, float]]:
    """Give each candidate's expected score its 95 % interval over test items and training seeds.

    Its variance is put together as :func:`compare_all` does that of a difference, here from a score that never moves.
    Its ends lie within the metric's range.

    Args:
        predictions: as :func:`compare_all`.
        labels: as :func:`compare_all`.
        metric: as :func:`compare_all`.
        units: as :func:`compare_all`.
        drawn: as :func:`compare_all`.

    Returns:
        (low, high) by candidate: over items alone where no candidate has two seeds; NaN without a finished run.

    Raises:
        VxlabError: as :func:`compare_all`.

    >>> labels = np.arange(400) % 2
    >>> good = {seed: np.where(np.arange(400) % 20 == seed, 1 - labels, labels) for seed in range(3)}
    >>> low, high = score_intervals({"good": good}, labels)["good"]
    >>> round(low, 3), round(high, 3)
    (0.936, 0.964)
    """
    held, measured = _measure_all(predictions, labels, metric, units, (), drawn)
    luck, (least, most) = _luck_alone(measured), _range(metric)
    found = {}
    for name, own in measured.items():
        still = _still(own)
        lucks = _lucks_of(name, _STILL, {name: own, _STILL: still}, luck, {}, drawn)
        score = _compared(own, still, lucks, held)
        found[name] = float(np.clip(score.low, least, most)), float(np.clip(score.high, least, most))
    return found


def _range(metric: str) -> tuple[float, float]:
    if metric in UNBOUNDED:
        return -math.inf, math.inf
    return (-1.0 if metric in OF_VALUES or metric == "matthews" else 0.0), 1.0


class _Lucks(NamedTuple):
    """The luck that is in a difference."""

    parts: tuple[tuple[Luck, int], ...] = ()
    """each with the number of seeds or draws that its candidate's mean, or the mean difference, is of"""
    widened: float = 1.0
    paired: bool = False
    """whether the two are on the same draws"""
    known: bool = True


class _Level(NamedTuple):
    """How far a candidate's mean score moves with what is drawn: with units, or with items as if independent."""

    wobble: Array
    """its variance is that of the mean score"""
    repeats: float
    """the part of that variance that comes of items answered now so, now so by the seeds"""
    runs: Array
    """the same wobble for each seed or draw, (runs, units)"""


class _Measured(NamedTuple):
    scores: Array
    """by seed, or by draw"""
    draws: tuple[int, ...]
    """whose scores these are, in rising order; () where they are of seeds"""
    levels: tuple[_Level, ...]
    """over units and, where these hold several items, over items"""
    fixed: bool
    spread: float
    """the variance of what one item more would say of the score"""


def _measure_all(
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str,
    units: Array | None,
    fixed: Collection[str],
    drawn: Mapping[str, float],
) -> "tuple[Units, dict[str, _Measured]]":
    if len(labels) < 2:
        raise VxlabError(f"labels has {len(labels)} item(s); candidates are compared on 2 or more")
    if strange := set(fixed) - set(predictions):
        raise VxlabError(f"fixed={sorted(strange)}: no such candidates; give some of {', '.join(predictions)}")
    if whole := [name for name, share in drawn.items() if not 0 <= share < 1]:
        raise VxlabError(
            f"drawn={drawn[whole[0]]!r} of {whole[0]}: give the share of the rows that a draw takes, 0 to below 1; "
            "draws of all rows are the same, and their runs differ by their seeds alone"
        )
    held = units_of(units, len(labels))
    return held, {
        name: _measured(name, runs, labels, metric, held, name in fixed) for name, runs in predictions.items()
    }


def _still(like: "_Measured") -> "_Measured":
    """Return what scores 0 whatever is drawn."""
    levels = tuple(_Level(np.zeros_like(each.wobble), 0.0, np.zeros_like(each.runs[:1])) for each in like.levels)
    return _Measured(np.zeros(1), (), levels, True, like.spread)


def _measured(name: str, runs: Runs, labels: Array, metric: str, units: Units, fixed: bool) -> _Measured:
    rows = {key: _reduced(f"{name}, {_run_in_words(key)}", run, labels, metric) for key, run in runs.items()}
    done = {key: row for key, row in rows.items() if not np.isnan(row).any()}
    several = list(done.values())
    fixed = fixed and all(np.array_equal(row, several[0]) for row in several)
    draws, alike = ((), [several[:1]] if several else []) if fixed else _by_draw(done)
    kinds = [units] if units.single else [units, units_of(None, len(labels))]
    levels = tuple(_level(alike, labels, metric, each) for each in kinds) if done else ()
    true = np.asarray(labels, dtype=np.float64)
    scores = np.array([np.mean([score_metric(metric, row, true) for row in same]) for same in alike])
    return _Measured(scores, draws, levels, fixed, _spread(levels, metric, len(labels)))


def _by_draw(rows: Runs) -> tuple[tuple[int, ...], list[list[Array]]]:
    """Return the draws in rising order, and the rows of each; without draws every run stands alone."""
    drawn = sorted((key[0], key[1]) for key in rows if isinstance(key, tuple))
    if not drawn:
        return (), [[row] for row in rows.values()]
    alike = {draw: [rows[key] for key in keys] for draw, keys in groupby(drawn, key=lambda key: key[0])}
    return tuple(alike), list(alike.values())


def _run_in_words(key: int | tuple[int, int]) -> str:
    return f"draw {key[0]}, seed {key[1]}" if isinstance(key, tuple) else f"seed {key}"


def _luck_alone(measured: Mapping[str, _Measured]) -> dict[str, Luck]:
    """Return the luck of each candidate by itself: over seeds, pooled with those of seeds, or over draws."""
    by_seed = {name: each.scores for name, each in measured.items() if not each.fixed and not each.draws}
    by_draw = {name: each.scores for name, each in measured.items() if not each.fixed and each.draws}
    return seed_luck(by_seed) | draw_luck(by_draw)


def _luck_paired(measured: Mapping[str, _Measured]) -> dict[tuple[str, str], Luck]:
    """Return the luck of the difference of every two that are on the same draws, two or more."""
    found: dict[tuple[str, str], Luck] = {}
    for draws in dict.fromkeys(each.draws for each in measured.values() if len(each.draws) > 1):
        found |= paired_luck({name: each.scores for name, each in measured.items() if each.draws == draws})
    return found


def _lucks_of(
    a: str,
    b: str,
    measured: Mapping[str, _Measured],
    alone: Mapping[str, Luck],
    paired: Mapping[tuple[str, str], Luck],
    drawn: Mapping[str, float],
) -> _Lucks:
    of_draws = [name for name in (a, b) if measured[name].draws]
    share = max((drawn.get(name, 0.0) for name in of_draws), default=0.0)
    widened = widening(max((len(measured[name].draws) for name in of_draws), default=0), share)
    if (a, b) in paired:
        return _Lucks(((paired[a, b], len(measured[a].draws)),), widened, paired=True)
    if any(name not in alone and not measured[name].fixed for name in (a, b)):
        return _Lucks(known=False)
    return _Lucks(tuple((alone[name], len(measured[name].scores)) for name in (a, b) if name in alone), widened)


def _reduced(name: str, predictions: Array, labels: Array, metric: str) -> Array:
    try:
        return prepare(metric, predictions, labels)[0]
    except VxlabError as error:
        raise VxlabError(f"{name}: {error}") from error


def _level(several: Sequence[Sequence[Array]], labels: Array, metric: str, units: Units) -> _Level:
    each = np.array([np.mean([_wobbles(metric, row, labels, units) for row in alike], axis=0) for alike in several])
    return _Level(each.mean(axis=0), _repeats(each), each)


def _repeats(each: Array) -> float:
    """Return the part of the variance over units that comes of what differs from run to run, (runs, units)."""
    runs = len(each)
    return float(np.var(each - each.mean(axis=0), axis=1, ddof=1).sum()) / ((runs - 1) * runs) if runs > 1 else 0.0


def _spread(levels: Sequence[_Level], metric: str, items: int) -> float:
    """Return 1 of answers that are right or wrong; of texts, whose scores have many scales, what these items show."""
    if not levels or metric not in OF_SUMS or metric in SHARES:
        return 1.0
    return items * float(np.var(levels[-1].wobble, ddof=1)) or 1.0  # where no item differs, as of right and wrong


def _wobbles(metric: str, predicted: Array, labels: Array, units: Units) -> Array:
    if metric in OF_VALUES:  # there every item is of its own kind
        return resample(metric, predicted, labels, RESAMPLES, None if units.single else units.of)
    return wobbles(metric, predicted, np.asarray(labels), units)


def _compared(a: _Measured, b: _Measured, lucks: _Lucks, units: Units) -> Difference:
    if not (len(a.scores) and len(b.scores)):
        return Difference(*(math.nan,) * 4, covers_seeds=False)
    difference = float(a.scores.mean() - b.scores.mean())
    variance, freedom = _variance(a, b, lucks, units)
    error = math.sqrt(variance)
    found = from_error(difference, error, freedom)
    return Difference(*found[:3], 2 * min(found.tails(0)), lucks.known, error, freedom)


def _variance(a: _Measured, b: _Measured, lucks: _Lucks, units: Units) -> tuple[float, float]:
    """Return the variance of a difference, and its degrees of freedom."""
    pairs = list(zip(a.levels, b.levels, strict=True))
    moved = [float(np.var(one.wobble - other.wobble, ddof=1)) for one, other in pairs]
    together = 1.0 if units.single else units.design_effect(*moved)
    more = 2 * (together / len(units.of)) ** 2 * (a.spread + b.spread) / 2
    by_items, units_freedom = max(moved) + more, units.freedom(together)
    if not lucks.parts:
        return by_items, units_freedom
    by_seeds = lucks.widened * max(
        sum(luck.variance / runs for luck, runs in lucks.parts), sum(luck.own / runs for luck, runs in lucks.parts)
    )
    # Of one draw both may miss the same items: what repeats is then of their difference.
    twice = [_repeats(one.runs - other.runs) if lucks.paired else one.repeats + other.repeats for one, other in pairs]
    # Each term alone is a lower bound, whatever chance makes of the others.
    both = [moved_so + more + by_seeds - repeats for moved_so, repeats in zip(moved, twice, strict=True)]
    variance = max(by_items, by_seeds, *both)
    few = min(luck.freedom for luck, _ in lucks.parts)
    raised = (1 + 1 / few) ** (2 if lucks.paired and few < 2 else 1)  # else 7 % err on two draws
    seeds_part, items_part = (by_seeds * raised) ** 2 / few, by_items**2 / units_freedom
    # Else, where chance made the seeds' variance small, the degrees of freedom would be too many.
    return variance, max(min(few, units_freedom), variance**2 / (seeds_part + items_part))
