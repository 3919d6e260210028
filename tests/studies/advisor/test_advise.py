"""Advice from end to end on a tiny model, and what is no question for it."""

import dataclasses

import numpy as np
import pytest

import vxlab
from vxlab import LoRA, LoRAXS, VeRA
from vxlab.errors import VxlabError
from vxlab.studies.advisor.stability import ALLOCATION, UNIFORM, UNKNOWN

SETTINGS = {"batch_size": 8, "max_length": 16, "epochs": 2, "device": "cpu", "progress": False}
METHODS = [LoRA(rank=2), LoRAXS(rank=4), VeRA(rank=8)]


@pytest.fixture(scope="module", params=METHODS, ids=lambda method: method.name)
def advice(request, tiny_model, toy_task):
    return vxlab.advise(tiny_model, toy_task, request.param, batches=8, **SETTINGS)


def _count(advice, method, targets):
    model = vxlab.load_model(advice.spec.model, num_labels=2)
    vxlab.attach(model, method, targets)
    return vxlab.trainable_parameters(model).backbone


def test_the_budget_is_the_methods_own_and_the_advised_one_keeps_to_it(advice):
    assert advice.budget == _count(advice, advice.spec.method, "all-linear")
    spec = advice.run_spec()
    assert _count(advice, spec.method, spec.targets) == advice.layers["parameters"].sum() <= advice.budget


def test_what_would_be_allocated_can_be_attached_too(advice):
    allocated = dataclasses.replace(
        advice, verdict=ALLOCATION, layers=advice.layers.assign(rank=advice.layers["allocated"])
    )
    spec = allocated.run_spec()
    assert set(spec.targets) == set(advice.layers.query("allocated > 0")["layer"])
    assert 0.5 * advice.budget < _count(advice, spec.method, spec.targets) <= advice.budget
    assert len(allocated.fair_sweep(report_seeds=1).candidates) == 2
    assert "of all energy" in allocated.sentence()


def test_the_tables_agree(advice):
    assert set(advice.budgets["verdict"]) <= {ALLOCATION, UNIFORM, UNKNOWN}
    at = advice.budgets.set_index("budget").loc[advice.budget]
    assert at["verdict"] == advice.verdict
    assert at["kept"] == pytest.approx(advice.layers["energy"].sum() / advice.layers["energy_all"].sum())
    assert (
        (advice.layers["low"] <= advice.layers["energy_all"]) & (advice.layers["energy_all"] <= advice.layers["high"])
    ).all()
    for budget in advice.budgets["budget"]:
        layers = advice.at(budget)
        assert list(layers.columns) == list(advice.layers.columns)
        assert layers["parameters"].sum() <= budget
    assert advice.at(advice.budget).equals(advice.layers)
    with pytest.raises(VxlabError, match="none of those that were judged"):
        advice.at(advice.budget + 1)


def test_it_says_what_it_cost_and_what_to_try(advice):
    assert (advice.steps, advice.cost) == (8, 8 / 30)
    assert advice.rates == vxlab.FairSweep(candidates=[advice.spec.method]).rates(vxlab.Candidate(advice.spec.method))
    assert advice.capacity["adapter_bits"] == 2 * advice.budget
    assert advice.capacity["data_bits"] == pytest.approx(120 * 0.971, rel=0.01)  # three in five of one class
    assert advice.sentence().count(". ") <= 2
    assert {each.method.name for each in advice.fair_sweep().candidates} == {advice.spec.method.name}


def test_kept_tables_give_the_same_advice(tmp_path, tiny_model, toy_task, capsys):
    first = vxlab.advise(tiny_model, toy_task, LoRAXS(rank=2), batches=4, store=tmp_path, **SETTINGS)
    again = vxlab.advise(
        tiny_model, toy_task, LoRAXS(rank=2), batches=4, store=tmp_path, **SETTINGS | {"progress": True}
    )
    assert again.layers.equals(first.layers)
    assert "gradients of 4 batches, 13.3 % of the run's 30 steps" in (said := capsys.readouterr().out)
    assert "8/8" not in said


def test_a_budget_in_bytes_and_a_share(tiny_model, toy_task):
    in_bytes = vxlab.advise(tiny_model, toy_task, LoRAXS(rank=2), "1.2 kB", batches=4, **SETTINGS)
    assert in_bytes.budget == 300
    assert in_bytes.spec.method.rank == 5  # 12 layers of 25 parameters
    most = vxlab.advise(tiny_model, toy_task, LoRAXS(rank=2), share=0.5, batches=15, **SETTINGS)
    kept = most.budgets.set_index("uniform_rank")["kept_uniform"]
    assert kept[most.spec.method.rank] >= 0.5


def test_no_rank_has_a_share_of_what_is_noise(tmp_path, tiny_model):
    random = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        rows = [f"{' '.join(random.choice(list('abcdefgh'), 8))} {split} {i},{random.integers(2)}" for i in range(120)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    for seed in range(2):
        with pytest.raises(VxlabError, match="no rank has a share of it"):
            vxlab.advise(tiny_model, str(tmp_path), LoRA(rank=2), share=0.1, batches=8, seed=seed, **SETTINGS)


def test_a_model_that_writes_is_advised_by_its_loss(tiny_writer, toy_prompts):
    settings = {
        "batch_size": 4,
        "max_length": 64,
        "epochs": 2,
        "answer_column": "answer",
        "device": "cpu",
        "progress": False,
    }
    advice = vxlab.advise(tiny_writer, toy_prompts, LoRA(rank=2), batches=4, max_new_tokens=4, **settings)
    assert "random head" not in advice.sentence()
    assert advice.layers["energy_all"].sum() > 0
    assert advice.capacity["data_bits"] > 0


def test_images_are_advised_by_their_labels(tiny_vit, toy_images):
    settings = {"batch_size": 6, "epochs": 2, "device": "cpu", "progress": False}
    advice = vxlab.advise(tiny_vit, toy_images, LoRAXS(rank=2), batches=4, **settings)
    assert advice.steps == 4


@pytest.mark.parametrize(
    ("method", "asked", "message"),
    [
        (LoRA(rank=2), {"budget": 100}, r"budget=100 parameters: LoRA on these targets has 832 \(rank 1\) to 26,624"),
        (LoRA(rank=2), {"budget": 10**9}, "name fewer targets"),
        (LoRA(rank=2), {"budget": "12 apples"}, "is no size; give such as '200 kB'"),
        (LoRA(rank=2), {"budget": 1000, "share": 0.5}, "leave one out"),
        (LoRA(rank=2), {"share": 1.5}, "is not a share"),
        (LoRA(rank=2), {"batches": 2}, "too few to tell signal from noise"),
        (LoRA(rank=2), {"batches": 99}, "more than the 15 that the training split has"),
        (LoRA(rank={"query": 2}), {}, "ranks by layer"),
        (LoRAXS(rank=2, basis="random"), {}, "not nested"),
        (VeRA(rank=2, vectors="d"), {}, "whose b trains"),
        (LoRA(rank=2, trains="B"), {}, "its directions are free"),
        (vxlab.Full(), {}, "has no ranks that can be advised"),
        (vxlab.BitFit(), {}, "has no ranks that can be advised"),
    ],
)
def test_what_is_no_question_is_refused(tiny_model, toy_task, method, asked, message):
    with pytest.raises(VxlabError, match=message):
        vxlab.advise(tiny_model, toy_task, method, **{"batches": 4, **SETTINGS, **asked})
