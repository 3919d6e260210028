"""What stays open: how many more tasks, or more seeds, would tell two candidates apart."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from vxlab.experiments.candidates import MARGIN
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.pooled import of_two

OPEN_COLUMNS = ["a", "b", "n", "seeds", "detectable", "tasks", "more_seeds"]
_POWER = 0.8
_MOST = 500
"""tasks or seeds, beyond which a number is no plan"""


def open_questions(across: AcrossTasks, pooled: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Return what it would take to see a difference of the margin in four of five repetitions, of each open pair.

    Of the variance V of a pair's difference on one task, T times that of its pooled difference, the part s / n is that
    of n seeds, and the rest of test items and of what varies from task to task. A difference d is seen (at 5 %, for one
    comparison) four times in five where d ≥ (t(97.5 %) + t(80 %))·√(V / T), t being Student's of T − 1 degrees of
    freedom. It is asked of d = margin, not of the difference that was found, which would flatter. V itself is
    hardly known of few tasks.

    Args:
        across: one model's tasks.
        pooled: of them, from :func:`pooled_differences`, not standardised; its pairs that are not seen count.
        margin: as a fraction, or in the unit of a metric without bounds.

    Returns:
        One row an open pair on two tasks or more: ``a``, ``b``, ``n`` tasks and ``seeds`` (the fewest) at present;
        ``detectable``, the smallest difference that would be seen so; ``tasks`` that would be enough at
        these seeds, and ``more_seeds`` that would be at these tasks: NaN where no number up to 500 is.
    """
    margin *= 100 if across.unit == "points" else 1
    asked = pooled[~pooled["seen"].astype(bool) & (pooled["n"] > 1)]
    rows = [_asked(across, row, margin) for row in asked.to_dict("records")]
    return pd.DataFrame(rows, columns=OPEN_COLUMNS)


def _asked(across: AcrossTasks, row: Mapping[Any, Any], margin: float) -> list[object]:
    n = int(row["n"])
    one_seed, luck, seeds = _luck(across, of_two(across, row["a"], row["b"]))
    variance = n * float(row["error"]) ** 2
    others = max(0.0, variance - luck)
    tasks = _first(lambda tasks: _detectable(variance, tasks) <= margin, 2)
    more = _first(lambda seeds: _detectable(others + one_seed / seeds, n) <= margin, 1)
    return [row["a"], row["b"], n, seeds, _detectable(variance, n), tasks, more]


def _luck(across: AcrossTasks, own: pd.DataFrame) -> tuple[float, float, int]:
    """Return the variance that one seed of each of a pair makes, that their seeds make, and the fewest seeds."""
    scores = across.scores[across.scores["task"].isin(own["task"])]
    both = scores[scores["candidate"].isin([*own["a"], *own["b"]])]
    known = both[both["variance"] > 0]
    one, several = known["variance"].sum(), (known["variance"] / known["n"]).sum()
    fewest = both.loc[~both["fixed"].astype(bool), "n"].min()
    return float(one) / len(own), float(several) / len(own), 1 if pd.isna(fewest) else int(fewest)


def _detectable(variance: float, tasks: int) -> float:
    """Return the difference that is seen four times in five.

    Args:
        variance: of a difference on one task.
        tasks: how many.
    """
    f = tasks - 1
    return float(stdtrit(f, 0.975) + stdtrit(f, _POWER)) * math.sqrt(variance / tasks)


def _first(enough: Callable[[int], bool], start: int) -> float:
    """Return the first number that is enough."""
    return next((float(number) for number in range(start, _MOST + 1) if enough(number)), math.nan)
