"""A live run: its curves come while it trains, a stop keeps the best, and what is not done does not count."""

import threading
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import toy_runs
from lab import Lab
from places import SUPPORT

import vxlab
from vxlab.experiments.runs.trained import load_trained
from vxlab.experiments.store.store import Store
from vxlab.views.explorers.live import widget as live_run_widget
from vxlab.views.explorers.live.faces import live_run
from vxlab.views.explorers.live.state import SoFar


@pytest.fixture
def spec(tiny_model: str, toy_task: str) -> vxlab.RunSpec:
    return toy_runs.spec(tiny_model, toy_task)


class Script:
    """In place of a run in a process: what the test lets it tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listener: SoFar | None = None
        self.ends: Any = None
        self._begun, self._over = threading.Event(), threading.Event()
        monkeypatch.setattr(live_run_widget, "run_beside", self._run)
        monkeypatch.setattr(live_run_widget, "_PAUSE", 0.01)

    def _run(self, job: Any, results: Any, listener: SoFar) -> Any:
        self.listener = listener
        self._begun.set()
        self._over.wait(30)
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends

    def begin(self) -> SoFar:
        assert self._begun.wait(10)
        assert self.listener is not None
        return self.listener

    def end(self, with_: Any) -> None:
        self.ends = with_
        self._over.set()


def until(condition: Any, seconds: float = 10) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def log(step: int, loss: float) -> dict[str, float]:
    return {"step": step, "epoch": step / 15, "loss": loss, "learning_rate": 1e-3}


def test_curves_and_words_follow_what_the_run_tells(
    spec: vxlab.RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(monkeypatch)
    live = live_run(spec, store=tmp_path, interactive=True)
    assert "loading the model and the task" in live.words.value
    told = script.begin()
    told.on_begin(0, 30)
    for step in range(1, 16):
        told.on_log(log(step, 1 / step))
    until(lambda: "step 15 of 30 · epoch 1.0 of 2 · about 1 s left" in live.words.value)
    told.on_validation({"step": 15, "epoch": 1.0, "accuracy": 0.75, "loss": 0.6})
    until(lambda: "best validation accuracy 0.750, epoch 1" in live.words.value)
    loss, scores, best = live.figure.data
    assert list(loss.y) == pytest.approx([1 / step for step in range(1, 16)])
    assert [list(scores.x), list(scores.y), list(best.x)] == [[1], [0.75], [1]]
    assert live.record is None
    assert (live.bar.value, live.bar.max) == (15, 30)
    assert live_run(spec, store=tmp_path, interactive=True) is live
    with pytest.raises(vxlab.VxlabError, match=r"has not ended within 0\.01 s; wait longer, or stop\(\) it"):
        live.wait(0.01)
    live.button.click()
    assert told.stop_asked()
    until(lambda: "stopping" in live.words.value)
    script.end(RuntimeError("out of <luck>"))
    with pytest.raises(vxlab.VxlabError, match="RuntimeError: out of <luck>"):
        live.wait(10)
    until(lambda: "<b>failed</b>: RuntimeError: out of &lt;luck&gt;" in live.words.value)
    assert live.button.layout.display == "none"


def test_a_wait_for_another_process_is_said(
    spec: vxlab.RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(monkeypatch)
    live = live_run(spec, store=tmp_path, interactive=True)
    script.begin().on_wait()
    until(lambda: "another process trains this run" in live.words.value)
    script.end(vxlab.VxlabError("enough"))
    with pytest.raises(vxlab.VxlabError, match=r"^enough$"):
        live.wait(10)


def test_without_a_notebook_there_is_the_figure_and_then_the_same_in_the_widget(
    spec: vxlab.RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = live_run(spec, store=tmp_path)
    assert type(figure) is go.Figure
    assert "30/30" in capsys.readouterr().out
    monkeypatch.setattr(live_run_widget, "run_beside", None)  # nothing is trained
    live = live_run(spec, store=tmp_path, interactive=True)
    record = live.wait(0)
    assert live.record == record == vxlab.run(spec, store=tmp_path, progress=False)
    assert f"finished after 30 steps: test accuracy <b>{record.score():.3f}</b>" in live.words.value
    for drawn, shown in zip(figure.data, live.figure.data, strict=True):
        assert np.array_equal(drawn.x, shown.x)
        assert np.array_equal(drawn.y, shown.y)


def test_a_stopped_process_keeps_the_best_and_goes_on_to_the_same_numbers(
    spec: vxlab.RunSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = toy_runs.spec(spec.model, spec.task, epochs=20)
    with Store(tmp_path / "live") as store:
        live = live_run(spec, store=store, interactive=True)
        until(lambda: live.figure.data[1].x is not None and len(live.figure.data[1].x) > 0, 120)
        torch.rand(3)  # what a cell below draws changes nothing
        live.stop()
        stopped = live.wait(60)
        assert (stopped.status, stopped.best_epoch is not None) == ("stopped", True)
        assert 0 < stopped.steps < 20 * toy_runs.STEPS
        assert store.record(stopped.key) is None
        assert store.table()["status"].tolist() == ["stopped"]
        assert len(load_trained(stopped).classifier.weight) == 2
        until(lambda: "stopped after" in live.words.value)
        assert live_run(spec, store=store, interactive=False) is not live
        record = store.record(stopped.key)
    whole = vxlab.run(spec, store=tmp_path / "whole", progress=False)
    assert record is not None
    assert (record.metrics, record.curve, record.steps) == (whole.metrics, whole.curve, whole.steps)
    assert all(map(torch.equal, record.predictions(), whole.predictions()))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_what_is_refused_in_the_process_is_raised_by_wait_and_leaves_nothing(
    spec: vxlab.RunSpec, tmp_path: Path
) -> None:
    live = live_run(toy_runs.spec(spec.model, spec.task, targets="qury"), store=tmp_path, interactive=True)
    with pytest.raises(vxlab.VxlabError, match=r"^targets='qury' matches no layer"):
        live.wait(120)
    until(lambda: "<b>failed</b>: targets='qury' matches no layer" in live.words.value)
    with Store(tmp_path) as store:
        assert store.table().empty


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_of_and_the_run_can_be_had_again(spec: vxlab.RunSpec, tmp_path: Path) -> None:
    spec = toy_runs.spec(spec.model, spec.task, epochs=40)
    live = live_run(spec, store=tmp_path, interactive=True)
    until(lambda: live.figure.data[1].x is not None and len(live.figure.data[1].x) > 0, 120)
    for process in active_children():
        process.kill()
    with pytest.raises(vxlab.VxlabError, match=r"worker killed \(SIGKILL\): often the system out of memory"):
        live.wait(60)
    again = live_run(spec, store=tmp_path, interactive=True)
    assert again is not live
    assert again.wait(300).status == "finished"


NOTEBOOK = """
import sys
sys.path.insert(0, {tests!r})
import toy_runs, vxlab
spec = toy_runs.spec({model!r}, {task!r}, epochs=200)
live = vxlab.live_run(spec, store={store!r})
live
"""
DRAWN = "document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x?.length"


def test_in_jupyterlab_the_curves_grow_and_a_key_stops_the_run(spec: vxlab.RunSpec, tmp_path: Path, lab: Lab) -> None:
    names = {"tests": str(SUPPORT), "model": spec.model, "task": spec.task, "store": str(tmp_path / "runs")}
    last = "r = live.record\nif r: print(r.status, r.steps, r.best_epoch, f\"{r.score(split='validation'):.3f}\")"
    cells = (NOTEBOOK.format(**names), "print('kernel is', 'free')", last)
    with lab.opened(*cells, width=900, height=900) as tab:
        tab.run_all()
        tab.until("document.body.innerText.includes('kernel is free')", 120)
        tab.until(f"{DRAWN} > 3", 120)
        before = tab.page.evaluate(DRAWN)
        tab.until(f"{DRAWN} > {before}")
        assert "left" in tab.outputs()
        tab.page.screenshot(path=tmp_path / "training.png")
        tab.page.get_by_role("button", name="Stop and keep the best").press("Enter")
        tab.until("document.body.innerText.includes('stopped after')", 60)
        tab.run_last()
        tab.until("/^stopped \\d+/m.test(document.body.innerText)")
        status, steps, epoch, score = tab.outputs().strip().splitlines()[-1].split()
        assert status == "stopped"
        assert (
            f"stopped after {int(steps):,} steps; the best checkpoint (accuracy {score} on validation" in tab.outputs()
        )
        assert f"epoch {float(epoch):.3g})" in tab.outputs()
        assert tab.page.evaluate(DRAWN) >= before
        tab.page.screenshot(path=tmp_path / "stopped.png")
        overflow = "all => Math.max(...all.map(e => e.scrollWidth - e.clientWidth))"
        assert tab.page.locator(".widget-html-content, .jp-OutputArea-output").evaluate_all(overflow) <= 1
