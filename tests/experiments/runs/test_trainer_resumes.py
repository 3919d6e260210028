"""Resuming: a run that was killed ends as if it never had been, and half a checkpoint is no checkpoint."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.runs import trainer as training


@pytest.fixture(scope="module")
def uninterrupted(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> vxlab.RunRecord:
    spec = toy_runs.spec(tiny_model, toy_task)
    return vxlab.run(spec, store=tmp_path_factory.mktemp("whole"), progress=False)


def _killed(moment: str, model: str, task: str, store: Path, *quantisation: str) -> Path:
    """Run the toy spec in a process that SIGKILLs itself at a moment; return its folder of checkpoints."""
    command = [sys.executable, str(Path(toy_runs.__file__)), moment, model, task, str(store), *quantisation]
    path = os.pathsep.join((str(Path(vxlab.__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    (folder,) = (store / "runs").iterdir()
    assert not (folder / "record.json").exists()
    return folder / "checkpoints"


@pytest.mark.parametrize(
    ("moment", "resumes_at"),
    [
        ("die_in_second_epoch", 15),
        ("die_writing_second_checkpoint", 15),
        ("die_after_second_checkpoint", 30),
        ("die_before_the_record", None),  # by then only the best checkpoint is left, of whichever epoch
    ],
)
def test_a_killed_run_ends_with_the_numbers_of_an_uninterrupted_one(
    moment: str,
    resumes_at: int | None,
    uninterrupted: vxlab.RunRecord,
    tiny_model: str,
    toy_task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = _killed(moment, tiny_model, toy_task, tmp_path)
    there = max(int(path.name.partition("-")[2]) for path in folder.iterdir())
    taken = _steps_taken(monkeypatch)
    monkeypatch.chdir("/")  # a run may be taken up from another working directory
    resumed = vxlab.run(toy_runs.spec(tiny_model, toy_task), store=tmp_path, progress=False)
    assert taken == list(range(resumes_at or there, 30))
    assert resumed.metrics == uninterrupted.metrics
    assert resumed.curve == uninterrupted.curve
    assert (resumed.steps, resumed.best_epoch) == (uninterrupted.steps, uninterrupted.best_epoch)
    assert all(map(torch.equal, resumed.predictions(), uninterrupted.predictions()))
    left = {path.name for path in resumed.folder.iterdir()}
    assert left == {"adapter", "predictions.safetensors", "record.json"}


def _steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that fills with the number of every step that begins."""
    taken: list[int] = []
    begins = training.Watch.on_step_begin

    def noting(watch: training.Watch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        taken.append(state.global_step)
        begins(watch, args, state, control, **kwargs)

    monkeypatch.setattr(training.Watch, "on_step_begin", noting)
    return taken


def _checkpoint(folder: Path, step: int, state: str | None) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if state is not None:
        (path / "trainer_state.json").write_text(state)
    return path


@pytest.mark.parametrize("broken", [None, "", '{"best_model_checkpoint": null, "log_hi', "[]", "{}"])
def test_a_checkpoint_cut_short_is_dropped_for_the_one_before(tmp_path: Path, broken: str | None) -> None:
    whole = _checkpoint(tmp_path, 15, json.dumps({"best_model_checkpoint": None}))
    cut = _checkpoint(tmp_path, 30, broken)
    assert training.usable_checkpoint(tmp_path) == str(whole)
    assert not cut.exists()


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert training.usable_checkpoint(tmp_path) is None
    assert training.usable_checkpoint(tmp_path / "nowhere") is None
    _checkpoint(tmp_path, 15, None)
    assert training.usable_checkpoint(tmp_path) is None


def test_a_checkpoint_whose_best_is_elsewhere_is_dropped(tmp_path: Path) -> None:
    # Trainer would ignore the best one that it does not find, and the last epoch would be tested in its stead.
    best = _checkpoint(tmp_path / "moved", 15, json.dumps({"best_model_checkpoint": None}))
    _checkpoint(tmp_path / "here", 30, json.dumps({"best_model_checkpoint": str(best)}))
    assert training.usable_checkpoint(tmp_path / "here") is None


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_on_a_quantised_base_a_killed_run_ends_as_an_uninterrupted_one(
    scheme: str, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    spec = toy_runs.spec(tiny_model, toy_task, quantisation=scheme)
    _killed("die_in_second_epoch", tiny_model, toy_task, tmp_path / "killed", scheme)
    resumed, whole = (vxlab.run(spec, store=tmp_path / name, progress=False) for name in ("killed", "whole"))
    assert resumed.metrics == whole.metrics
    assert resumed.curve == whole.curve
    assert all(map(torch.equal, resumed.predictions(), whole.predictions()))
