"""Sweeps: each run once, whatever dies; a run that fails is a row; the table is the same however it came about."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import postgres
import pytest
import sweep_script
import toy_runs
from places import SUPPORT

import vxlab
from vxlab.experiments.record import RunRecord
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps import worker as worker_module
from vxlab.experiments.sweeps.driver import hold_interrupts

TIMED = ["step_seconds", "train_seconds", "peak_memory", "attempts", "finished_at", "folder"]
"""What differs from one training to the next."""


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=TIMED)


def curves(table: pd.DataFrame) -> list[Any]:
    """Return every run's losses: scores on a few items may agree by chance."""
    return [getattr(RunRecord.load(Path(folder)), "curve", None) for folder in table["folder"]]


def sweep(specs: list[vxlab.RunSpec], store: Any, **options: Any) -> pd.DataFrame:
    return vxlab.sweep(specs, store=store, progress=False, **options)


def start(
    model: str, task: str, store: str, engine: str = "inline", runs: int = sweep_script.RUNS, *, waits: bool = False
) -> "subprocess.Popen[str]":
    command = [sys.executable, str(Path(sweep_script.__file__)), model, task, store, engine, str(runs)]
    pipes = {"stdin": subprocess.PIPE if waits else subprocess.DEVNULL, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, stderr=subprocess.PIPE, text=True, cwd=SUPPORT)


@pytest.fixture(scope="module")
def whole(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return the table of a sweep that nothing interrupted."""
    return sweep(sweep_script.specs(tiny_model, toy_task), tmp_path_factory.mktemp("whole"))


def test_a_sweep_is_a_table_of_its_runs_in_their_order(whole: pd.DataFrame) -> None:
    assert whole["label"].tolist() == ["LoRA r=2", "VeRA r=4", "LoRA-XS r=2", "head only"] * 3
    assert whole["seed"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert set(whole["status"]) == {"finished"}
    assert whole["test"].between(0, 1).all()


def test_a_sweep_gives_the_numbers_of_its_runs_alone(
    whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = sweep_script.specs(tiny_model, toy_task)[5]
    alone = vxlab.run(spec, store=tmp_path, progress=False)
    together = RunRecord.load(Path(whole["folder"][5]))
    assert together is not None
    assert (alone.metrics, alone.curve) == (together.metrics, together.curve)


def test_nothing_is_trained_twice(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    first = sweep([spec, spec], tmp_path)
    assert len(first) == 2
    assert first["key"].nunique() == 1
    monkeypatch.setattr(worker_module, "train_job", None)
    again = sweep([spec], tmp_path)
    pd.testing.assert_frame_equal(again, first.iloc[:1])
    assert vxlab.run(spec, store=tmp_path).key == first["key"][0]  # one run and a sweep share a store


def test_without_training_what_the_store_has_is_given_and_what_it_lacks_is_named(
    whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "train_job", None)
    specs = sweep_script.specs(tiny_model, toy_task)
    kept = Path(whole["folder"][0]).parents[1]
    pd.testing.assert_frame_equal(sweep(specs[:2], kept, train=False), whole.iloc[:2])
    lacking = (
        r"train=False, and .* lacks 2 of 2 runs: LoRA r=2 at 0.01, seed 0; VeRA r=4 .*; train them with train=True"
    )
    with pytest.raises(vxlab.VxlabError, match=lacking):
        sweep(specs[:2], tmp_path, train=False)


def test_the_model_is_loaded_once(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.runs import inputs as materials

    loaded = []
    load = materials.load_model
    monkeypatch.setattr(materials, "load_model", lambda *which: loaded.append(which) or load(*which))
    sweep([toy_runs.spec(tiny_model, toy_task, epochs=1, seed=seed) for seed in range(3)], tmp_path)
    assert loaded == [(tiny_model, 2, None)]


def test_a_run_that_fails_is_a_row_and_the_sweep_goes_on(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = worker_module.train_job

    def broken(job: Any, *others: Any) -> Any:
        if job.spec.seed == 1:
            raise RuntimeError("no such luck\nsecond line")
        return execute(job, *others)

    specs = [toy_runs.spec(tiny_model, toy_task, epochs=1, seed=seed) for seed in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "train_job", broken)
        table = sweep(specs, tmp_path)
    assert table["status"].tolist() == ["finished", "failed", "finished"]
    assert table["error"][1].startswith("RuntimeError: no such luck")
    with Store(tmp_path) as store:
        assert "in broken" in store.status([table["key"][1]])[table["key"][1]].traceback
    assert sweep(specs, tmp_path)["status"].tolist() == ["finished"] * 3  # a new call tries it again


def test_out_of_memory_is_told_with_advice(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> Any:
        import torch

        return torch.empty(2**60)

    monkeypatch.setattr(worker_module, "train_job", greedy)
    error = sweep([toy_runs.spec(tiny_model, toy_task, epochs=1)], tmp_path)["error"][0]
    assert "out of memory" in error
    assert "batch_size" in error


def test_a_rank_above_the_layers_limit_is_refused_before_anything_runs(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    methods = [vxlab.LoRA(rank=2), vxlab.LoRAXS(rank=33), vxlab.LoRAXS(rank=99)]
    with pytest.raises(
        vxlab.VxlabError, match=r"(?s)2 of 3 methods do not fit, and nothing has run:.*r=33.*rank=33.*rank=99"
    ):
        sweep([toy_runs.spec(tiny_model, toy_task, method=method) for method in methods], tmp_path)
    with Store(tmp_path) as store:
        assert store.table().empty


def test_an_empty_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match="specs is empty"):
        sweep([], tmp_path)


def test_ctrl_c_releases_the_run_and_says_how_to_go_on(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [toy_runs.spec(tiny_model, toy_task, epochs=1, seed=seed) for seed in range(2)]
    execute = worker_module.train_job

    def interrupted(job: Any, *others: Any) -> Any:
        if job.spec.seed == 1:
            raise KeyboardInterrupt
        return execute(job, *others)

    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "train_job", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vxlab.sweep(specs, store=tmp_path)
    assert "Stopped with 1 of 2 runs done. Do the same again to go on" in capsys.readouterr().out
    with Store(tmp_path) as store:
        assert sorted(store.table()["status"]) == ["finished", "stopped"]
    started = time.monotonic()
    assert set(sweep(specs, tmp_path)["status"]) == {"finished"}
    assert time.monotonic() - started < 30  # and not after the lease


def test_ctrl_c_waits_for_what_is_being_written() -> None:
    written = []

    def write() -> None:
        with hold_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            written.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert written == ["all of it"]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sweep_killed_again_and_again_loses_and_repeats_nothing(
    whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path, kills: int
) -> None:
    random_moment = random.Random(kills)
    seen: Counter[str] = Counter()
    for kill in range(kills):
        where = tmp_path / str(kill if kills > 2 else 0)
        process = start(tiny_model, toy_task, str(where))
        assert process.stdout is not None
        process.stdout.readline()
        _wait_for_more_runs(where, random_moment.randint(1, 5))
        time.sleep(random_moment.uniform(0, 1))
        process.kill()
        process.communicate()
        with Store(where) as store:
            before = store.table()
        finished = before[before["status"] == "finished"].set_index("key")["finished_at"]
        seen[len(finished)] += 1
        if kills > 2:
            _finish_and_compare(whole, tiny_model, toy_task, where, finished)
    if kills == 2:
        _finish_and_compare(whole, tiny_model, toy_task, tmp_path / "0", finished)
    print("runs finished at the kill:", dict(seen))


def _wait_for_more_runs(where: Path, count: int) -> None:
    """Return where so many more runs of a sweep have written their records, or none is left to."""

    def written() -> int:
        return len(list(where.glob("runs/*/record.json")))

    enough, deadline = min(written() + count, sweep_script.RUNS), time.monotonic() + 120
    while written() < enough:
        assert time.monotonic() < deadline, f"{written()} of {enough} runs"
        time.sleep(0.05)


def _finish_and_compare(whole: pd.DataFrame, model: str, task: str, where: Path, finished: "pd.Series[str]") -> None:
    table = sweep(sweep_script.specs(model, task), where)
    pd.testing.assert_frame_equal(comparable(table), comparable(whole))
    assert table.set_index("key")["finished_at"].loc[finished.index].equals(finished)  # not one was trained again
    assert curves(table) == curves(whole)
    with Store(where) as store:
        assert len(store.table()) == len(whole)


def test_two_drivers_share_a_sweep(whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    _two_drivers(whole, tiny_model, toy_task, str(tmp_path))


@pytest.mark.slow  # leases on Postgres are tried in test_store.py
def test_two_drivers_share_a_sweep_on_postgres(
    whole: pd.DataFrame,
    tiny_model: str,
    toy_task: str,
    server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    _two_drivers(whole, tiny_model, toy_task, server.emptied())


def _two_drivers(whole: pd.DataFrame, model: str, task: str, store: str) -> None:
    drivers = [start(model, task, store, waits=True) for _ in range(2)]
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:  # neither has trained everything before the other has loaded torch
        assert driver.stdin is not None
        driver.stdin.write("\n")
        driver.stdin.flush()
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
    with Store(store) as results:
        table = results.table()
        owners = {state.owner for state in results.status(table["key"]).values()}
    assert table["attempts"].tolist() == [1] * len(whole)  # every run was leased once
    assert len(owners) == 2  # and both took part
    keys = whole["key"].tolist()
    pd.testing.assert_frame_equal(
        comparable(table.set_index("key", drop=False).loc[keys].reset_index(drop=True)), comparable(whole)
    )


def test_processes_give_the_same_table(whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    table = sweep(sweep_script.specs(tiny_model, toy_task, 4), tmp_path, engine="processes", workers=2)
    pd.testing.assert_frame_equal(comparable(table), comparable(whole.iloc[:4]))
    assert curves(table) == curves(whole.iloc[:4])


def test_a_worker_without_the_drivers_files_sends_them_back(
    whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    from vxlab.experiments.engines.inline import InlineEngine

    class Apart(InlineEngine):
        shared_files = False

    table = sweep(sweep_script.specs(tiny_model, toy_task, 2), tmp_path, engine=Apart())
    pd.testing.assert_frame_equal(comparable(table), comparable(whole.iloc[:2]))
    assert {path.name for path in Path(table["folder"][0]).iterdir()} == {
        "adapter",
        "record.json",
        "predictions.safetensors",
    }


def test_a_run_gives_the_same_numbers_first_and_later_in_a_process(
    whole: pd.DataFrame, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = sweep_script.specs(tiny_model, toy_task)[4]
    assert curves(sweep([spec], tmp_path)) == curves(whole.iloc[[4]])


def test_what_workers_sent_back_is_on_the_disk_before_the_store_can_fail(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.engines.inline import InlineEngine
    from vxlab.experiments.store.store import StoreError

    class Batch(InlineEngine):
        shared_files = False
        slots = 2

        def finished(self, timeout: float) -> list[Any]:
            return super().finished(timeout) + super().finished(timeout)

    def away(*_: Any) -> None:
        raise StoreError("the database has gone")

    specs = sweep_script.specs(tiny_model, toy_task, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "finish", away)
        with pytest.raises(StoreError, match="the database has gone"):
            sweep(specs, tmp_path, engine=Batch())
    monkeypatch.setattr(worker_module, "train_job", None)
    assert set(sweep(specs, tmp_path)["status"]) == {"finished"}


def test_a_full_disk_stops_the_sweep(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_module, "train_job", full)
    with pytest.raises(
        vxlab.VxlabError, match=r"No space left on device; free some space in .*runs. Do the same again"
    ):
        sweep(sweep_script.specs(tiny_model, toy_task, 2), tmp_path)
    with Store(tmp_path) as store:
        assert set(store.table()["status"]) == {"stopped"}


def test_a_database_that_goes_in_mid_sweep_stops_it_and_loses_nothing(
    whole: pd.DataFrame,
    tiny_model: str,
    toy_task: str,
    server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = server.emptied()
    execute = worker_module.train_job
    trained: list[int] = []

    def stopping(job: Any, *others: Any) -> Any:
        record = execute(job, *others)
        trained.append(job.spec.seed)
        if len(trained) == 2:
            server.stop("immediate")
        return record

    specs = sweep_script.specs(tiny_model, toy_task, 4)
    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "train_job", stopping)
        store = Store(where, folder=tmp_path / "runs", patience=1, lease_seconds=3)
        try:
            with store, pytest.raises(vxlab.VxlabError, match="again"):
                sweep(specs, store)
        finally:
            server.start()  # others' too
    with Store(where, folder=tmp_path / "runs") as store:
        table = sweep(specs, store)
    assert len(trained) == 2
    pd.testing.assert_frame_equal(comparable(table), comparable(whole.iloc[:4]))


def test_two_runs_never_work_in_one_folder(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    from filelock import FileLock, Timeout

    from vxlab.experiments.runs import one_run as run_module

    with run_module._alone_in(tmp_path), pytest.raises(Timeout):
        FileLock(tmp_path / ".lock", timeout=0.1).acquire()
    assert not (tmp_path / ".lock").exists()


def test_a_worker_with_other_data_is_refused(tiny_model: str, toy_task: str) -> None:
    spec = toy_runs.spec(tiny_model, toy_task)
    with pytest.raises(vxlab.VxlabError, match="another model, task or version of vxlab than the driver"):
        worker_module.train_in_worker([(spec, "0" * 64)], "cpu", None)
