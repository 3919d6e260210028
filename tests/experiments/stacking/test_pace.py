"""A step in a stack is timed against the same steps one after the other, and nothing is trained by it."""

import torch
import toy_runs

import vxlab
from vxlab.experiments.runs import Materials
from vxlab.experiments.stacking import StackPace, time_stack


def test_both_ways_are_timed(tiny_model: str, toy_task: str) -> None:
    materials = Materials()
    jobs = [
        materials.job(toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRA(rank=2), seed=seed)) for seed in range(3)
    ]
    before = torch.get_rng_state()
    pace = time_stack(jobs, materials)
    assert torch.equal(torch.get_rng_state(), before)
    assert pace.width == 3
    assert 0 < pace.stacked < 1 > pace.alone > 0


def test_it_pays_where_it_is_the_faster_by_more_than_its_ends_cost() -> None:
    assert StackPace(alone=1.2, stacked=1.0, width=8).pays
    assert not StackPace(alone=1.01, stacked=1.0, width=8).pays
