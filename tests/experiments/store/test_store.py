"""The store's laws, on SQLite and, where it is installed, on Postgres."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import postgres
import pytest
import store_drivers
import torch
from toy_records import IDENTITY, diverged_record, key_of, stored_record, toy_spec

import vxlab
from vxlab.experiments.record import RunRecord
from vxlab.experiments.store.store import Store, new_owner, open_store
from vxlab.experiments.store.table import COLUMNS

KEY = key_of(0)
ME, YOU = "host:1:0.0:me", "host:2:0.0:you"


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where an empty store of its own may be."""
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    server: postgres.Server = request.getfixturevalue("server")
    return server.emptied()


@pytest.fixture
def store(where: str, tmp_path: Path) -> Iterator[Store]:
    with Store(where, folder=tmp_path / "runs", patience=2) as store:
        yield store


def _lease(store: Store, owner: str, key: str = KEY, failed_before: float | None = None) -> bool:
    return store.lease(key, toy_spec(), IDENTITY, owner, failed_before=failed_before)


def _finish(store: Store, key: str = KEY, owner: str = ME, **changed: object) -> RunRecord:
    record = stored_record(store.folder, key, **changed)
    store.finish(record, owner)
    return record


def _wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# Leases


def test_a_run_is_leased_by_one_owner(store: Store) -> None:
    assert _lease(store, ME)
    assert not _lease(store, YOU)
    row = store.status([KEY])[KEY]
    assert (row.status, row.owner, row.attempts, row.error, row.at) == ("running", ME, 1, None, None)
    assert store.now() < row.lease <= store.now() + store.lease_seconds


def test_an_owner_may_ask_again(store: Store) -> None:
    assert _lease(store, ME)
    assert _lease(store, ME)
    assert store.status([KEY])[KEY].attempts == 2


def test_a_lease_that_is_over_frees_the_run(where: str, tmp_path: Path) -> None:
    with Store(where, folder=tmp_path, lease_seconds=0.2) as store:
        assert _lease(store, ME)
        assert not _lease(store, YOU)
        time.sleep(0.3)
        assert _lease(store, YOU)
        assert store.status([KEY])[KEY].attempts == 2


def test_renewing_keeps_a_lease_and_takes_back_none(where: str, tmp_path: Path) -> None:
    with Store(where, folder=tmp_path, lease_seconds=0.4) as store:
        assert _lease(store, ME)
        for _ in range(4):
            time.sleep(0.15)
            store.renew(ME)
        assert not _lease(store, YOU)
        time.sleep(0.5)
        assert _lease(store, YOU)
        store.renew(ME)
        assert store.status([KEY])[KEY].owner == YOU


def test_a_released_run_is_anyones_and_stays_so(store: Store) -> None:
    other = key_of(1)
    assert all(_lease(store, ME, key) for key in (KEY, other))
    store.release(ME, KEY)
    store.renew(ME)
    assert _lease(store, YOU)
    assert not _lease(store, YOU, other)
    store.release(ME)
    assert _lease(store, YOU, other)
    assert not _lease(store, ME)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_what_has_ended_is_never_leased(store: Store, status: str) -> None:
    _finish(store, status=status)
    assert not _lease(store, YOU, failed_before=math.inf)


def test_a_failed_run_is_leased_only_where_it_failed_before(store: Store) -> None:
    before = store.now()
    _lease(store, ME)
    store.fail(KEY, ME, "ValueError: no", "Traceback ...")
    after = store.now() + 0.01
    assert not _lease(store, YOU)
    assert not _lease(store, YOU, failed_before=before)
    row = store.status([KEY])[KEY]
    assert (row.status, row.error, row.traceback) == ("failed", "ValueError: no", "Traceback ...")
    assert before <= row.at <= after
    assert _lease(store, YOU, failed_before=after)
    row = store.status([KEY])[KEY]
    assert (row.status, row.error, row.traceback, row.at, row.attempts) == ("running", None, None, None, 2)


def test_the_clock_is_the_databases_in_epoch_seconds(store: Store) -> None:
    assert abs(store.now() - time.time()) < 1
    first = store.now()
    time.sleep(0.02)
    assert 0.01 < store.now() - first < 5


# Results


def test_a_finished_run_comes_back_as_it_was(store: Store) -> None:
    _lease(store, ME)
    record = _finish(store)
    assert store.record(KEY) == record
    assert store.record(KEY).folder == store.folder_of(KEY)  # type: ignore[union-attr]
    assert all(map(torch.equal, store.predictions(KEY), record.predictions()))
    assert store.record(key_of(1)) is None


def test_results_outlive_their_folder(store: Store) -> None:
    record = _finish(store)
    logits, labels = record.predictions()
    (record.folder / "predictions.safetensors").unlink()
    assert all(map(torch.equal, store.predictions(KEY), (logits, labels)))


def test_no_number_is_null_in_the_database_and_nan_again_in_the_record(store: Store) -> None:
    record = diverged_record(store.folder / "d", _finish(store, key_of(1)), step_seconds=math.nan)
    record = RunRecord.from_fields(record.fields() | {"key": KEY}, store.folder_of(KEY))
    store.finish(record, ME)
    found = store.record(KEY)
    assert found is not None
    assert found.status == "diverged"
    assert math.isnan(found.curve[-1]["loss"])
    assert math.isnan(found.step_seconds)
    assert found.best_epoch is None
    with pytest.raises(vxlab.VxlabError, match=r"\(diverged\) holds no predictions for split='test'"):
        store.predictions(KEY)


def test_predictions_say_what_is_missing(store: Store) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"run 5feceb66ffc8 \(not in the store\) holds no predictions"):
        store.predictions(KEY)
    _finish(store)
    with pytest.raises(vxlab.VxlabError, match=r"\(finished\) holds no predictions for split='train'"):
        store.predictions(KEY, "train")


def test_the_first_result_is_kept(store: Store) -> None:
    _lease(store, ME)
    first = _finish(store)
    _finish(store, owner=YOU, train_seconds=99.0)
    store.fail(KEY, ME, "late", "")
    store.release(ME)
    assert store.record(KEY) == first
    assert store.status([KEY])[KEY].status == "finished"
    assert len(store.table()) == 1


def test_a_driver_that_was_thought_dead_may_finish(where: str, tmp_path: Path) -> None:
    with Store(where, folder=tmp_path, lease_seconds=0.05) as store:
        _lease(store, ME)
        time.sleep(0.1)
        assert _lease(store, YOU)
        mine = _finish(store, owner=ME)
        _finish(store, owner=YOU, train_seconds=99.0)
        assert store.record(KEY) == mine
        assert store.status([KEY])[KEY].attempts == 2


def test_a_failure_counts_only_while_the_run_is_held(store: Store) -> None:
    store.fail(KEY, ME, "no row", "")
    assert store.status([KEY]) == {}
    _lease(store, YOU)
    store.fail(KEY, ME, "not mine", "")
    assert store.status([KEY])[KEY].status == "running"


def test_any_text_can_be_an_error(store: Store) -> None:
    _lease(store, ME)
    store.fail(KEY, ME, "Error: \0 and \ud800 and ∆W ☃", "x" * 100_000)
    row = store.status([KEY])[KEY]
    assert row.error == "Error: \N{REPLACEMENT CHARACTER} and ? and ∆W ☃"
    assert len(row.traceback) == 100_000


def test_a_record_can_be_put_in_unleased(store: Store) -> None:
    record = _finish(store)
    assert store.record(KEY) == record


def test_a_forgotten_run_can_be_leased_anew(store: Store) -> None:
    _finish(store)
    store.forget(KEY)
    assert store.record(KEY) is None
    assert _lease(store, ME)


def test_the_same_spec_under_another_key_tells_what_it_was_made_of(store: Store) -> None:
    old = IDENTITY | {"task": "ffff accuracy f1"}
    _finish(store, key_of(1), identity=IDENTITY | {"vxlab": "0.9"})
    _finish(store, key_of(2), identity=old)
    _finish(store, key_of(3), spec=toy_spec(seed=5))
    store.lease(key_of(4), toy_spec(), IDENTITY, ME, failed_before=None)
    assert store.same_spec_elsewhere(KEY, toy_spec()) == old
    assert store.same_spec_elsewhere(KEY, toy_spec(device="cpu", learning_rate=0.001)) == old
    assert store.same_spec_elsewhere(key_of(2), toy_spec()) == IDENTITY | {"vxlab": "0.9"}
    assert store.same_spec_elsewhere(key_of(3), toy_spec(seed=5)) is None


# Many


def test_many_keys_are_asked_for_at_once(store: Store) -> None:
    _lease(store, ME)
    _lease(store, ME, key_of(39_999))
    keys = [key_of(i) for i in range(40_000)]
    assert set(store.status(keys)) == {KEY, keys[-1]}
    assert store.status([]) == {}
    assert len(store.table([])) == 0


def test_many_processes_lease_every_run_once(where: str, tmp_path: Path) -> None:
    keys = [key_of(i) for i in range(200)]
    said = [tmp_path / f"said{i}" for i in range(8)]
    orders = [random.Random(i).sample(keys, len(keys)) for i in range(8)]
    jobs = [(where, tmp_path / "runs", order, file) for order, file in zip(orders, said, strict=True)]
    with store_drivers.running(store_drivers.take_all, *jobs) as processes:
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    done = [key for file in said for key in file.read_text().split()]
    assert sorted(done) == sorted(keys)
    with Store(where, folder=tmp_path / "runs") as store:
        table = store.table()
    assert sorted(table["key"]) == sorted(keys)
    assert (table["status"] == "finished").all()
    assert (table["attempts"] == 1).all()


def test_a_killed_driver_loses_nothing_acknowledged(where: str, tmp_path: Path) -> None:
    keys = [key_of(i) for i in range(200)]
    said = [tmp_path / f"said{i}" for i in range(3)]
    with store_drivers.running(
        store_drivers.take_all, *((where, tmp_path / "runs", keys, file) for file in said)
    ) as processes:
        _wait_until(lambda: any(file.exists() and file.read_text().count("\n") >= 20 for file in said))
        busy = next(number for number, file in enumerate(said) if file.exists() and file.read_text().count("\n") >= 20)
        processes[busy].kill()
        for process in processes:
            process.join(120)
        assert sorted(process.exitcode or 0 for process in processes) == [-9, 0, 0]
    with Store(where, folder=tmp_path / "runs") as store:
        states = store.status(keys)
        acknowledged = {key for file in said for key in file.read_text().split("\n")[:-1]}
        assert all(states[key].status == "finished" for key in acknowledged)
        left = [key for key in keys if key not in states or states[key].status != "finished"]
        assert len(left) <= 1, "the killed driver held one run at most"
        store.release_dead()
        assert all(_lease(store, ME, key) for key in left)


def test_a_dead_process_on_this_machine_loses_its_leases_at_once(where: str, tmp_path: Path) -> None:
    mine, elsewhere = new_owner(), "elsewhere:1:0.0:ab"
    keys = [key_of(i) for i in range(4)]
    said = tmp_path / "said"
    with Store(where, folder=tmp_path) as store:
        with store_drivers.running(store_drivers.hold, (where, tmp_path, keys[:2], said)) as (process,):
            _wait_until(lambda: said.exists() and said.read_text())
            _lease(store, mine, keys[2])
            _lease(store, elsewhere, keys[3])
            store.release_dead()
            assert not any(_lease(store, YOU, key) for key in keys)
            process.kill()
            process.join()
            store.release_dead()
        assert [_lease(store, YOU, key) for key in keys] == [True, True, False, False]


def test_another_process_with_a_dead_ones_number_keeps_nothing_alive(store: Store) -> None:
    host, pid, start, _ = new_owner().rsplit(":", 3)
    earlier = f"{host}:{pid}:{float(start) - 100}:ab"
    _lease(store, earlier)
    store.release_dead()
    assert _lease(store, YOU)


# Tables


def test_the_table_has_a_row_for_each_run_whatever_became_of_it(store: Store) -> None:
    keys = [key_of(i) for i in range(5)]
    good = _finish(store, keys[0], spec=toy_spec(method=vxlab.VeRA(rank=64), seed=3, train_examples=100))
    _finish(store, keys[1], spec=toy_spec(method=vxlab.Head()), status="diverged", metrics=[], best_epoch=None)
    for key, method in zip(keys[2:], (vxlab.LoRA(rank=8), vxlab.LoRA(rank=2), vxlab.LoRAXS(rank=4)), strict=True):
        store.lease(key, toy_spec(method=method, targets=("query", "key")), IDENTITY, ME, failed_before=None)
    store.fail(keys[2], ME, "ValueError: no", "")
    store.release(ME, keys[3])
    table = store.table()
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    rows = {row["key"]: row for row in table.to_dict("records")}
    assert [rows[key]["status"] for key in keys] == ["finished", "diverged", "failed", "stopped", "running"]
    assert [rows[key]["label"] for key in keys] == ["VeRA r=64", "head only", "LoRA r=8", "LoRA r=2", "LoRA-XS r=4"]
    first = rows[keys[0]]
    assert (first["method"], first["rank"], first["seed"], first["train_examples"]) == ("vera", 64, 3, 100)
    assert (first["metric"], first["validation"], first["test"]) == ("accuracy", 0.81, good.score())
    assert (first["backbone"], first["head"], first["steps"], first["precision"]) == (9216, 770, 60, "float32")
    assert first["finished_at"] == "2026-01-01T00:00:00+00:00"
    assert first["folder"] == str(store.folder_of(keys[0]))
    assert table.set_index("key")["rank"].isna().to_dict()[keys[1]]
    assert math.isnan(rows[keys[1]]["test"])
    assert rows[keys[2]]["error"] == "ValueError: no"
    assert rows[keys[2]]["targets"] == "query, key"
    assert table.set_index("key")["finished_at"].isna().to_dict()[keys[3]]


def test_an_empty_table_has_every_column(store: Store) -> None:
    assert {name: str(kind) for name, kind in store.table().dtypes.items()} == COLUMNS


def test_a_table_does_not_depend_on_which_run_ended_first(store: Store, tmp_path: Path) -> None:
    specs = [toy_spec(method=vxlab.LoRA(rank=rank), seed=seed) for rank in (2, 8, 16) for seed in (0, 1)]
    numbers = list(range(len(specs)))
    for number in random.Random(0).sample(numbers, len(numbers)):
        _finish(store, key_of(number), spec=specs[number])
    table = store.table()
    assert list(zip(table["rank"], table["seed"], strict=True)) == [(r, s) for r in (2, 8, 16) for s in (0, 1)]
    assert list(store.table([key_of(2), key_of(1)])["key"]) == [key_of(1), key_of(2)]


@pytest.mark.parametrize("name", ["out/table.parquet", "table.csv"])
def test_an_exported_table_reads_back(store: Store, tmp_path: Path, name: str) -> None:
    _finish(store)
    _lease(store, ME, key_of(1))
    path = store.export(tmp_path / name)
    read = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=COLUMNS)
    pd.testing.assert_frame_equal(read, store.table())
    assert [each.name for each in path.parent.iterdir() if "table" in each.name] == [path.name]


def test_an_export_that_fails_leaves_what_was_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish(store)
    path = tmp_path / "out" / "table.csv"
    store.export(path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        path.with_name(".table.csv.half").write_text("key,")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(vxlab.VxlabError, match=r"table\.csv' cannot be written: No space left on device"):
        store.export(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "shown"), [("table.xlsx", r"'\.xlsx'"), ("table", "'nothing'")])
def test_an_export_knows_two_formats(store: Store, tmp_path: Path, name: str, shown: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=rf"ends in {shown}; choose \.parquet or \.csv"):
        store.export(tmp_path / name)


# The store itself


def test_a_store_is_opened_again_with_what_it_had(where: str, tmp_path: Path) -> None:
    with Store(where, folder=tmp_path) as store:
        record = _finish(store)
    with Store(where, folder=tmp_path) as store:
        assert store.record(KEY) == record


def test_opened_leaves_the_callers_store_open(store: Store) -> None:
    with open_store(store) as same:
        assert same is store
    assert store.now() > 0


def test_threads_share_a_store(store: Store) -> None:
    done = threading.Event()
    store._database.patience = 60

    def renew() -> None:
        while not done.wait(0.005):
            store.renew(ME)

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        try:
            for number in range(20):
                assert _lease(store, ME, key_of(number))
                _finish(store, key_of(number))
        finally:
            done.set()
        renewing.result()
    assert (store.table()["status"] == "finished").all()


def test_nan_never_reaches_the_database(store: Store) -> None:
    with pytest.raises(Exception, match="not JSON compliant"):
        store.lease(KEY, toy_spec() | {"warmup": math.nan}, IDENTITY, ME, failed_before=None)
    assert store.status([KEY]) == {}


# Runs of other stores


def test_runs_that_ended_come_out_and_go_into_another_store(store: Store, tmp_path: Path) -> None:
    ended = [_finish(store, key_of(number)).key for number in (1, 2)]
    _lease(store, ME, key_of(3))
    found = list(store.ended())
    assert [run.key for run in found] == sorted(ended)
    assert [run.key for run in store.ended([ended[0], key_of(3), key_of(4)])] == ended[:1]
    with Store(tmp_path / "other.db") as other:
        _lease(other, ME, found[0].key)
        other.take_in(found)
        assert list(other.ended()) == found
        other.take_in([found[0]._replace(status="diverged")])  # the first that comes is kept
        assert list(other.ended()) == found
        assert other.record(found[0].key).score() == store.record(found[0].key).score()
    store.take_in(found)
    assert list(store.ended()) == found


def test_a_store_that_is_only_read_is_read(where: str, store: Store) -> None:
    _finish(store)
    with Store(where, folder=store.folder, read_only=True) as reader:
        pd.testing.assert_frame_equal(reader.table(), store.table())
        assert not _lease(reader, ME)  # it has ended
        reader.release_dead()
        for write in (lambda: _lease(reader, ME, key_of(1)), lambda: reader.forget(KEY), lambda: reader.remove(KEY)):
            with pytest.raises(vxlab.VxlabError, match="is only read, as an atlas is: nothing is trained, kept or"):
                write()
    assert store.status([KEY, key_of(1)]).keys() == {KEY}


def test_only_what_is_there_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"runs\.db' is not there, and only what is there can be read"):
        Store(tmp_path / "runs.db", read_only=True)
    assert not (tmp_path / "runs.db").exists()
