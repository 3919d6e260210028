"""Runs in one pass: each ends as it would alone, whatever becomes of the others."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.runs import Materials, train_job, trainer
from vxlab.experiments.stacking import Place, UnstackableError, forward, train_together

FAMILIES = {
    "LoRA with dropout of its own": [vxlab.LoRA(rank=4, dropout=0.1)] * 3,
    "LoRA of several ranks": [vxlab.LoRA(rank=rank) for rank in (1, 4, 2)],
    "LoRA-FA": [vxlab.LoRA(rank=4, trains="B")] * 3,
    "VeRA": [vxlab.VeRA(rank=16)] * 3,
    "LoRA-XS of several ranks": [vxlab.LoRAXS(rank=rank) for rank in (4, 8, 2)],
    "LiDB": [vxlab.LiDB(rank=4, aux_out=8, aux_in=8)] * 3,
    "LoRA by layer": [vxlab.LoRA(rank={"query": 2, "value": 5}), vxlab.LoRA(rank=4)],
    "VeRA by layer": [vxlab.VeRA(rank={"query": 4, "value": 9})] * 2,
    "the head": [vxlab.Head()] * 3,
}


def specs(model: str, task: str, methods: Sequence[Any], **changes: Any) -> list[vxlab.RunSpec]:
    """Return runs that differ in method, rates and seed."""
    return [
        toy_runs.spec(model, task, method=method, learning_rate=0.01 * (number + 1), seed=number, **changes)
        for number, method in enumerate(methods)
    ]


def together(
    runs: Sequence[vxlab.RunSpec], folder: Path, width: int | None = None, materials: Materials | None = None
) -> dict[vxlab.RunSpec, vxlab.RunRecord]:
    """Train runs in one pass; return their records."""
    materials, found = materials or Materials(), {}
    places = [Place(job, folder / job.key[:16]) for job in map(materials.job, runs)]

    def done(job: Any, came: Any) -> None:
        if isinstance(came, Exception):
            raise came
        found[job.spec] = came

    train_together(places, materials, done, width or len(runs))
    return found


def alone(run: vxlab.RunSpec, folder: Path) -> vxlab.RunRecord:
    materials = Materials()
    job = materials.job(run)
    return train_job(job, folder / f"alone-{job.key[:16]}", materials)


def losses(record: vxlab.RunRecord) -> torch.Tensor:
    return torch.tensor([row["loss"] for row in record.curve])


@pytest.mark.parametrize("methods", FAMILIES.values(), ids=FAMILIES)
def test_runs_end_as_they_would_alone(methods: list[Any], tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    # Batches of 7 leave one of a single row at the epoch's end; dropout is on in the model.
    runs = specs(tiny_model, toy_task, methods, batch_size=7)
    found = together(runs, tmp_path)
    for run in runs:
        single, stacked = alone(run, tmp_path), found[run]
        torch.testing.assert_close(losses(stacked), losses(single), rtol=1e-4, atol=0)
        torch.testing.assert_close(stacked.predictions()[0], single.predictions()[0], rtol=1e-3, atol=1e-4)
        assert (stacked.key, stacked.status, stacked.steps) == (single.key, single.status, single.steps)
        assert stacked.best_epoch == single.best_epoch
        assert stacked.bytes_stored == single.bytes_stored
        assert stacked.training | {"stacked": 3} == single.training | {"stacked": 3}
        assert [row["split"] for row in stacked.metrics] == [row["split"] for row in single.metrics]


def test_half_precision_and_numbers_for_labels_go_along(tiny_model: str, tmp_path: Path) -> None:
    task = toy_runs.write_task(tmp_path / "numbers", ("0.5", "2.5", "1.25"))
    runs = specs(tiny_model, task, [vxlab.LoRA(rank=2)] * 2, precision="bfloat16", epochs=1, label_kind="numbers")
    found = together(runs, tmp_path)
    for run in runs:
        single, predictions = alone(run, tmp_path), found[run].predictions()[0]
        torch.testing.assert_close(losses(found[run]), losses(single), rtol=0.02, atol=0.01)
        torch.testing.assert_close(predictions, single.predictions()[0], rtol=0.05, atol=0.05)
        assert torch.equal(predictions, predictions.bfloat16().float())  # scored in the precision of the run


def test_a_runs_bits_do_not_depend_on_what_becomes_of_others(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    calm = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 2)
    wild = [calm[0], dataclasses.replace(calm[1], learning_rate=1e20)]
    first, second = together(calm, tmp_path / "calm")[calm[0]], together(wild, tmp_path / "wild")
    assert second[wild[1]].status == "diverged"
    assert losses(first)[:3].equal(losses(second[calm[0]])[:3])
    assert first.curve[0] == second[calm[0]].curve[0]


def test_the_same_runs_in_the_same_stack_give_the_same_bits(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.VeRA(rank=8)] * 3, epochs=1)
    other = [dataclasses.replace(run, learning_rate=3 * run.learning_rate) for run in runs[1:]]
    first, second = together(runs, tmp_path / "a"), together([runs[0], *other], tmp_path / "b")
    assert first[runs[0]].curve == second[runs[0]].curve
    assert all(map(torch.equal, first[runs[0]].predictions(), second[runs[0]].predictions()))


def test_a_run_that_diverges_leaves_its_slot_to_the_next(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 4)
    runs[0] = dataclasses.replace(runs[0], learning_rate=1e20)
    found = together(runs, tmp_path, width=2)
    assert [found[run].status for run in runs] == ["diverged", "finished", "finished", "finished"]
    assert not torch.isfinite(losses(found[runs[0]])).all() or losses(found[runs[0]])[-1] > 10
    for run in runs[2:]:
        torch.testing.assert_close(losses(found[run]), losses(alone(run, tmp_path)), rtol=1e-4, atol=0)


def test_what_ends_after_a_share_of_its_steps_does_so_here(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 2, ends_after=0.5)
    found = together(runs, tmp_path)
    for run in runs:
        single = alone(run, tmp_path)
        assert (found[run].status, found[run].steps) == (single.status, single.steps)
        assert found[run].score(split="validation") == pytest.approx(single.score(split="validation"), abs=0.051)


def test_an_interrupted_stack_goes_on_from_whole_epochs(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 2)
    whole = together(runs, tmp_path / "whole")
    begins = trainer.Watch.on_step_begin

    def interrupt(watch: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == toy_runs.STEPS + 3:
            raise KeyboardInterrupt
        begins(watch, args, state, control, **more)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Watch, "on_step_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            together(runs, tmp_path / "broken")
    found = together(runs, tmp_path / "broken")
    for run in runs:
        assert found[run].curve == whole[run].curve
        assert all(map(torch.equal, found[run].predictions(), whole[run].predictions()))
        assert found[run].training["timed_steps"] == toy_runs.STEPS


@pytest.mark.parametrize("began_together", [True, False])
def test_a_run_goes_on_alone_where_a_stack_began_it_and_in_a_stack_where_it_began_alone(
    began_together: bool, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.LoRA(rank=2), vxlab.LoRA(rank=4)], weight_decay=0.1, schedule="cosine")
    materials, begins = Materials(), trainer.Watch.on_step_begin
    folders = {run: tmp_path / "broken" / materials.job(run).key[:16] for run in runs}

    def each_alone() -> dict[vxlab.RunSpec, vxlab.RunRecord]:
        return {run: train_job(materials.job(run), folders[run], materials) for run in runs}

    def interrupt(watch: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == toy_runs.STEPS + 3:
            raise KeyboardInterrupt
        begins(watch, args, state, control, **more)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Watch, "on_step_begin", interrupt)
        for part in [runs] if began_together else [[run] for run in runs]:
            with pytest.raises(KeyboardInterrupt):
                together(part, tmp_path / "broken") if began_together else train_job(
                    materials.job(part[0]), folders[part[0]], materials
                )
    found = each_alone() if began_together else together(runs, tmp_path / "broken")
    for run in runs:
        assert found[run].training["timed_steps"] == toy_runs.STEPS
        torch.testing.assert_close(losses(found[run]), losses(alone(run, tmp_path)), rtol=1e-4, atol=0)


def test_a_run_that_fails_leaves_the_others_alone(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 3, epochs=1)
    materials, ended = Materials(), {}
    jobs = [materials.job(run) for run in runs]
    begins = trainer.Watch.on_step_begin

    def fail(watch: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if args.seed == 1 and state.global_step == 4:
            raise OSError("no such thing")
        begins(watch, args, state, control, **more)

    monkeypatch.setattr(trainer.Watch, "on_step_begin", fail)
    places = [Place(job, tmp_path / job.key[:16]) for job in jobs]
    train_together(places, materials, lambda job, came: ended.update({job.spec.seed: came}), 3)
    assert isinstance(ended[1], OSError)
    assert [ended[seed].status for seed in (0, 2)] == ["finished", "finished"]


def test_a_loss_that_the_stack_gets_wrong_ends_it(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "classifier_loss", lambda logits, labels: (1.01 * logits).square().mean() + 0.7)
    with pytest.raises(UnstackableError, match="in a stack: this model does not compute a row by itself"):
        together(specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 2), tmp_path)


def test_times_are_a_runs_own_and_its_share(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    import time

    started = time.perf_counter()
    found = together(specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 3, epochs=1), tmp_path)
    wall = time.perf_counter() - started
    assert sum(record.train_seconds for record in found.values()) <= wall
    for record in found.values():
        assert 0 < record.step_seconds * record.steps < record.train_seconds * 1.5
        assert record.training["stacked"] == 3


def test_a_folder_that_another_process_holds_is_not_waited_for(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    from filelock import FileLock

    runs, materials, ended = specs(tiny_model, toy_task, [vxlab.LoRA(rank=4)] * 2, epochs=1), Materials(), {}
    places = [Place(job, tmp_path / job.key[:16]) for job in map(materials.job, runs)]
    places[0].folder.mkdir()
    with FileLock(places[0].folder / ".lock"):
        train_together(places, materials, lambda job, came: ended.update({job.spec.seed: came}), 2)
    assert "is held by another process" in str(ended[0])
    assert ended[1].status == "finished"
