"""Which runs of a sweep train together: as asked for, or as timed steps say; the numbers are the same."""

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import toy_runs
from tqdm import tqdm

import vxlab
from vxlab.experiments.engines import make_engine
from vxlab.experiments.runs import fresh_materials, shared_materials, train_job
from vxlab.experiments.stacking import StackPace
from vxlab.experiments.sweeps import bundles as bundling
from vxlab.experiments.sweeps import worker
from vxlab.experiments.sweeps.bundles import Bundles


@pytest.fixture
def specs(tiny_model: str, toy_task: str) -> list[vxlab.RunSpec]:
    return [
        toy_runs.spec(tiny_model, toy_task, method=method, epochs=1, seed=seed)
        for method in (vxlab.LoRA(rank=2), vxlab.Full())
        for seed in range(3)
    ]


def jobs_of(specs: list[vxlab.RunSpec]) -> list[Any]:
    materials = fresh_materials()
    return [materials.job(spec) for spec in specs]


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_a_stacked_sweep_has_the_scores_of_one_run_after_the_other(
    engine: str, specs: list[vxlab.RunSpec], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"engine": engine, "progress": False}
    stacked = vxlab.sweep(specs, store=tmp_path / "stacked", stack=3, **settings)
    alone = vxlab.sweep(specs, store=tmp_path / "alone", stack=1, **settings)
    assert (stacked["status"] == "finished").all()
    pd.testing.assert_series_equal(stacked["key"], alone["key"])
    assert (stacked["test"] - alone["test"]).abs().max() <= 1 / toy_runs.ROWS["test"] + 1e-9
    store = vxlab.Store(tmp_path / "stacked")
    told = [store.record(key).training.get("stacked") for key in stacked["key"]]
    assert told[3:] == [None] * 3
    assert set(told[:3]) <= {2, 3, None}
    assert 2 in told or 3 in told


def test_what_is_asked_for_and_cannot_be_is_refused(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    runs = [toy_runs.spec(tiny_model, toy_task, method=vxlab.Full(), seed=seed) for seed in range(2)]
    with pytest.raises(vxlab.VxlabError, match=r"stack=4, and none of 2 runs.*no family of adapters"):
        vxlab.sweep(runs, store=tmp_path, stack=4, progress=False)
    for stack in (0, 1.5, "many", True):
        with pytest.raises(vxlab.VxlabError, match="is not a number of runs in one pass"):
            vxlab.sweep(runs, store=tmp_path, stack=stack, progress=False)  # type: ignore[arg-type]


def test_bundles_keep_all_workers_at_work(specs: list[vxlab.RunSpec]) -> None:
    jobs = jobs_of([dataclasses.replace(specs[0], seed=seed) for seed in range(9)])
    asked = Bundles(8)
    assert [len(each) for each in asked.arrange(jobs, slots=1)] == [4, 5]
    assert [len(each) for each in asked.arrange(jobs, slots=3)] == [3, 3, 3]
    assert [len(each) for each in Bundles(4).arrange(jobs, slots=2)] == [2, 2, 2, 3]  # not three for two workers
    assert sorted(job.spec.seed for each in asked.arrange(jobs, 2) for job in each) == list(range(9))
    assert [len(each) for each in Bundles(1).arrange(jobs, 1)] == [1] * 9
    assert [len(each) for each in Bundles().arrange(jobs, 1)] == [1] * 9  # nothing was timed


@pytest.mark.parametrize(("stacked", "width", "told"), [(0.5, 5, "LoRA 2.00"), (1.0, 1, "Alone.*LoRA 1.00")])
def test_timed_steps_decide_and_it_is_said(
    stacked: float, width: int, told: str, specs: list[vxlab.RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "_WORTH_STEPS", 30)
    monkeypatch.setattr(bundling, "time_in_worker", lambda runs, device: StackPace(1.0, stacked, len(runs)))
    jobs, decided = jobs_of(specs), Bundles()
    with make_engine("inline") as engine:
        decided.decide(jobs, engine)
        decided.decide(jobs, engine)
    (sentence,) = decided.in_words()
    assert re.search(told, sentence)
    sizes = [len(each) for each in decided.arrange(jobs[:3], slots=1)]
    assert max(sizes) == min(width, 3)


def test_it_is_said_why_runs_that_were_tried_do_not_stack(
    specs: list[vxlab.RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(runs: Any, device: str) -> StackPace:
        raise vxlab.VxlabError("this model mixes rows")

    monkeypatch.setattr(bundling, "_WORTH_STEPS", 30)
    monkeypatch.setattr(bundling, "time_in_worker", refuse)
    decided = Bundles()
    with make_engine("inline") as engine:
        decided.decide(jobs_of(specs), engine)
    (sentence,) = decided.in_words()
    assert re.fullmatch(r"Runs of LoRA train alone: .*this model mixes rows\.", sentence)


def test_runs_too_short_to_be_timed_go_alone(specs: list[vxlab.RunSpec]) -> None:
    decided = Bundles()
    with make_engine("inline") as engine:
        decided.decide(jobs_of(specs), engine)
    assert decided.paces == {}
    assert decided.in_words() == []


def test_what_is_left_of_a_stacked_sweep_need_not_stack(specs: list[vxlab.RunSpec], tmp_path: Path) -> None:
    vxlab.sweep(specs[:2], store=tmp_path, stack=1, progress=False)
    found = vxlab.sweep([*specs[:3], specs[3]], store=tmp_path, stack=3, progress=False)
    assert (found["status"] == "finished").all()


@pytest.mark.parametrize(("error", "other"), [(RuntimeError("gone"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_what_was_done_when_its_bundle_broke_is_in_the_store(
    error: BaseException, other: str, specs: list[vxlab.RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(places: Any) -> Any:
        train_job(places[0].job, places[0].folder, shared_materials())
        raise error

    monkeypatch.setattr(worker, "_train", breaking)
    with contextlib.suppress(KeyboardInterrupt):
        vxlab.sweep(specs[:2], store=tmp_path, stack=2, progress=False)
    assert sorted(vxlab.Store(tmp_path).table()["status"]) == sorted(["finished", other])


def test_a_bar_says_how_many_kinds_of_runs_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def kept(*given: Any, **named: Any) -> Any:
        made.append(tqdm(total=given[0], disable=False, file=io.StringIO()))
        return made[-1]

    monkeypatch.setattr(bundling, "progress_bar", kept)
    with make_engine("inline") as engine:
        for number in range(3):
            engine.submit(str(number), abs, -number)
        found = bundling.wait_for_timings(engine, 3, "timing", shown=True)
    assert {key: outcome.value for key, outcome in found.items()} == {"0": 0, "1": 1, "2": 2}
    assert (made[0].n, made[0].total) == (3, 3)
