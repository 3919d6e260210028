"""Runs whose model reads images."""

import dataclasses
from typing import Any

import image_models
import pytest
import torch

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.runs.inputs import Materials

_SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-3, "head_learning_rate": 1e-2, "epochs": 2, "batch_size": 8, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def spec(tiny_vit, toy_images):
    return vxlab.RunSpec(method=vxlab.LoRA(rank=2), model=tiny_vit, task=toy_images, **_SETTINGS)


@pytest.mark.parametrize("name", ["dinov2", "clip", "swin", "convnext"])
def test_every_architecture_trains_and_keeps_each_items_answer(name, spec, toy_images, tmp_path):
    folder = image_models.write_model(tmp_path / name, name)
    record = vxlab.run(
        dataclasses.replace(spec, model=str(folder), targets="all-linear"), store=tmp_path, progress=False
    )
    logits, labels = record.predictions()
    assert record.status == "finished"
    assert logits.shape == (record.task["rows"]["test"], 3)
    assert record.score() == pytest.approx(float((logits.argmax(-1) == labels).float().mean()))


def test_a_run_learns_colours_and_its_model_answers_as_it_was_tested(spec, tmp_path):
    record = vxlab.run(dataclasses.replace(spec, method=vxlab.Full(), epochs=6), store=tmp_path, progress=False)
    assert record.score() > 0.8
    materials = Materials()
    rows = materials.splits(spec)["test"]
    batch = materials.collate(spec)(list(rows.remove_columns(["length", "row"])))
    from vxlab.experiments.runs import load_trained

    with torch.no_grad():
        again = load_trained(record)(pixel_values=batch["pixel_values"]).logits
    torch.testing.assert_close(again[torch.argsort(torch.tensor(rows["row"]))], record.predictions()[0])


def test_augmentation_follows_the_seed_and_is_another_run(spec, tmp_path):
    spec = dataclasses.replace(spec, augmentation="flip-crop")
    first, again = (vxlab.run(spec, store=tmp_path / name, progress=False) for name in "ab")
    plain = vxlab.run(dataclasses.replace(spec, augmentation="none"), store=tmp_path / "a", progress=False)
    assert torch.equal(first.predictions()[0], again.predictions()[0])
    assert first.key != plain.key
    assert first.curve[-1]["loss"] != plain.curve[-1]["loss"]


def test_resolution_is_what_the_model_reads(spec):
    spec = dataclasses.replace(spec, resolution=48)
    materials = Materials()
    rows = materials.splits(spec)["train"].select(range(2)).remove_columns(["length", "row"])
    assert materials.collate(spec)(list(rows))["pixel_values"].shape == (2, 3, 48, 48)


def test_a_probe_reads_the_class_token(spec, tmp_path):
    record = vxlab.run(dataclasses.replace(spec, method=vxlab.Probe()), store=tmp_path, progress=False)
    assert set(record.probe["validation"]) == {"mean", "first"}
    assert record.score() > 0.8


def test_draws_share_what_was_decoded_and_train_on_other_images(spec):
    spec, materials = dataclasses.replace(spec, shots=3), Materials()
    first, other = spec, dataclasses.replace(spec, draw=1)
    rows = [materials.splits(each)["train"]["pixel_values"][:] for each in (first, other)]
    assert len(rows[0]) == len(rows[1]) == 9
    assert rows[0] != rows[1]
    assert materials.reader(first) is materials.reader(other)
    assert materials.splits(first)["test"]["pixel_values"][:] == materials.splits(other)["test"]["pixel_values"][:]


def test_a_model_of_the_other_kind_is_refused(spec, tiny_model, toy_task, tmp_path):
    with pytest.raises(VxlabError, match=r"reads texts, and the task .* holds images"):
        vxlab.run(dataclasses.replace(spec, model=tiny_model), store=tmp_path)
    with pytest.raises(VxlabError, match=r"reads images, and the task .* holds texts"):
        vxlab.run(dataclasses.replace(spec, task=toy_task), store=tmp_path)


def test_fields_of_images_are_refused_where_texts_are_read(spec, tiny_model, toy_task, tmp_path):
    text = dataclasses.replace(spec, model=tiny_model, task=toy_task, resolution=64)
    with pytest.raises(VxlabError, match=r"resolution=64: .* reads no images"):
        vxlab.run(text, store=tmp_path)


def test_the_number_of_tokens_is_no_part_of_a_run_of_images(spec):
    materials = Materials()
    assert materials.job(spec).key == materials.job(dataclasses.replace(spec, max_length=32)).key
