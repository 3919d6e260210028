"""How much of what is told apart over tasks hangs on one of them."""

import pytest
from toy_task_grid import across

from vxlab.studies.atlas import left_out_sentence, pooled_differences, without_each_task


def test_pairs_stay_apart_where_every_task_says_so_and_not_where_one_decides():
    # Two points of error 0.85 a task: 4.7 standard errors over four tasks, 4.1 over three, where t(97.5 %) is 4.3.
    found = across({
        "full": [80.0, 80.0, 80.0, 80.0], "head": [60.0, 60.2, 59.8, 60.1], "LoRA 1 qv": [78.1, 78.0, 77.9, 78.0],
    }, error=0.85)  # fmt: skip
    pooled = pooled_differences(found)
    without = without_each_task(found, pooled)
    assert without["task"].tolist() == ["t0", "t1", "t2", "t3"]
    assert pooled["seen"].tolist() == [True, True, True]
    far = {("head", "full"), ("head", "LoRA 1 qv")}
    assert [set(stay) for stay in without["stay"]] == [far] * 4
    assert without["apart"].tolist() == [2, 2, 2, 2]
    said = left_out_sentence(pooled, without)
    assert "of 3 pairs told apart across all tasks 2 stay so whichever is left out" in said


def test_it_is_what_the_others_alone_would_say():
    means = {"full": [80.0, 85.0, 79.0], "head": [70.0, 60.0, 75.0], "LoRA 1 qv": [79.0, 80.0, 70.0]}
    found = across(means)
    for i, apart in enumerate(without_each_task(found, pooled_differences(found))["apart"]):
        others = across({name: [*row[:i], *row[i + 1 :]] for name, row in means.items()})
        assert apart == pooled_differences(others)["seen"].sum()


def test_where_nothing_is_told_apart_that_is_said():
    found = across({"full": [80.0, 81.0, 79.0], "head": [80.5, 80.0, 79.5]})
    pooled = pooled_differences(found)
    assert "no pair is told apart" in left_out_sentence(pooled, without_each_task(found, pooled))


@pytest.mark.parametrize("tasks", [1, 2])
def test_of_two_tasks_nothing_is_left_to_pool(tasks):
    found = across({"full": [80.0, 81.0][:tasks], "head": [70.0, 71.0][:tasks]})
    pooled = pooled_differences(found)
    without = without_each_task(found, pooled)
    assert without.empty
    assert "needs three tasks" in left_out_sentence(pooled, without)
