"""What ratings say of candidates: means, the judge's own noise, and differences to the untuned base."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import Array, Difference, compare_all

_MEAN = "log_likelihood"
"""The metric of two columns, a sum and how many it is of, whose formula is the one by the other: a mean."""
CELL = ["question", "turn"]
"""What is rated of a run; its ratings are repeats of one another."""
_RUN = ["candidate", "seed"]


class Noise(NamedTuple):
    """How far a judge's ratings of one answer differ from each other."""

    deviation: float
    """standard deviation within answers, in points of the scale; NaN where no answer was rated twice"""
    answers: int
    """that were rated twice or more"""
    freedom: int
    """ratings beyond the first of each"""


def judge_noise(ratings: pd.DataFrame) -> Noise:
    """Return a judge's noise: √(Σ (rating - its answer's mean)² / Σ (ratings of the answer - 1)).

    Args:
        ratings: with ``answer``, which numbers the answers, and ``rating``, NaN where there was none.

    >>> judge_noise(pd.DataFrame({"answer": [0, 0, 1, 1], "rating": [5.0, 7.0, 8.0, 8.0]})).deviation
    1.0
    """
    groups = ratings.dropna(subset=["rating"]).groupby("answer")["rating"]
    sizes, squares = groups.size(), groups.var(ddof=0) * groups.size()
    freedom = int((sizes - 1).sum())
    deviation = math.sqrt(squares.sum() / freedom) if freedom else math.nan
    return Noise(deviation, int((sizes > 1).sum()), freedom)


def cell_means(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rating of each answer: a row for each ``question`` and ``turn``, a column for each run.

    Args:
        ratings: with ``candidate``, ``seed``, ``question``, ``turn`` and ``rating``, NaN where there was none.
    """
    means: pd.DataFrame = ratings.groupby([*CELL, *_RUN], sort=False)["rating"].mean().unstack(_RUN)
    return means


def rating_differences(means: pd.DataFrame, base: str) -> tuple[dict[tuple[str, str], Difference], int]:
    """Compare candidates by their ratings of the same answers' places; return also how many places that are.

    The unit is the question: its two turns are rated in one conversation, so they count together. A difference is the
    mean over what was rated in every run; its interval allows for other questions, for other ratings by the same judge,
    and where candidates have several seeds for other seeds (:func:`vxlab.experiments.scoring.compare_all`).

    The judge's noise is not added to that: it is in it. One rating, or the mean of k, scatters by the judge's noise
    σ/√k around what the answer deserves, independently from answer to answer, so the variance over questions, of
    which the interval is made, holds σ²/k beside how much questions differ. To add it again would count it twice;
    repeats make it smaller, and show how much of the interval it is.

    Args:
        means: from :func:`cell_means`.
        base: the candidate without luck of training.
    """
    whole = means.dropna(axis="columns", how="all").dropna(axis="index")
    names = list(dict.fromkeys(whole.columns.get_level_values("candidate")))
    questions = whole.index.get_level_values("question")
    if len(names) < 2 or questions.nunique() < 2:
        return {}, len(whole)
    runs = {name: {seed: _sums(whole[name][seed], questions) for seed in whole[name].columns} for name in names}
    labels = np.arange(questions.nunique())
    return compare_all(runs, labels, _MEAN, fixed=[base] if base in names else []), len(whole)


def _sums(ratings: "pd.Series[float]", questions: "pd.Index[int]") -> Array:
    """Return (questions, 2): the sum of a question's ratings, and how many they are."""
    grouped = ratings.groupby(questions, sort=False)
    return np.stack([grouped.sum().to_numpy(), grouped.size().to_numpy().astype(np.float64)], axis=1)


def noise_of_mean(noise: Noise, ratings: pd.DataFrame) -> float:
    """Return the part of the standard error of some ratings' mean that is the judge's alone.

    σ·√Σ w², w the share that each reply has in the mean: where several runs answered the same, it was rated once for
    all of them. Of n replies that count alike it is σ / √n.

    Args:
        noise: the judge's.
        ratings: with ``answer``, ``repeat`` and ``rating``, NaN where there was none.

    >>> twice = pd.DataFrame({"answer": [0, 1, 0, 1], "repeat": [0] * 4, "rating": [5.0, 7.0, 5.0, 7.0]})
    >>> round(noise_of_mean(Noise(2.0, 9, 9), twice), 6)  # 2 / √2
    1.414214
    """
    replies = ratings.dropna(subset=["rating"]).groupby(["answer", "repeat"]).size()
    return noise.deviation * math.sqrt(((replies / replies.sum()) ** 2).sum()) if len(replies) else math.nan


def mean_rating(means: pd.DataFrame, turn: int | None = None) -> float:
    """Return the mean over a candidate's runs of the mean over what was rated, of one turn or of both.

    Args:
        means: of that candidate, from :func:`cell_means`.
        turn: 1 or 2; None takes both.
    """
    own = means if turn is None else means[means.index.get_level_values("turn") == turn]
    return float(own.mean().mean())
