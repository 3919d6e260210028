"""Scores with their uncertainty, and the difference of two runs on the same test items."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.provenance import require_comparable
from vxlab.experiments.scoring import Difference, compare_two, compute, interval
from vxlab.experiments.tasks.kinds import recorded_kind


def score_table(records: Mapping[str, RunRecord], metric: str | None = None, split: str = "test") -> pd.DataFrame:
    """Return one row for the trivial answer and one for each run: ``answer``, ``score``, ``low``, ``high``.

    The trivial answer is the training split's most frequent class (for a regression, its mean; where the model writes,
    the frequencies of its tokens, or one of its answers). Intervals are at 95 %,
    over test items or, where these come in units such as films, over units
    (:func:`vxlab.experiments.scoring.metrics.interval`); they say nothing about other training seeds.

    Args:
        records: runs on one task, by the name to show; a diverged one has NaN.
        metric: one of the task's; None takes its first.
        split: ``test``, or another that the runs predicted.

    Raises:
        VxlabError: there are no runs, they are of several tasks, models, data or items, or the metric or the split was
            not scored.
    """
    task = _common_task(records)
    metric = metric or task["metrics"][0]
    if metric not in task["metrics"]:
        raise VxlabError(
            f"metric={metric!r} is not reported for {task['name']}; choose one of {', '.join(task['metrics'])}"
        )
    if split not in task["majority"]:
        raise VxlabError(f"split={split!r} was not scored; choose one of {', '.join(task['majority'])}")
    rows: list[tuple[str, float, float, float]] = [
        (recorded_kind(task).trivial_name(metric), task["majority"][split][metric], float("nan"), float("nan"))
    ]
    truth: Any = None
    for name, record in records.items():
        if record.status != "finished":
            rows.append((f"{name} ({record.status})", *(float("nan"),) * 3))
            continue
        logits, labels = (tensor.numpy() for tensor in record.predictions(split))
        truth = labels if truth is None else truth
        if not np.array_equal(truth, labels):
            raise VxlabError(
                f"the runs predicted other {split} items of {task['name']} ({len(truth)} and {len(labels)}): its data "
                "or the sample of it has changed; compare runs on the same"
            )
        bounds = interval(metric, logits, labels, units=record.units(split))
        rows.append((name, compute([metric], logits, labels)[metric], *bounds))
    return pd.DataFrame(rows, columns=["answer", "score", "low", "high"])


def paired_difference(
    first: RunRecord, second: RunRecord, metric: str | None = None, split: str = "test"
) -> Difference:
    """Return score(first) - score(second) with its 95 % interval over the test items, or the units they come in.

    It is paired, as :func:`vxlab.experiments.scoring.compare_two` computes it: what makes an item hard for both
    cancels. One seed each: the interval does not cover the luck of training.

    Raises:
        VxlabError: the runs are of several tasks, models or data, they predicted other items, or one diverged.
    """
    require_comparable([first, second])
    metric = metric or first.task["metrics"][0]
    logits, labels = (tensor.numpy() for tensor in first.predictions(split))
    others, other_labels = (tensor.numpy() for tensor in second.predictions(split))
    if len(labels) != len(other_labels) or not np.array_equal(labels, other_labels):
        raise VxlabError(f"the two runs predicted other {split} items, so they cannot be paired; run both on one task")
    return compare_two({0: logits}, {0: others}, labels, metric, first.units(split))


def _common_task(records: Mapping[str, RunRecord]) -> dict[str, Any]:
    if not records:
        raise VxlabError("records is empty; give one run or more")
    tasks = {record.task["name"]: record.task for record in records.values()}
    if len(tasks) > 1:
        raise VxlabError(f"the runs are on several tasks ({', '.join(tasks)}); compare runs on one task")
    require_comparable(records.values())
    return next(iter(tasks.values()))
