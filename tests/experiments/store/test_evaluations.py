"""Evaluations in a store, on SQLite and on Postgres, and in stores from before there were any."""

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import postgres
import pytest
from toy_evaluations import METRIC, evaluation
from toy_records import key_of, stored_record

from vxlab.experiments.store.errors import StoreError
from vxlab.experiments.store.store import Store

RUN = key_of(0)


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


def test_the_first_that_comes_stays_unless_it_is_replaced(store: Store) -> None:
    first, second = evaluation([1, 0, 0]), evaluation([1, 1, 1], key=evaluation([1, 0, 0]).key)
    assert store.evaluations.get(first.key) is None
    store.evaluations.keep(first)
    store.evaluations.keep(second)
    assert store.evaluations.get(first.key).scores[METRIC] == 1 / 3
    store.evaluations.keep(second, replace=True)
    assert store.evaluations.get(first.key).scores[METRIC] == 1.0


def test_they_are_found_by_run_model_and_task(store: Store) -> None:
    assert store.evaluations.find() == []
    ours = [
        evaluation([0, 1]), evaluation([1, 1], RUN), evaluation([4.5, 7], task="mt_bench"),
        evaluation([1, 0], fingerprint="2c3d"),
    ]  # fmt: skip
    for number, one in enumerate(ours):
        store.evaluations.keep(evaluation([0], **{**vars(one), "finished_at": f"2026-01-0{number + 1}"}))
    found = store.evaluations
    assert [one.key for one in found.find()] == [one.key for one in ours]
    assert [one.key for one in found.find(run=RUN)] == [ours[1].key]
    assert [one.key for one in found.find(run="", task="arc_easy")] == [ours[0].key, ours[3].key]
    assert [one.key for one in found.find(model="2c3d")] == [ours[3].key]


def test_a_runs_evaluations_go_with_it(store: Store) -> None:
    store.finish(stored_record(store.folder, RUN), "host:1:0.0:me")
    store.remove(key_of(1))  # of which there are none, and no table yet
    store.evaluations.keep(evaluation([1, 0], RUN))
    store.evaluations.keep(evaluation([0, 0]))
    store.remove(RUN)
    assert [one.run for one in store.evaluations.find()] == [""]


def test_several_may_begin_the_table_at_once(store: Store, where: str, tmp_path: Path) -> None:
    def keep(number: int) -> None:
        with Store(where, folder=tmp_path) as other:
            other.evaluations.keep(evaluation([number, 0]))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(keep, range(6)))
    assert len(store.evaluations.find()) == 6


def _tables(file: Path) -> set[str]:
    with sqlite3.connect(file) as connection:
        return {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}


def test_a_store_of_before_is_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store(file) as store:
        store.finish(stored_record(store.folder, RUN), "host:1:0.0:me")
    assert _tables(file) == {"runs", "meta"}  # what stores of before have
    with Store(file) as store:
        assert store.evaluations.find() == []
        assert store.evaluations.get(RUN) is None
        assert _tables(file) == {"runs", "meta"}  # read only
        store.evaluations.keep(evaluation([1, 0], RUN))
    assert _tables(file) == {"runs", "meta", "evaluations", "replies"}  # what came later comes at once
    with Store(file) as store:
        assert len(store.evaluations.find(run=RUN)) == 1
        assert store.record(RUN).key == RUN


def test_a_read_only_store_is_read(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store(file) as store:
        store.finish(stored_record(store.folder, RUN), "host:1:0.0:me")
    with sqlite3.connect(file) as connection:
        connection.execute("pragma journal_mode = delete")
    where = f"sqlite:///file:{file}?mode=ro&uri=true"
    with Store(where, folder=tmp_path / "runs", patience=0.2) as store:
        assert store.evaluations.find() == []
        with pytest.raises(StoreError, match="read-only"):
            store.evaluations.keep(evaluation([1, 0]))
    assert os.path.getsize(file)
