"""Runs of images in one pass: each augments by its own numbers, and ends as it would alone."""

import dataclasses
from pathlib import Path
from typing import Any

import image_models
import pytest
import torch

import vxlab
from vxlab.experiments.runs import Materials, train_job
from vxlab.experiments.stacking import Place, UnstackableError, common_to, reason_alone, train_together

pytestmark = pytest.mark.filterwarnings("ignore:the data set:vxlab.errors.DataWarning")  # of draws that share rows
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 4, "device": "cpu", "augmentation": "flip-crop"}


def specs(model: str, task: str, method: Any, **changes: Any) -> list[vxlab.RunSpec]:
    """Return runs of several seeds, rates and draws."""
    return [
        vxlab.RunSpec(model=model, task=task, method=method, learning_rate=0.01 * (number + 1),
                      head_learning_rate=5e-3, seed=number, shots=5, draw=number, **SETTINGS | changes)
        for number in range(3)
    ]  # fmt: skip


def both_ways(runs: list[vxlab.RunSpec], folder: Path) -> list[tuple[vxlab.RunRecord, vxlab.RunRecord]]:
    """Return each run's record from one pass, and alone."""
    materials, found = Materials(), {}
    jobs = [materials.job(run) for run in runs]
    assert {reason_alone(job, materials) for job in jobs} == {None}
    assert len({common_to(job) for job in jobs}) == 1

    def done(job: Any, came: Any) -> None:
        if isinstance(came, Exception):
            raise came
        found[job.key] = came

    train_together([Place(job, folder / job.key[:16]) for job in jobs], materials, done, len(jobs))
    return [(found[job.key], train_job(job, folder / f"alone-{job.key[:16]}", Materials())) for job in jobs]


def assert_alike(stacked: vxlab.RunRecord, single: vxlab.RunRecord) -> None:
    losses = [torch.tensor([row["loss"] for row in record.curve]) for record in (stacked, single)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=0)
    torch.testing.assert_close(stacked.predictions()[0], single.predictions()[0], rtol=1e-3, atol=1e-4)
    assert (stacked.key, stacked.status, stacked.steps) == (single.key, single.status, single.steps)
    assert stacked.training | {"stacked": 3} == single.training | {"stacked": 3}


@pytest.mark.parametrize(
    "method", [vxlab.LoRA(rank=2, dropout=0.1), vxlab.VeRA(rank=8), vxlab.Head()], ids=lambda method: method.name
)
def test_runs_of_other_draws_end_as_they_would_alone(method, tiny_vit, toy_images, tmp_path):
    # 15 shots in batches of 4 leave one of 3 at the epoch's end.
    for stacked, single in both_ways(specs(tiny_vit, toy_images, method), tmp_path):
        assert_alike(stacked, single)


@pytest.mark.parametrize("name", ["dinov2", "convnext"])
def test_other_architectures_go_along(name, toy_images, tmp_path):
    model = str(image_models.write_model(tmp_path / name, name))
    runs = specs(model, toy_images, vxlab.LoRA(rank=2), targets="all-linear", epochs=1)
    for stacked, single in both_ways(runs, tmp_path):
        assert_alike(stacked, single)


def test_a_model_of_windows_trains_alone(toy_images, tmp_path):
    model = str(image_models.write_model(tmp_path / "swin", "swin"))
    with pytest.raises(UnstackableError, match="stacked adapters go where the rows of the batch come first"):
        both_ways(specs(model, toy_images, vxlab.LoRA(rank=2), epochs=1), tmp_path)


def test_runs_of_other_resolutions_or_augmentation_are_of_another_pass(tiny_vit, toy_images):
    materials = Materials()
    first = specs(tiny_vit, toy_images, vxlab.LoRA(rank=2))[0]
    for changes in ({"resolution": 48}, {"augmentation": "none"}, {"shots": 4}):
        assert common_to(materials.job(first)) != common_to(materials.job(dataclasses.replace(first, **changes)))
