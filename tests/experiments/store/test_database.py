"""Where a store may be, and what is said when its SQLite file is locked, full, foreign, damaged or gone."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import store_drivers
from sqlalchemy import event, update
from toy_records import IDENTITY, key_of, stored_record, toy_spec

import vxlab
from vxlab.experiments.store.schema import SCHEMA, meta
from vxlab.experiments.store.store import Store, StoreError

KEY, OTHER = key_of(0), key_of(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "runs.db", patience=0.3) as store:
        store.finish(stored_record(store.folder, KEY), "host:1:0.0:me")
        yield store


def _lease(store: Store, key: str = OTHER) -> bool:
    return store.lease(key, toy_spec(), IDENTITY, "host:1:0.0:me", failed_before=None)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin exclusive")
    yield other
    other.close()


@contextlib.contextmanager
def _unprivileged() -> Iterator[None]:
    """Drop root's right to write what is read-only."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


# Where


@pytest.mark.parametrize(
    ("where", "file", "folder"),
    [
        ("there", "there/runs.db", "there/runs"),
        ("new", "new/runs.db", "new/runs"),
        ("deep/new/mine.sqlite", "deep/new/mine.sqlite", "deep/new/mine"),
        ("sqlite:///mine.db", "mine.db", "mine"),
        ("sqlite:///mine", "mine", "mine.runs"),
        ("sqlite:///deep/new/mine", "deep/new/mine", "deep/new/mine.runs"),
        ("sqlite:///there", "there/runs.db", "there/runs"),
        ("SQLite+pysqlite:///mine.db", "mine.db", "mine"),
        ("sqlite:///with%20space.db", "with space.db", "with space"),
        ("100%.db", "100%.db", "100%"),
        ("why?.db", "why?.db", "why?"),
        ("file.txt", "file.txt", "file"),
        (Path("there"), "there/runs.db", "there/runs"),
        (None, "reports/runs.db", "reports/runs"),
    ],
)
def test_a_store_is_a_file_with_the_runs_folders_beside_it(
    where: str | Path | None, file: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VXLAB_REPORTS", raising=False)
    (tmp_path / "there").mkdir()
    with Store(where) as store:
        assert (store.name, store.folder) == (str(tmp_path / file), tmp_path / folder)
        assert (tmp_path / file).is_file()
        assert store.folder_of(KEY) == tmp_path / folder / KEY[:16]
    with Store(where, folder="elsewhere") as store:
        assert store.folder == tmp_path / "elsewhere"


def test_a_reports_folder_may_have_a_dot_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path / "v1.2"))
    with Store() as store:
        assert (store.name, store.folder) == (str(tmp_path / "v1.2" / "runs.db"), tmp_path / "v1.2" / "runs")


def test_a_file_without_a_suffix_is_a_store_or_is_refused_as_it_is(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'results'}"), Store(tmp_path / "results") as store:
        assert store.name == str(tmp_path / "results")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(vxlab.VxlabError, match="notes is no SQLite file; choose another path"):
        Store(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    "where", ["mysql://me:s3cret@host/db", "sqlite://", "postgresql://me:s3cret@host?password=s3cret"]
)
def test_other_databases_are_refused_without_showing_a_password(where: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"neither the URL of an SQLite file nor of a Postgres database") as said:
        Store(where)
    assert "s3cret" not in str(said.value)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (":memory:", "would be lost with this process"),
        ("sqlite:///:memory:", "would be lost with this process"),
        ("sqlite:///file::memory:?uri=true", "would be lost with this process"),
        ("sqlite:///file:x?mode=memory&uri=true", "would be lost with this process"),
        ("sqlite:///why?.db", "has a \\?, which begins a URL's options; write the path itself, or %3F"),
        ("sqlite:mine.db", "store='sqlite:mine.db' is neither a path nor a URL; write sqlite:///runs.db"),
        ("sqlite:/mine.db", "is neither a path nor a URL"),
        ("sqlite+aiosqlite:///mine.db", "is neither the URL of an SQLite file nor of a Postgres database"),
        ("postgresql+asyncpg://host/db", "is neither the URL of an SQLite file nor of a Postgres database"),
        ("a\0b.db", "store='a\\\\x00b.db' is no path: embedded null byte"),
        ("x" * 300 + ".db", "is no path: .*File name too long"),
        ("~nobody_here/x.db", "is no path: Could not determine home directory"),
        (3, "store=3 is an int; it must be a text or None"),
        (["a.db"], r"store=\['a.db'\] is a list; it must be a text or None"),
    ],
)
def test_what_is_no_place_for_a_store_is_refused_and_nothing_is_made(
    where: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vxlab.VxlabError, match=message) as said:
        Store(where)
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": "60"}, "patience='60' is a text; it must be a number: write patience=60, without quotes"),
        ({"patience": -1}, "patience=-1 is no time to wait; choose 0 seconds or more"),
        ({"lease_seconds": None}, "lease_seconds=None is a NoneType; it must be a number"),
        ({"folder": 3}, "folder=3 is an int; it must be a text or None"),
        ({"folder": __file__}, "test_database.py' is a file; name the folder of the runs"),
        ({"folder": "a\0b"}, "is no path: embedded null byte"),
    ],
)
def test_options_of_a_store_are_checked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        Store(tmp_path / "runs.db", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_url_that_is_none_is_not_shown() -> None:
    with pytest.raises(vxlab.VxlabError, match="this URL cannot be read") as said:
        Store("postgresql+psycopg://me:s3cret@host:port/db")
    assert "s3cret" not in str(said.value)


def test_a_store_is_in_wal_mode_and_syncs_every_commit(store: Store) -> None:
    with store._database._engine.connect() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2


def test_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    jobs = [(str(tmp_path / "runs.db"), tmp_path / "runs", [key_of(i)], tmp_path / f"said{i}") for i in range(6)]
    with store_drivers.running(store_drivers.take_all, *jobs) as processes:
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6
    with Store(tmp_path) as store:
        assert len(store.table()) == 6


# Trouble


def test_a_locked_file_is_waited_for(store: Store) -> None:
    store._database.patience = 20
    with _locked(Path(store.name)) as other:
        timer = threading.Timer(0.6, lambda: other.execute("rollback"))
        timer.start()
        assert _lease(store)
        timer.join()


def test_a_file_that_stays_locked_ends_in_a_clear_error(store: Store) -> None:
    started = time.monotonic()
    with (
        _locked(Path(store.name)),
        pytest.raises(StoreError, match=r"is locked by another program \(waited 0.3 s\)") as said,
    ):
        _lease(store)
    assert 0.3 <= time.monotonic() - started < 5
    assert f"Finished runs are safe in {store.folder}; start the same again" in str(said.value)
    assert store.record(KEY) is not None
    assert _lease(store)


def test_a_full_disk_is_an_error_at_once(store: Store) -> None:
    store._database.patience = 60

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("pragma max_page_count = 20")

    event.listen(store._database._engine, "connect", limit)
    store.close()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"runs\.db is on a full disk; free some space\nFinished runs are safe in"):
        all(_lease(store, key_of(number)) for number in range(2, 200))
    assert time.monotonic() - started < 10
    assert store.record(KEY) is not None


def test_a_read_only_file_can_be_read_and_says_so_when_written(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own is closed to other users
    try:
        with Store(folder) as store:
            store.finish(stored_record(store.folder, KEY), "host:1:0.0:me")
            store.table()  # so that all that is needed is imported
            folder.chmod(0o755)
            for path in folder.glob("runs.db*"):
                path.chmod(0o444)
            with _unprivileged(), Store(folder, patience=60) as other:
                assert len(other.table()) == 1
                with pytest.raises(StoreError, match=r"runs\.db is read-only; make it and its folder writable"):
                    _lease(other)
    finally:
        shutil.rmtree(folder)


def test_a_folder_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"store .*/file/new/runs\.db cannot be opened: .*Not a directory"):
        Store(tmp_path / "file" / "new")


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    store._database.do(lambda connection: connection.execute(update(meta).values(value=str(SCHEMA + 1))))
    with pytest.raises(
        StoreError, match=rf"newer vxlab \(schema {SCHEMA + 1}; this one knows {SCHEMA}\); upgrade vxlab"
    ):
        Store(store.name)


@pytest.mark.parametrize(
    "table",
    ["notes (text)", "runs (key)", "meta (name, value)", "meta (id)", "runs (key)|meta (name, value)"],
)
def test_a_database_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path, table: str) -> None:
    path = tmp_path / "theirs.db"
    with contextlib.closing(sqlite3.connect(path)) as theirs:
        for each in table.split("|"):
            theirs.execute(f"create table {each}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"theirs\.db holds tables of something else \((meta|notes|runs)"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"key,status\n" * 500, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"table\.csv is no SQLite file; choose another path"):
        Store(path)
    assert path.read_bytes() == content


def test_a_damaged_file_says_what_to_do(store: Store) -> None:
    for number in range(2, 40):
        _lease(store, key_of(number))
    store.close()
    path = Path(store.name)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError, match="is damaged; move the file away and start the sweep again"):
        store.table()


def test_a_file_that_was_moved_away_is_waited_for(store: Store) -> None:
    store._database.patience = 20
    path = Path(store.name)
    store.close()
    away = path.with_name("away.db")
    path.rename(away)
    timer = threading.Timer(0.5, lambda: away.rename(path))
    timer.start()
    assert _lease(store)
    timer.join()
    assert store.record(KEY) is not None


def test_a_file_that_stays_away_ends_in_a_clear_error_and_no_new_file(store: Store) -> None:
    Path(store.name).unlink()
    with pytest.raises(StoreError, match=r"is gone; its file was moved or deleted.*\nFinished runs are safe in"):
        _lease(store)
    assert not Path(store.name).exists()


def test_a_file_that_takes_the_place_of_a_deleted_one_is_written_to(store: Store, tmp_path: Path) -> None:
    assert store.record(KEY) is not None
    Store(tmp_path / "other.db").close()
    for path in tmp_path.glob("runs.db*"):
        path.unlink()
    (tmp_path / "other.db").rename(store.name)
    assert _lease(store, KEY)
    with Store(store.name) as again:
        assert again.status([KEY])[KEY].status == "running"


def test_finished_runs_can_be_put_into_a_new_store(store: Store) -> None:
    record = store.record(KEY)
    assert record is not None
    record.save()
    Path(store.name).unlink()
    with Store(store.name) as new:
        found = vxlab.RunRecord.load(new.folder_of(KEY))
        assert found is not None
        new.finish(found, "host:1:0.0:me")
        assert new.record(KEY) == record
