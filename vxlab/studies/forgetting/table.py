"""Gain on the trained task beside the change on held-out tasks, a row a candidate and task, with intervals."""

import math
from typing import Any

import numpy as np
import pandas as pd

from vxlab.adapters import Base
from vxlab.errors import VxlabError
from vxlab.experiments import Evaluation, family_name
from vxlab.experiments.evaluations import Evaluations, paired_differences
from vxlab.experiments.scoring import LEVEL, Difference, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import gains_over_base, reported_runs
from vxlab.studies.forgetting.mean_of_tasks import ByRun, main_metric, mean_over_tasks

FORGETTING_COLUMNS = (
    "candidate", "method", "rank", "parameters", "task", "metric", "items", "runs", "evaluated", "base", "score",
    "difference", "low", "high", "p", "p_holm", "change", "gain", "gain_low", "gain_high", "gain_p_holm",
)  # fmt: skip
Gains = dict[str, dict[str, float]]
_NOTHING = Difference(*(math.nan,) * 4, covers_seeds=False)


def forgetting_table(result: Comparison, evaluations: Evaluations) -> pd.DataFrame:
    """Return one row a held-out task and candidate, the untuned base first; and of their mean over the tasks.

    Columns: ``candidate``, ``method``, ``rank``, ``parameters`` (trained); ``task``, ``metric`` (the first of the
    task's that is a mean of items), ``items``; ``runs`` (reported, and finished) and ``evaluated``, how many of them;
    ``base`` and ``score``, the untuned base's and the mean over runs; ``difference``, score less base, turned where
    lower is better, so that below 0 is a loss, with its 95 % interval ``low``, ``high`` over items and, where some
    candidate has several, training seeds; ``p``, and ``p_holm`` over all candidates and held-out tasks (of the mean
    over tasks: over the candidates); ``change``, ``lost`` or ``gained`` where that is seen after Holm, else ""; and on
    the trained task ``gain`` over the base in the sweep's metric, with ``gain_low``, ``gain_high``, and ``gain_p_holm``
    over the candidates. NaN where there is nothing.

    The mean weighs every task alike, whatever its items; it is there where two tasks or more have shares of right
    answers, and all runs that were evaluated were on all of them.

    Args:
        result: of a fair sweep, with the untuned base among its candidates.
        evaluations: of its reported runs, and of the base.

    Raises:
        VxlabError: an evaluation is of a run that the sweep did not report, or a task was evaluated twice of one run.
    """
    by_task = _by_task(result, evaluations)
    bases = {task: base for task, (base, _) in by_task.items()}
    tuned = {task: runs for task, (_, runs) in by_task.items()}
    gains = _gains(result)
    rows = [row for task in by_task for row in _rows(result, bases[task], tuned[task], gains)]
    mean = mean_over_tasks(bases, tuned)
    means = _rows(result, *mean, gains) if mean else []
    parts = [_adjusted(part) for part in (rows, means) if part]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(FORGETTING_COLUMNS))


def _by_task(result: Comparison, evaluations: Evaluations) -> dict[str, tuple[Evaluation, ByRun]]:
    """Return of each task the base's evaluation, and by candidate and number those of its reported runs."""
    reports = _reports(result)
    names = dict(zip(reports["key"], reports["candidate"], strict=True))
    found: dict[str, tuple[Evaluation, ByRun]] = {}
    seen = set()
    for one in evaluations.evaluations:
        if (one.run, one.task) in seen:
            raise VxlabError(f"{one.task} was evaluated twice of one run or base; keep one limit and precision")
        seen.add((one.run, one.task))
        if not one.run:
            continue
        if one.run not in names:
            raise VxlabError(
                f"run {one.run[:12]} was evaluated, and is none of the sweep's reported runs; evaluate those of "
                "result.records whose stage is report"
            )
        base = evaluations.base_of(one)
        if base is None:
            raise VxlabError(f"{one.task}: no untuned base beside {names[one.run]}; evaluate with base=True")
        runs = found.setdefault(one.task, (base, {}))[1].setdefault(names[one.run], {})
        runs[one.run] = one
    return found


def _reports(result: Comparison) -> pd.DataFrame:
    return result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]


def _gains(result: Comparison) -> Gains:
    """Return by candidate what it gains on the trained task over the untuned base, NaN where that cannot be said."""
    found = gains_over_base(result.metric, reported_runs(result))
    names = [name for name, each in result.fair.names.items() if not isinstance(each.method, Base)]
    gains = [found.get(name, _NOTHING) for name in names]
    adjusted = holm([each.p for each in gains])
    return {
        name: {"gain": each.difference, "gain_low": each.low, "gain_high": each.high, "gain_p_holm": float(p)}
        for name, each, p in zip(names, gains, adjusted, strict=True)
    }


def _rows(result: Comparison, base: Evaluation, tuned: ByRun, gains: Gains) -> list[dict[str, Any]]:
    """Return the base's row of a task, and one for each candidate of the sweep."""
    metric = main_metric(base)
    found = paired_differences({name: dict(enumerate(runs.values())) for name, runs in tuned.items()}, base, metric)
    sign = -1 if base.higher_is_better.get(metric) is False else 1
    score, name = base.scores[metric], family_name(Base())
    shared: dict[str, Any] = {
        "task": base.task, "metric": metric.partition(",")[0], "items": len(base.documents), "base": score,
    }  # fmt: skip
    rows = [shared | {"candidate": name, "method": name, "parameters": 0, "runs": 1, "evaluated": 1, "score": score}]
    reported = _reports(result).groupby("candidate").size()
    for about in result.summary.to_dict("records"):
        if (name := about["candidate"]) in gains:  # all but the base
            own = [one.scores[metric] for one in tuned.get(name, {}).values()]
            row = {
                "candidate": name, "method": about["method"], "rank": about["rank"], "parameters": about["backbone"],
                "runs": int(reported.get(name, 0)), "evaluated": len(own),
                "score": float(np.mean(own)) if own else math.nan,
            }  # fmt: skip
            rows.append(shared | row | _difference(found.get(name, _NOTHING), sign) | gains[name])
    return rows


def _difference(found: Difference, sign: int) -> dict[str, float]:
    low, high = sorted((sign * found.low, sign * found.high))
    return {"difference": sign * found.difference, "low": low, "high": high, "p": found.p}


def _adjusted(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(FORGETTING_COLUMNS))
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    seen = table["p_holm"] <= LEVEL
    table["change"] = np.select(
        [seen & (table["difference"] < 0), seen & (table["difference"] > 0)], ["lost", "gained"], ""
    )
    return table.astype({"rank": "Int64", "parameters": "Int64"})
