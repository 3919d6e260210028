"""Every two candidates of a sweep, compared: one row and one sentence a pair."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.candidates.pareto import matched_pairs
from vxlab.experiments.scoring import LEVEL, NO_DRAWS, SHARES, Array, Difference, Runs, compare_all, holm, in_words
from vxlab.words import nearest, write_number

_OF_PAIR = ("difference", "low", "high", "p", "seen", "error", "freedom")
IN_PERCENT = ("accuracy", "f1", "f1_macro", *SHARES)
"""metrics that are told in percent"""
IN_POINTS = (*IN_PERCENT, "bleu", "meteor", "rouge_l")
"""metrics that are told of a hundred, and their differences in points; those of texts go without the sign"""
_UNITS = {"log_likelihood": "nats"}
"""of metrics that have one"""


class Pair(NamedTuple):
    """One row of the pairs table."""

    a: str
    b: str
    difference: float
    """expected score of a less that of b, as a fraction"""
    low: float
    high: float
    """of its 95 % interval, each pair for itself"""
    p: float
    p_holm: float
    """adjusted for all pairs of the table"""
    seen: bool
    """``p_holm`` is at most 0.05"""
    kind: str
    """``equal rank``, ``matched parameters`` or ``other``"""
    parameter_ratio: float
    """trained backbone parameters of a / b; NaN where one of them trains none"""
    sentence: str
    error: float = math.nan
    """standard error of the difference"""
    freedom: float = math.nan
    """its degrees of freedom"""
    covers_seeds: bool = True
    """whether all this allows for other training seeds, and draws where runs are on several"""


def pairs_table(
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str,
    summary: pd.DataFrame,
    *,
    units: Array | None = None,
    drawn: Mapping[str, float] = NO_DRAWS,
) -> pd.DataFrame:
    """Compare every two candidates of a sweep.

    Args:
        predictions: candidate to seed, or (draw, seed), to its predictions of the same test items; diverged runs absent
            or with NaN.
        labels: (items,) class ids or targets.
        metric: one of :func:`vxlab.experiments.scoring.metrics.compute`.
        summary: a row a candidate, with ``candidate``, ``method``, ``rank`` and ``backbone``; and with ``fixed``, True
            of what holds no luck of training.
        units: (items,) numbers of the independent unit of each item; None where each item is one.
        drawn: as :func:`vxlab.experiments.scoring.significance.compare_all` takes it.

    Returns:
        One row a pair, in the summary's order, with the columns of :class:`Pair`. A pair of one rank and two methods
        is of kind ``equal rank``; one of :func:`matched_pairs`, of ``matched parameters``.

    Raises:
        VxlabError: a candidate occurs twice in the summary, or not at all, or as in
            :func:`vxlab.experiments.scoring.significance.compare_all`.
    """
    rows = by_candidate(summary)
    for name in predictions:
        if name not in rows:
            raise VxlabError(f"predictions of {name!r}, which the summary does not hold{nearest(name, rows, 'it has')}")
    runs: dict[str, Runs] = {name: predictions.get(name, {}) for name in rows}
    fixed = fixed_candidates(rows)
    compared = compare_all(runs, labels, metric, units=units, fixed=fixed, drawn=drawn)
    adjusted = holm([each.p for each in compared.values()])
    matched = {(a, b) for a, b, _ in matched_pairs(summary)}
    count = sum(math.isfinite(p) for p in adjusted)
    pairs = [
        Pair(
            *(a, b, *each[:4], float(p)),
            seen=bool(p <= LEVEL),
            kind=_kind(rows[a], rows[b], (a, b) in matched),
            parameter_ratio=_ratio(rows[a]["backbone"], rows[b]["backbone"]),
            sentence=pair_sentence(a, b, each, float(p), count, metric),
            error=each.error,
            freedom=each.freedom,
            covers_seeds=each.covers_seeds,
        )
        for ((a, b), each), p in zip(compared.items(), adjusted, strict=True)
    ]
    return pd.DataFrame(pairs, columns=list(Pair._fields))


def pair_sentence(a: str, b: str, compared: Difference, p_holm: float, comparisons: int, metric: str) -> str:
    """Say what one comparison showed; never that two candidates are equal, which no finite sweep can show.

    Args:
        a: label of the first candidate.
        b: label of the second.
        compared: first less second.
        p_holm: its p-value after Holm's correction.
        comparisons: how many pairs were corrected for.
        metric: its name.

    >>> compared = Difference(-0.004, -0.015, 0.008, p=0.4, covers_seeds=True)
    >>> print(pair_sentence("LoRA r=8", "VeRA r=256", compared, p_holm=1.0, comparisons=36, metric="accuracy"))
    LoRA r=8 and VeRA r=256 cannot be told apart on this test set: −0.4 points, 95 % −1.5 to 0.8.
    """
    if math.isnan(compared.difference):
        return f"{a} and {b} cannot be compared: a finished run of each is needed."
    after = f" after Holm over {comparisons} comparisons" if comparisons > 1 else ""
    if p_holm <= LEVEL:
        if compared.difference < 0:
            (a, b), compared = (b, a), compared.turned()
        told = (
            f"{a} is better than {b} by {difference_in_words(compared.difference, metric)} "
            f"({interval_in_words(compared.low, compared.high, metric)}; {_p(p_holm)}{after})."
        )
    else:
        told = (
            f"{a} and {b} cannot be told apart on this test set: {difference_in_words(compared.difference, metric)}, "
            f"{interval_in_words(compared.low, compared.high, metric)}."
        )
        if compared.seen:
            told = f"{told[:-1]}; {_p(compared.p)} alone, {_p(p_holm)}{after}."
    return told if compared.covers_seeds else f"{told} One seed each: the luck of training is not in this interval."


def difference_in_words(value: float, metric: str) -> str:
    """Write a difference of scores in its usual unit, with a true minus sign.

    >>> difference_in_words(-0.0041, "accuracy"), difference_in_words(0.031, "matthews")
    ('−0.4 points', '0.031 in Matthews correlation')
    >>> difference_in_words(0.0123, "bleu"), difference_in_words(0.031, "log_likelihood")
    ('1.2 points of BLEU', '0.031 nats of log-likelihood per token')
    """
    unit = unit_of_difference(metric)
    of = "" if metric == "accuracy" else f" of {in_words(metric)}"
    return write_score(value, metric) + (f" {unit}{of}" if unit else f" in {in_words(metric)}")


def unit_of_difference(metric: str) -> str:
    """Return in what a difference of scores is told, "" where it has no unit.

    >>> unit_of_difference("bleu"), unit_of_difference("log_likelihood"), unit_of_difference("matthews")
    ('points', 'nats', '')
    """
    return "points" if metric in IN_POINTS else _UNITS.get(metric, "")


def interval_in_words(low: float, high: float, metric: str) -> str:
    """Write the 95 % interval of a difference, in the unit of :func:`difference_in_words`.

    >>> interval_in_words(-0.0153, 0.0002, "accuracy")
    '95 % −1.5 to 0.0'
    """
    return f"95 % {write_score(low, metric)} to {write_score(high, metric)}"


def write_score(value: float, metric: str, sign: str = "") -> str:
    """Write the number of a score or of a difference of scores: of a hundred, or with three digits.

    Args:
        value: as a fraction.
        metric: whose.
        sign: ``+`` for one before every number.

    >>> write_score(0.9063, "accuracy"), write_score(0.031, "matthews", "+")
    ('90.6', '+0.031')
    """
    return write_number(100 * value, f"{sign}.1f") if metric in IN_POINTS else write_number(value, f"{sign}.3f")


def by_candidate(summary: pd.DataFrame) -> dict[str, Any]:
    """Return a summary's rows under their candidates' labels; a label that occurs twice raises VxlabError."""
    names = summary["candidate"]
    if names.duplicated().any():
        raise VxlabError(
            f"the summary holds {names[names.duplicated()].iloc[0]!r} twice; give each candidate one label"
        )
    return {row["candidate"]: row for row in summary.to_dict("records")}


def fixed_candidates(rows: Mapping[str, Any]) -> list[str]:
    """Return which of a summary's rows, by candidate, are marked as without luck of training, such as a probe."""
    return [name for name, row in rows.items() if row.get("fixed", False)]


def _kind(a: Mapping[str, Any], b: Mapping[str, Any], matched: bool) -> str:
    if a["method"] != b["method"] and pd.notna(a["rank"]) and pd.notna(b["rank"]) and a["rank"] == b["rank"]:
        return "equal rank"
    return "matched parameters" if matched else "other"


def _ratio(a: Any, b: Any) -> float:
    return float(a / b) if pd.notna(a) and pd.notna(b) and a > 0 and b > 0 else math.nan


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def of_pair(pairs: pd.DataFrame, name: str, other: str) -> dict[str, Any]:
    """Return ``difference`` (score of the first named less that of the other) and the columns that say how sure it is.

    These are ``low``, ``high``, ``p``, ``seen``, ``error`` and ``freedom``; NaN, and None for ``seen``, where the two
    were not compared.

    Args:
        pairs: from :func:`pairs_table`.
        name: a candidate.
        other: another.
    """
    firsts, seconds = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    for a, b, sign in ((name, other, 1), (other, name, -1)):
        found = ((firsts == a) & (seconds == b)).nonzero()[0]
        if len(found):
            row = {column: pairs[column].iloc[found[0]] for column in _OF_PAIR}
            low, high = sorted((sign * row["low"], sign * row["high"]))
            turned = {"difference": sign * row["difference"], "low": low, "high": high, "seen": bool(row["seen"])}
            return row | turned
    return {**dict.fromkeys(_OF_PAIR, math.nan), "seen": None}
