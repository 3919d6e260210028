"""What runs share in a process: loaded once, and never one run's changes in another's model."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs
from classifiers import write_classifier
from transformers import set_seed

import vxlab
from vxlab.experiments.models.load import copy_with_new_head
from vxlab.experiments.runs.inputs import Materials, fresh_materials, shared_materials


@pytest.mark.parametrize("seed", [0, 5])
def test_a_copys_new_head_is_the_one_that_loading_again_draws(tiny_model: str, seed: int) -> None:
    set_seed(seed + 1)  # or an earlier test's seed may draw the very head that is drawn again below
    base = vxlab.load_model(tiny_model, 3)
    set_seed(seed)
    loaded, after_loading = vxlab.load_model(tiny_model, 3), torch.rand(1)
    set_seed(seed)
    copied, after_copying = copy_with_new_head(base), torch.rand(1)
    assert all(map(torch.equal, loaded.parameters(), copied.parameters()))
    assert torch.equal(after_loading, after_copying)  # what is drawn next is the same too
    assert not torch.equal(copied.classifier.weight, base.classifier.weight)
    assert copied.training == loaded.training


@pytest.mark.parametrize(("name", "copies"), [("bert", True), ("t5", True), ("diffllama", False)])
def test_a_model_that_a_copy_would_not_draw_alike_is_loaded_again(
    name: str, copies: bool, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(write_classifier(name, tmp_path), toy_task)
    sharing, alone = Materials(), Materials(reuse=False)
    assert sharing.base(spec).vxlab_copies is copies
    for materials in (sharing, alone):
        torch.manual_seed(4)
        drawn = [materials.model(spec).state_dict(), torch.rand(1)]
        if materials is sharing:
            expected = drawn
    assert all(torch.equal(tensor, drawn[0][key]) for key, tensor in expected[0].items())
    assert torch.equal(drawn[1], expected[1])


def test_a_head_that_the_weights_brought_is_kept(tiny_model: str, tmp_path: Path) -> None:
    from vxlab.experiments.models.load import load_tokenizer

    whole = vxlab.load_model(tiny_model, 2)
    whole.save_pretrained(tmp_path)
    load_tokenizer(tiny_model).save_pretrained(tmp_path)
    copied = copy_with_new_head(vxlab.load_model(str(tmp_path), 2))
    assert torch.equal(copied.classifier.weight, whole.classifier.weight)


def test_a_model_is_the_runs_own_to_change(tiny_model: str, toy_task: str) -> None:
    materials = Materials()
    spec = toy_runs.spec(tiny_model, toy_task)
    first = vxlab.attach(materials.model(spec), vxlab.Full())
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    second = materials.model(spec)
    assert not hasattr(second, "vxlab_attachment")
    assert float(second.get_input_embeddings().weight.detach().norm()) > 0


def test_tasks_and_splits_are_kept_by_what_decides_them(tiny_model: str, toy_task: str) -> None:
    materials = Materials()
    spec = toy_runs.spec(tiny_model, toy_task)
    other = toy_runs.spec(tiny_model, toy_task, seed=3, learning_rate=1e-3, method=vxlab.Head())
    assert materials.splits(spec) is materials.splits(other)
    shorter = toy_runs.spec(tiny_model, toy_task, max_length=4)
    assert max(materials.splits(shorter)["train"]["length"]) == 4
    fewer = toy_runs.spec(tiny_model, toy_task, train_examples=60)
    assert [len(materials.splits(each)["train"]) for each in (fewer, spec)] == [60, 120]


def test_one_base_model_is_kept(tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    materials = Materials()
    for seed in range(3):
        materials.model(toy_runs.spec(tiny_model, toy_task, seed=seed))
    assert len(materials._models.kept) == 1
    alone = Materials(reuse=False)
    alone.model(toy_runs.spec(tiny_model, toy_task))
    assert not alone._models.kept


def test_the_key_does_not_depend_on_where_the_run_will_be(tiny_model: str, toy_task: str) -> None:
    materials = Materials()
    spec = toy_runs.spec(tiny_model, toy_task, device="auto", precision="float32")
    here, there = materials.job(spec), materials.job(spec, "cuda")
    assert here.key == there.key
    assert there.device == "cuda"


def test_fresh_materials_see_changed_data(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    import shutil

    task = Path(shutil.copytree(toy_task, tmp_path / "task"))
    spec: Any = toy_runs.spec(tiny_model, str(task))
    before = fresh_materials().job(spec).key
    with (task / "train.csv").open("a") as file:
        file.write("lovely,good\n")
    assert shared_materials().job(spec).key == before
    assert fresh_materials().job(spec).key != before


def test_a_start_from_gradients_is_computed_on_the_processs_own_gpu(
    tiny_model: str, toy_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRAXS(rank=4, basis="gradient"), device="auto")
    materials, moved = Materials(), []
    job, model = materials.job(spec, "cuda"), materials.model(spec)
    monkeypatch.setattr(materials, "model", lambda spec: model)
    monkeypatch.setattr(model, "to", lambda device: moved.append(device) or model)  # there need be no GPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "2")
    materials.adapted(job)
    assert moved == ["cuda:2"]


def test_a_start_from_gradients_moves_no_other_draw(tiny_model: str, toy_task: str) -> None:
    materials, models, next_draws = Materials(), [], []
    for basis in ("top", "gradient"):
        spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRAXS(rank=4, basis=basis))
        torch.manual_seed(3)
        models.append(materials.adapted(materials.job(spec)))
        next_draws.append(torch.rand(1))
    assert torch.equal(*next_draws)
    ours, theirs = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in ours.items())
    assert [layer.training for layer in models[0].modules()] == [layer.training for layer in models[1].modules()]
