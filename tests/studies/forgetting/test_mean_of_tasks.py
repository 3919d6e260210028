"""The items of a mean over tasks have its mean, and the spread of a mean over independent tasks."""

import numpy as np
import pytest
from toy_evaluations import evaluation

from vxlab.studies.forgetting.mean_of_tasks import mean_over_tasks


def test_the_items_have_the_mean_and_the_variance_of_independent_tasks() -> None:
    random = np.random.default_rng(5)
    values = {"arc_easy": random.random(30) < 0.2, "piqa": random.random(90) < 0.8}
    bases = {task: evaluation(each, task=task, subtasks=(task,) * len(each)) for task, each in values.items()}
    found = mean_over_tasks(bases, {task: {} for task in bases})
    assert found is not None
    (items,) = found[0].items.values()
    assert items.mean() == pytest.approx(np.mean([each.mean() for each in values.values()]))
    expected = sum(np.var(each, ddof=1) / len(each) for each in values.values()) / 4
    assert np.var(items, ddof=1) / len(items) == pytest.approx(expected)
    assert found[0].subtasks == ("arc_easy",) * 30 + ("piqa",) * 90


def test_one_task_has_no_mean() -> None:
    assert mean_over_tasks({"arc_easy": evaluation([1, 0])}, {"arc_easy": {}}) is None
