"""What is done with runs of images: stop and go on, take again, tell of, and train in every way that there is."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import image_models
import pytest
import torch

import vxlab
from vxlab.experiments.images import ImageReader
from vxlab.experiments.provenance import run_facts
from vxlab.experiments.runs.one_run import Materials


class _StopsAt:
    """A listener that stops a run before a step."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def stop_asked(self) -> bool:
        return self.seen >= self.step

    def on_wait(self) -> None: ...

    def on_begin(self, step: int, steps: int) -> None:
        self.seen = step

    def on_step(self, step: int) -> None:
        self.seen = step

    def on_log(self, row: Mapping[str, Any]) -> None: ...

    def on_validation(self, row: Mapping[str, Any]) -> None: ...


@pytest.fixture
def spec(tiny_vit: str, toy_images: str) -> vxlab.RunSpec:
    return vxlab.RunSpec(
        model=tiny_vit, task=toy_images, method=vxlab.LoRA(rank=2, dropout=0.1), learning_rate=1e-2,
        head_learning_rate=5e-3, epochs=2, batch_size=8, device="cpu",
    )  # fmt: skip


def test_a_run_that_was_stopped_goes_on_with_the_augmentation_of_one_that_was_not(spec, tmp_path):
    spec = dataclasses.replace(spec, augmentation="flip-crop", epochs=3)
    whole = vxlab.run(spec, store=tmp_path / "whole", progress=False)
    stopped = vxlab.run(spec, store=tmp_path / "parts", progress=False, listener=_StopsAt(whole.steps // 2))
    assert stopped.status == "stopped"
    resumed = vxlab.run(spec, store=tmp_path / "parts", progress=False)
    assert resumed.curve == whole.curve
    assert resumed.metrics == whole.metrics
    assert all(map(torch.equal, resumed.predictions(), whole.predictions()))


def test_a_run_that_the_store_has_decodes_nothing(spec, tmp_path, monkeypatch):
    first = vxlab.run(spec, store=tmp_path, progress=False)
    monkeypatch.setattr(ImageReader, "keep", lambda reader, images: pytest.fail("decoded again"))
    assert vxlab.run(spec, store=tmp_path, progress=False).key == first.key


def test_facts_of_a_run_speak_of_images(spec, tmp_path):
    spec = dataclasses.replace(spec, resolution=48, augmentation="flip-crop", epochs=1)
    own = vxlab.run(dataclasses.replace(spec, resolution=None, augmentation="none"), store=tmp_path, progress=False)
    told = [run_facts([each]).set_index("fact")["value"] for each in (own, vxlab.run(spec, store=tmp_path))]
    assert [each["batches"] for each in told] == ["8 images", "8 images"]
    assert [each["images"] for each in told] == [
        "of the size that the model's image processor makes; in training unchanged",
        "48 × 48 pixels; in training mirrored and moved at random",
    ]


@pytest.mark.parametrize(
    "changed",
    [{"precision": "bfloat16"}, {"gradient_accumulation": 2}, {"gradient_checkpointing": True},
     {"method": vxlab.LoRAXS(rank=2, basis="gradient")}],
    ids=["bfloat16", "accumulation", "checkpointing", "gradient basis"],
)  # fmt: skip
def test_every_way_to_train_reads_images(changed, spec, tmp_path):
    spec = dataclasses.replace(spec, epochs=1, **changed)
    first, again = (vxlab.run(spec, store=tmp_path / name, progress=False) for name in "ab")
    assert first.status == "finished"
    assert torch.equal(first.predictions()[0], again.predictions()[0])


def test_outside_tasks_ask_no_model_of_images(spec, tmp_path):
    with pytest.raises(vxlab.VxlabError, match="trains a head that classifies, and lm-eval asks"):
        vxlab.run(spec, store=tmp_path, evaluate=["arc_easy"])


@pytest.mark.parametrize(("name", "scheme"), [("vit", "nf4"), ("convnext", "int8")])
def test_a_quantised_base_packs_linear_layers_and_leaves_convolutions(name, scheme, toy_images, spec, tmp_path):
    pytest.importorskip("bitsandbytes")
    model = str(image_models.write_model(tmp_path / name, name))
    spec = dataclasses.replace(spec, model=model, quantisation=scheme, targets="all-linear", epochs=1)
    loaded = vxlab.load_model(model, 3, scheme)
    kinds = {type(each).__name__ for each in loaded.modules() if isinstance(each, torch.nn.Linear)}
    assert kinds == {"Linear", {"nf4": "Linear4bit", "int8": "Linear8bitLt"}[scheme]}  # the head is plain
    convolutions = [each for each in loaded.modules() if isinstance(each, torch.nn.Conv2d)]
    assert convolutions
    assert all(each.weight.dtype == torch.float32 for each in convolutions)
    assert vxlab.run(spec, store=tmp_path, progress=False).status == "finished"


def test_resolutions_of_one_sweep_keep_to_their_own_images(spec, tmp_path):
    spec = dataclasses.replace(spec, method=vxlab.Head(), epochs=1)
    specs = [dataclasses.replace(spec, seed=seed, resolution=side) for seed in (0, 1) for side in (None, 16)]
    table = vxlab.sweep(specs, store=tmp_path, progress=False)
    assert table["error"].isna().all()
    alone = vxlab.run(specs[1], store=tmp_path / "alone", progress=False)
    kept = vxlab.Store(tmp_path).record(alone.key)
    assert torch.equal(alone.predictions()[0], kept.predictions()[0])


def test_a_step_of_images_is_planned_by_its_resolution(spec):
    from vxlab.experiments.sweeps.plan import _kind, measure

    materials = Materials()
    small, large = (materials.job(dataclasses.replace(spec, resolution=side)) for side in (16, 96))
    assert _kind(small) != _kind(large)
    assert measure(large).steps > measure(small).steps
    probe = materials.job(dataclasses.replace(spec, method=vxlab.Probe()))
    assert measure(probe).seconds > 0
