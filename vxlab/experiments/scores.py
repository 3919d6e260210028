"""Scores with their uncertainty, and the difference of two runs on the same test items."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.metrics import compute, interval
from vxlab.experiments.record import RunRecord

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 2000


class Difference(NamedTuple):
    """A difference of two scores on the same items, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def seen(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def score_table(records: Mapping[str, RunRecord], metric: str | None = None, split: str = "test") -> "pd.DataFrame":
    """Return one row for the trivial answer and one for each run: ``answer``, ``score``, ``low``, ``high``.

    The trivial answer is the training split's most frequent class (for a regression, its mean). Intervals are at
    95 %: Wilson's for an accuracy, else a bootstrap over test items; they say nothing about other training seeds.

    Args:
        records: runs on one task, by the name to show; a diverged one has NaN.
        metric: one of the task's; None takes its first.
        split: ``test``, or another that the runs predicted.
    """
    import pandas as pd

    task = next(iter(records.values())).task
    metric = metric or task["metrics"][0]
    trivial = "training mean" if task["num_labels"] == 1 else "majority class"
    rows: list[tuple[str, float, float, float]] = [
        (trivial, task["majority"][split][metric], float("nan"), float("nan"))
    ]
    for name, record in records.items():
        if record.status != "finished":
            rows.append((f"{name} (diverged)", *(float("nan"),) * 3))
            continue
        logits, labels = (tensor.numpy() for tensor in record.predictions(split))
        rows.append((name, compute([metric], logits, labels)[metric], *interval(metric, logits, labels)))
    return pd.DataFrame(rows, columns=["answer", "score", "low", "high"])


def paired_difference(
    first: RunRecord, second: RunRecord, metric: str | None = None, split: str = "test"
) -> Difference:
    """Return score(first) - score(second) with a 95 % paired bootstrap interval over the test items.

    Both runs answer the same items in every resample, so what makes an item hard for both cancels. One seed each:
    the interval does not cover the luck of training.

    Raises:
        VxlabError: the runs predicted other items, or one diverged.
    """
    metric = metric or first.task["metrics"][0]
    logits, labels = (tensor.numpy() for tensor in first.predictions(split))
    others, other_labels = (tensor.numpy() for tensor in second.predictions(split))
    if len(labels) != len(other_labels) or not np.array_equal(labels, other_labels):
        raise VxlabError(f"the two runs predicted other {split} items, so they cannot be paired; run both on one task")
    random = np.random.RandomState(0)
    draws = (random.randint(len(labels), size=len(labels)) for _ in range(RESAMPLES))

    def difference(items: "np.ndarray[tuple[int, ...], np.dtype[np.int64]] | slice") -> float:
        pair = (compute([metric], answer[items], labels[items])[metric] for answer in (logits, others))
        return next(pair) - next(pair)

    low, high = np.quantile([difference(items) for items in draws], [0.025, 0.975])
    return Difference(difference(slice(None)), float(low), float(high))
