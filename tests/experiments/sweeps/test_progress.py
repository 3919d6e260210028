"""Progress of a sweep: what is done, running and failed, the highest so far, and how to go on."""

from pathlib import Path

import numpy as np
import pytest
import toy_runs
from toy_records import logits_with, run_record

import vxlab
from vxlab.experiments.runs.inputs import Job
from vxlab.experiments.sweeps.progress import SweepProgress

LABELS = np.arange(10) % 2


def job(seed: int) -> Job:
    return Job(toy_runs.spec("model", "task", seed=seed), str(seed), {}, "cpu", "float32")


def record(folder: Path, method: vxlab.LoRA | vxlab.VeRA) -> vxlab.RunRecord:
    spec = {"method": {"name": method.name, **method.settings()}, "epochs": 3}
    return run_record(folder, logits_with(np.ones(10, dtype=bool), LABELS), LABELS, spec=spec)


def test_the_line_says_what_is_done_running_failed_and_highest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SweepProgress(3, description="tuning") as show:
        show.running(3)
        show.done(job(0), "finished", lambda: record(tmp_path, vxlab.LoRA(rank=8)))
        show.done(job(1), "failed", lambda: None, "RuntimeError: no such luck")
        assert "1 running, 1 failed, highest" in str(show._bar)
        show.done(job(2), "diverged", lambda: None)
    told = capsys.readouterr().out
    assert "tuning: 100%" in told
    assert ", 1 diverged, 1 failed, highest on validation LoRA r=8 0.810" in told
    assert "running" not in told.splitlines()[0].rpartition("\r")[2]
    assert "failed: LoRA r=4, learning rate 0.01, seed 1: RuntimeError: no such luck" in told


def test_a_failed_run_of_shots_is_named_with_its_draw(capsys: pytest.CaptureFixture[str]) -> None:
    spec = toy_runs.spec("model", "task", seed=3, shots=5, draw=2)
    with SweepProgress(1) as show:
        show.done(Job(spec, "", {}, "cpu", "float32"), "failed", lambda: None, "RuntimeError: no such luck")
    assert "seed 3, draw 2 of 5 shots: RuntimeError" in capsys.readouterr().out


def test_many_failures_are_told_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepProgress(5) as show:
        for seed in range(5):
            show.done(job(seed), "failed", lambda: None, "RuntimeError: no such luck")
    told = capsys.readouterr().out
    assert told.count("failed: LoRA") == 3
    assert "… and 2 more; the table's column `error` has them all." in told


def test_an_interrupted_sweep_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with SweepProgress(2) as show:
            show.running(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "Stopped with 0 of 2 runs done. Do the same again to go on" in capsys.readouterr().out


def test_what_was_done_before_does_not_shorten_the_time_left() -> None:
    with SweepProgress(100) as show:
        for seed in range(90):
            show.done(job(seed), "diverged", lambda: None, here=False)
        assert (show._bar.n, show._bar.initial) == (90, 90)


def test_a_diverged_run_is_not_the_highest(tmp_path: Path) -> None:
    with SweepProgress(2) as show:
        show.done(
            job(0),
            "diverged",
            lambda: run_record(tmp_path, logits_with(np.ones(10, dtype=bool), LABELS), LABELS, best_epoch=None),
        )
        assert show.highest is None


def test_nothing_is_shown_where_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepProgress(1, show=False) as show:
        show.running(1)
        show.done(job(0), "failed", lambda: None, "RuntimeError: no such luck")
    assert capsys.readouterr() == ("", "")
