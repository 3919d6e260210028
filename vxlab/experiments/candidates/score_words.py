"""A candidate's score in words: its mean, and few seeds or draws one by one, or more by their standard deviation."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vxlab.experiments.candidates.pairs import IN_PERCENT, write_score
from vxlab.experiments.scoring import in_words
from vxlab.words import number_of, write_number

ENOUGH = 5
"""seeds or draws, from which a spread says more than the scores themselves"""


def score_in_words(value: float, metric: str) -> str:
    """Write a score in its usual unit, with a true minus sign.

    >>> score_in_words(0.9063, "accuracy"), score_in_words(-0.031, "matthews")
    ('90.6 %', '−0.031')
    >>> score_in_words(0.6046, "bleu"), score_in_words(8.8988, "nist"), score_in_words(0.068, "exact_match")
    ('60.5', '8.899', '6.8 %')
    """
    return write_score(value, metric) + (" %" if metric in IN_PERCENT else "")


def mean_in_words(row: Mapping[str, Any], metric: str) -> str:
    """Write a candidate's mean with what it is of.

    Args:
        row: of the summary: ``mean``, ``scores``, and perhaps ``draws`` and ``fixed``.
        metric: whose scores they are.

    >>> mean_in_words({"mean": 0.74, "scores": (0.719, 0.74, 0.761)}, "accuracy")
    'mean accuracy 74.0 % (3 seeds: 71.9, 74.0, 76.1)'
    >>> mean_in_words({"mean": 0.74, "scores": (0.74, 0.74), "fixed": True}, "accuracy")
    'accuracy 74.0 %'
    """
    score = f"{in_words(metric)} {score_in_words(row['mean'], metric)}"
    if row.get("fixed", False) or len(row["scores"]) < 2:
        return score
    of = seeds_in_words(row["scores"], lambda value: write_score(value, metric), draws=row.get("draws", 0))
    return f"mean {score} ({of})"


def seeds_in_words(
    scores: Sequence[float],
    form: Callable[[float], str] = lambda score: write_number(score, ".3f"),
    draws: int = 0,
) -> str:
    """Return what a mean is of: few scores themselves, or the standard deviation of many.

    Args:
        scores: of the runs that finished, in the order of their seeds or of their draws.
        form: writes a score, or a difference of scores.
        draws: on how many draws of shots they are; with several the scores are those of the draws.

    >>> seeds_in_words([0.719, 0.74, 0.761]), seeds_in_words([0.719])
    ('3 seeds: 0.719, 0.740, 0.761', '1 seed')
    >>> seeds_in_words([0.71, 0.72, 0.73, 0.74, 0.75])
    'sd 0.016 over 5 seeds'
    >>> seeds_in_words([0.719, 0.74, 0.761], draws=3)
    '3 draws: 0.719, 0.740, 0.761'
    """
    noun = "draw" if draws > 1 else "seed"
    if len(scores) < 2:
        return number_of(len(scores), noun)
    if len(scores) < ENOUGH:
        return f"{len(scores)} {noun}s: {', '.join(map(form, scores))}"
    return f"sd {form(deviation(scores))} over {len(scores)} {noun}s"


def p_in_words(p: float) -> str:
    """Write a p-value with three digits, and none as 0.

    >>> p_in_words(0.0421), p_in_words(2e-7)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def deviation(scores: Sequence[float]) -> float:
    """Return the standard deviation over seeds or draws, with divisor n - 1; NaN where they are too few to tell it."""
    if len(scores) < ENOUGH:
        return math.nan
    mean = sum(scores) / len(scores)
    return math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
