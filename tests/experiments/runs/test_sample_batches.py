"""Test rows as a run's model reads them: texts, pairs of texts, and images."""

from pathlib import Path

import datasets
import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.models import check_merge, prepare_images
from vxlab.experiments.models.layer_inputs import layer_inputs
from vxlab.experiments.runs.sample_batches import reading_spec, sample_batches
from vxlab.experiments.runs.trained import load_trained


@pytest.fixture(scope="module")
def image_spec(tiny_vit: str, toy_images: str) -> vxlab.RunSpec:
    return vxlab.RunSpec(
        model=tiny_vit, task=toy_images, method=vxlab.LoRA(rank=2), learning_rate=1e-2, head_learning_rate=5e-3,
        epochs=1, batch_size=8, device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def image_run(image_spec: vxlab.RunSpec, tmp_path_factory: pytest.TempPathFactory) -> vxlab.RunRecord:
    return vxlab.run(image_spec, store=tmp_path_factory.mktemp("store"), progress=False)


def test_batches_hold_the_first_rows_of_the_test_split(tiny_model: str, toy_task: str) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, max_length=8)
    (batch,) = sample_batches(spec, 3)
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask"} & set(batch)
    assert "labels" not in batch
    assert batch["input_ids"].shape[0] == 3
    assert batch["input_ids"].shape[1] <= 8
    assert sum(len(each["input_ids"]) for each in sample_batches(spec)) == len(spec.load_task().splits["test"])
    with pytest.raises(vxlab.VxlabError, match="rows=0 is no number of test rows"):
        sample_batches(spec, 0)


def test_batches_of_images_are_what_the_processor_makes_of_them(image_spec: vxlab.RunSpec) -> None:
    (batch,) = sample_batches(image_spec, 2)
    task, preparation = image_spec.load_task(), prepare_images(image_spec.model)
    images = [task.images[name] for name in task.splits["test"][:2]["image"]]
    from vxlab.experiments.images import decode_image

    expected = preparation.processor([decode_image(each) for each in images], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(batch["pixel_values"], expected, atol=1e-6, rtol=0)


def test_a_runs_answers_are_those_of_its_batches(image_run: vxlab.RunRecord) -> None:
    logits, _ = image_run.predictions()
    with torch.no_grad():
        found = [load_trained(image_run)(**batch).logits for batch in sample_batches(reading_spec(image_run))]
    torch.testing.assert_close(torch.cat(found), logits, atol=1e-5, rtol=1e-4)


def test_merging_is_checked_on_images(image_run: vxlab.RunRecord) -> None:
    found = check_merge(load_trained(image_run), sample_batches(reading_spec(image_run), 4))
    assert (found.rows, found.merges, found.computes) == (4, True, True)
    assert found.effect > 0


def test_layers_are_given_every_patch_and_the_class_token(image_run: vxlab.RunRecord) -> None:
    model, batches = load_trained(image_run), sample_batches(reading_spec(image_run), 3)
    layer = next(iter(vxlab.adapted_layers(model)))
    found = layer_inputs(model, [layer], batches)[layer]
    assert found.shape == (3 * 17, 32)
    assert len(layer_inputs(model, [layer], batches, tokens=20)[layer]) == 20


def test_a_spec_that_reads_a_runs_rows_needs_none_of_its_method(image_run: vxlab.RunRecord) -> None:
    spec = reading_spec(image_run)
    assert (spec.model, spec.task, spec.form) == (image_run.spec["model"], image_run.spec["task"], vxlab.RunSpec(
        method=vxlab.Head(), learning_rate=1.0, head_learning_rate=1.0).form)  # fmt: skip
    assert isinstance(spec.load_task().splits["test"], datasets.Dataset)
    assert Path(spec.task).is_dir()
