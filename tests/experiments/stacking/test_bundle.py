"""Bundles: half as many where memory runs out, one after the other where a stack will not do."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.runs import Materials
from vxlab.experiments.stacking import Place, Trained, forward, together, train_bundle


def bundle(model: str, task: str, folder: Path, count: int) -> Trained:
    materials = Materials()
    runs = [toy_runs.spec(model, task, method=vxlab.LoRA(rank=2), epochs=1, seed=seed) for seed in range(count)]
    return train_bundle([Place(job, folder / job.key[:16]) for job in map(materials.job, runs)], materials)


def test_where_memory_runs_out_half_as_many_go_at_a_time(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, most = forward.StackedPass.losses, []

    def short_of_memory(self: Any, slots: Any, *given: Any, **more: Any) -> Any:
        if len(slots) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        most.append(len(slots))
        return losses(self, slots, *given, **more)

    monkeypatch.setattr(forward.StackedPass, "losses", short_of_memory)
    trained = bundle(tiny_model, toy_task, tmp_path, 4)
    assert (len(trained.finished), trained.errors, max(most)) == (4, {}, 2)
    assert trained.notes == ["Memory ran out with 4 runs in one pass; 2 at a time now."]


def test_what_cannot_stack_is_trained_alone_and_says_why(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "classifier_loss", lambda logits, labels: logits.sum() + 5)
    trained = bundle(tiny_model, toy_task, tmp_path, 2)
    assert len(trained.finished) == 2
    (note,) = trained.notes
    assert note.startswith("2 runs are trained one after the other: a loss of ")


def test_a_run_alone_that_fails_leaves_the_others(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "classifier_loss", lambda logits, labels: logits.sum() + 5)
    adapted = Materials.adapted

    def failing(self: Any, job: Any) -> Any:
        if job.spec.seed == 0 and calls.append(0) is None and len(calls) > 1:
            raise OSError("gone")
        return adapted(self, job)

    calls: list[int] = []
    monkeypatch.setattr(Materials, "adapted", failing)
    trained = bundle(tiny_model, toy_task, tmp_path, 2)
    assert len(trained.finished) == 1
    assert [str(error) for error in trained.errors.values()] == ["gone"]


def test_a_start_that_does_not_fit_the_stack_is_no_fault_of_the_run(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(*given: Any) -> Any:
        raise forward.UnstackableError("it trains other tensors alone")

    monkeypatch.setattr(together, "_start", unfit)
    trained = bundle(tiny_model, toy_task, tmp_path, 2)
    assert (len(trained.finished), trained.errors) == (2, {})
    assert "it trains other tensors alone" in trained.notes[0]
