"""Pairs pooled over tasks: planted differences, pairs in two orders, lacking candidates, and one table's p-values."""

import numpy as np
import pytest
from toy_task_grid import across

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import holm
from vxlab.studies.atlas.pooled import of_two, pool_pair, pooled_differences, usual_reference
from vxlab.studies.atlas.random_effects import pool_tasks

LEVELS = {"full": 8.0, "head": 0.0, "LoRA 1 qv": 6.0, "LoRA 4 qv": 7.0, "VeRA 64 qv": 6.0, "XS 8 qv": 5.0}
NAN = float("nan")


def simulated(random, tasks=6, spread=1.0, levels=LEVELS, **more):
    """Return candidates at known levels, that vary from task to task."""
    hard = 5 * random.standard_normal(tasks)
    noise = {name: spread * random.standard_normal(tasks) for name in levels}
    return across({name: list(70 + hard + level + noise[name]) for name, level in levels.items()}, **more)


def test_a_difference_is_a_less_b_whichever_a_task_has_first():
    found = across({"full": [80.0, 82.0], "head": [70.0, 71.0]})
    found = found._replace(pairs=found.pairs.assign(
        a=["full", "head"], b=["head", "full"], difference=[10.0, -11.0]
    ))  # fmt: skip
    assert of_two(found, "full", "head")["difference"].tolist() == [10, 11]
    assert of_two(found, "head", "full")["difference"].tolist() == [-10, -11]
    (row,) = pooled_differences(found, "head").to_dict("records")
    assert (row["a"], row["b"], row["difference"]) == ("full", "head", 10.5)
    (same,) = pooled_differences(found).to_dict("records")
    assert same["low"] == pytest.approx(row["low"])


def test_two_candidates_are_pooled_by_random_effects_alone():
    found = across({"full": [80.0, 82.0, 79.0], "head": [70.0, 71.0, 73.0]}, error=0.7)
    alone = pool_tasks([10.0, 11.0, 6.0], [0.7] * 3)
    row = pooled_differences(found).iloc[0]
    assert row["difference"] == pytest.approx(alone.evidence.value)
    assert row["error"] == pytest.approx(alone.error)
    assert row["p"] == pytest.approx(alone.p)


def test_what_lacks_on_a_task_does_not_count_there_and_one_task_has_no_interval():
    found = across({"full": [80.0, 82.0, 81.0], "head": [70.0, NAN, 70.5], "LoRA 4 qv": [79.0, NAN, NAN]})
    table = pooled_differences(found, "full").set_index("a")
    assert table["n"].to_dict() == {"LoRA 4 qv": 1, "head": 2}
    assert np.isnan(table.loc["LoRA 4 qv", ["low", "high", "p", "p_holm"]].astype(float)).all()
    assert not table.loc["LoRA 4 qv", "seen"]
    assert table.loc["head", "difference"] == pytest.approx(-10.25)


def test_holm_is_over_the_pairs_of_the_table():
    found = simulated(np.random.default_rng(0))
    for table in (pooled_differences(found), pooled_differences(found, "full")):
        assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"].to_numpy()))
        assert (table["seen"] == (table["p_holm"] <= 0.05)).all()
    assert len(pooled_differences(found)) == 15


def test_standardising_divides_by_each_tasks_own_spread():
    wide = across({"full": [80.0, 90.0], "LoRA 4 qv": [75.0, 70.0], "head": [70.0, 50.0]})
    table = pooled_differences(wide, "full", standardise=True).set_index("a")
    assert list(table.loc["head", "by_task"].values()) == pytest.approx([-2, -2])
    assert table.loc["head", "error"] < pooled_differences(wide, "full").set_index("a").loc["head", "error"]


def test_an_unknown_reference_is_refused_with_the_nearest():
    with pytest.raises(VxlabError, match="there is no candidate 'fll'; did you mean 'full'"):
        pooled_differences(across({"full": [1.0, 2.0], "head": [1.0, 2.0]}), "fll")


def test_the_usual_reference_is_full_fine_tuning_where_it_ran_most():
    names = {"full fine-tuning": "full", "head only": "head"}
    found = across({"full": [80.0, NAN], "head": [70.0, 71.0], "LoRA 4 qv": [79.0, 80.0]})
    renamed = found.scores.assign(candidate=found.scores["candidate"].replace({v: k for k, v in names.items()}))
    assert usual_reference(found._replace(scores=renamed)) == "head only"
    assert usual_reference(found) in ("head", "LoRA 4 qv")


def test_tasks_can_be_left_out_of_a_pair():
    found = across({"full": [80.0, 82.0, 90.0], "head": [70.0, 72.0, 70.0]})
    pooled, by_task = pool_pair(found, "full", "head", without=["t2"])
    assert pooled.evidence.value == pytest.approx(10)
    assert list(by_task) == ["t0", "t1"]


@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_equal_candidates_are_seldom_told_apart_in_any_pair(spread):
    random, level = np.random.default_rng(3), dict.fromkeys(LEVELS, 6.0)
    false = [pooled_differences(simulated(random, spread=spread, levels=level))["seen"].any() for _ in range(25)]
    assert np.mean(false) <= 0.08


def test_two_points_are_seen_between_candidates_that_take_tasks_alike():
    random = np.random.default_rng(4)
    found = [simulated(random, spread=0.5) for _ in range(40)]
    seen = [pool_pair(each, "full", "LoRA 1 qv")[0].p <= 0.05 for each in found]
    assert np.mean(seen) >= 0.8


def test_near_and_far_pairs_of_equal_candidates_seem_to_differ_once_in_twenty():
    # Two of one family follow each other from task to task, two of different families do not.
    random, tasks, false = np.random.default_rng(5), 5, {"near": [], "far": []}
    for _ in range(300):
        family, other = 4 * random.standard_normal((2, tasks))
        noise = 0.7 * random.standard_normal((3, tasks))
        scores = [70 + family + noise[0], 70 + family + noise[1], 70 + other + noise[2]]
        found = across(
            {name: list(each) for name, each in zip(("LoRA 1 qv", "LoRA 4 qv", "head"), scores, strict=True)}
        )
        for kind, b in (("near", "LoRA 4 qv"), ("far", "head")):
            false[kind].append(pool_pair(found, "LoRA 1 qv", b)[0].p <= 0.05)
    assert np.mean(false["far"]) <= 0.08
    assert 0.01 <= np.mean(false["near"]) <= 0.08  # nor hidden by how much other pairs vary
