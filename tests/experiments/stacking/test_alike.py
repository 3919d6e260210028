"""Which runs may train together."""

import dataclasses
from typing import Any

import pytest
import toy_runs

import vxlab
from vxlab.experiments.runs import Materials
from vxlab.experiments.stacking import common_to, group_alike, reason_alone

LORA = vxlab.LoRA(rank=4)


@pytest.fixture(scope="module")
def materials() -> Materials:
    return Materials()


def test_rates_seeds_and_ranks_may_differ_and_the_rest_may_not(
    tiny_model: str, toy_task: str, materials: Materials
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=LORA)
    job = materials.job(spec)
    own = {"method": vxlab.LoRA(rank=2), "learning_rate": 1e-4, "head_learning_rate": 1e-4, "seed": 5}
    assert common_to(materials.job(dataclasses.replace(spec, **own))) == common_to(job)
    for name, value in {"batch_size": 4, "epochs": 1, "targets": "query", "weight_decay": 0.1, "warmup": 0.2}.items():
        assert common_to(materials.job(dataclasses.replace(spec, **{name: value}))) != common_to(job)
    assert common_to(materials.job(dataclasses.replace(spec, method=vxlab.VeRA(rank=4)))) != common_to(job)


def test_where_the_rank_decides_what_is_shared_it_must_be_the_same(
    tiny_model: str, toy_task: str, materials: Materials
) -> None:
    small, large = (materials.job(toy_runs.spec(tiny_model, toy_task, method=vxlab.VeRA(rank=rank))) for rank in (4, 8))
    assert common_to(small) != common_to(large)
    assert [len(group) for group in group_alike([small, large, small], materials)] == [2, 1]


def test_those_that_train_other_tensors_are_groups_of_their_own(
    tiny_model: str, toy_task: str, materials: Materials
) -> None:
    methods = [LORA, vxlab.LoRA(rank=4, trains="B"), vxlab.LoRA(rank=2), vxlab.LoRA(rank=2, trains="B")]
    jobs = [materials.job(toy_runs.spec(tiny_model, toy_task, method=method)) for method in methods]
    assert [[job.spec.method for job in group] for group in group_alike(jobs, materials)] == [
        [vxlab.LoRA(rank=2), LORA],
        [vxlab.LoRA(rank=2, trains="B"), vxlab.LoRA(rank=4, trains="B")],
    ]


def test_ranks_by_layer_stack_as_ranks_do(tiny_model: str, toy_task: str, materials: Materials) -> None:
    by_layer, other = {"query": 4, "value": 8}, {"query": 8, "value": 4}
    for kind, groups in ((vxlab.LoRA, [3]), (vxlab.VeRA, [1, 1, 1])):
        methods = [kind(rank=4), kind(rank=by_layer), kind(rank=other)]
        jobs = [materials.job(toy_runs.spec(tiny_model, toy_task, method=method)) for method in methods]
        assert [len(group) for group in group_alike(jobs, materials)] == groups


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": vxlab.Full()}, "no family of adapters"),
        ({"method": vxlab.LoRAXS(rank=4, basis="gradient")}, "gradients"),
        ({"method": LORA, "gradient_accumulation": 2}, "gradient_accumulation"),
        ({"method": LORA, "gradient_checkpointing": True}, "gradient_checkpointing"),
        ({"method": LORA}, None),
        ({"method": vxlab.Head()}, None),
    ],
)
def test_others_train_alone_and_it_is_said_why(
    changes: dict[str, Any], reason: str | None, tiny_model: str, toy_task: str, materials: Materials
) -> None:
    told = reason_alone(materials.job(toy_runs.spec(tiny_model, toy_task, **changes)), materials)
    assert told is None if reason is None else reason in str(told)
