"""How many tasks or seeds would be enough, held against simulated tasks."""

import numpy as np
import pytest
from toy_task_grid import across

from vxlab.studies.atlas.pooled import pooled_differences
from vxlab.studies.atlas.power import open_questions
from vxlab.studies.atlas.random_effects import pool_tasks


def _asked(spread=1.0, tasks=6, variance=0.0, error=0.5, margin=0.02):
    noise = np.random.default_rng(0).normal(0, spread, tasks)
    noise = (noise - noise.mean()) * spread / (noise.std(ddof=1) or 1.0)
    found = across({"full": list(80 + noise), "head": [80.0] * tasks}, error=error, variance=variance)
    (row,) = open_questions(found, pooled_differences(found, "full"), margin).to_dict("records")
    return row


def test_as_many_tasks_as_are_asked_for_see_the_margin_four_times_in_five():
    row = _asked(spread=1.5)
    tasks, random = int(row["tasks"]), np.random.default_rng(1)
    drawn = 2 + random.normal(0, 1.5, (800, tasks))
    seen = np.mean([pool_tasks(each, np.full(tasks, 0.1)).p <= 0.05 for each in drawn])
    assert 0.74 < seen < 0.9


def test_more_seeds_help_where_seeds_are_what_varies_and_else_none_do():
    assert np.isnan(_asked(spread=4.0)["more_seeds"])
    luck = _asked(spread=0.0, error=2.0, variance=6.0)  # 2·6 / 3 seeds = 2²: all of it is luck
    assert luck["seeds"] == 3
    assert 3 < luck["more_seeds"] < 500


def test_what_is_seen_or_on_one_task_is_not_asked():
    found = across({"full": [80.0, 81.0, 79.0], "head": [60.0, 61.0, 59.0], "LoRA 4 qv": [79.0, np.nan, np.nan]})
    assert open_questions(found, pooled_differences(found, "full")).empty


@pytest.mark.parametrize("margin", [0.01, 0.04])
def test_a_wider_margin_needs_fewer_tasks(margin):
    assert (_asked(margin=margin)["tasks"] > _asked(margin=0.02)["tasks"]) == (margin < 0.02)
