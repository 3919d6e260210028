"""The mean over several held-out tasks, every task alike, as one evaluation whose items give it a right interval."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from vxlab.experiments import Evaluation

MEAN_OF_TASKS = "mean of tasks"
ByRun = dict[str, dict[str, Evaluation]]
"""candidate to run to its evaluation of one task"""


def mean_over_tasks(bases: Mapping[str, Evaluation], tuned: Mapping[str, ByRun]) -> tuple[Evaluation, ByRun] | None:
    """Return the base's mean over tasks, and each run's; None where there is none to be had.

    Every task needs a metric, its first that is a mean of items, whose items are right or wrong, and every run that was
    evaluated must have been on every task.

    Args:
        bases: of each task the untuned model's evaluation.
        tuned: of each task those of the candidates' runs.
    """
    runs = [{(name, run) for name, own in each.items() for run in own} for each in tuned.values()]
    if len(bases) < 2 or any(each != runs[0] for each in runs):
        return None
    metrics = {task: main_metric(base) for task, base in bases.items()}
    runs_of = [(task, one) for task, own in tuned.items() for by in own.values() for one in by.values()]
    if not all(_is_share(one, metrics[task]) for task, one in [*bases.items(), *runs_of]):
        return None
    joined: ByRun = {}
    for name, run in sorted(runs[0]):
        joined.setdefault(name, {})[run] = _join({task: tuned[task][name][run] for task in bases}, metrics)
    return _join(bases, metrics), joined


def main_metric(base: Evaluation) -> str:
    """Return a task's first metric that is a mean of items, for only of those there are intervals; else its first."""
    return next((metric for metric in base.scores if metric in base.items), next(iter(base.scores)))


def _is_share(one: Evaluation, metric: str) -> bool:
    values = one.items.get(metric, np.array([math.nan]))
    better = one.higher_is_better.get(metric) is not False
    return better and len(values) > 1 and bool(np.isin(values, (0.0, 1.0)).all())


def _join(parts: Mapping[str, Evaluation], metrics: Mapping[str, str]) -> Evaluation:
    """Return one evaluation over the items of all tasks, whose mean is the mean over tasks.

    Of T tasks with n_t items each and N in all, an item v of a task with mean m_t becomes

        M + (v − m_t)·(N / (T·n_t))·√(n_t·(N − 1) / (N·(n_t − 1))), M the mean of the m_t.

    So the items' variance over N is Σ s_t² / (T²·n_t), that of a mean over independent tasks: no task's own difficulty
    is taken for chance.
    """
    values = {task: one.items[metrics[task]] for task, one in parts.items()}
    total = float(np.mean([each.mean() for each in values.values()]))
    everything = sum(map(len, values.values()))
    made = []
    for each in values.values():
        n = len(each)
        weight = everything / (len(values) * n) * math.sqrt(n * (everything - 1) / (everything * (n - 1)))
        made.append(total + (each - each.mean()) * weight)
    names = sorted({name.partition(",")[0] for name in metrics.values()})
    metric = f"{' or '.join(names)},none"
    return dataclasses.replace(
        next(iter(parts.values())),
        task=MEAN_OF_TASKS,
        scores={metric: total},
        higher_is_better={metric: True},
        parts={},
        items={metric: np.concatenate(made)},
        documents=tuple(document for one in parts.values() for document in one.documents),
        subtasks=tuple(name for one in parts.values() for name in one.subtasks),
    )
