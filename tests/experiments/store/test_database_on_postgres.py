"""What only a server does to a store: it restarts, stays away, hangs up, refuses, and holds other tables."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
import store_drivers
import toy_notebooks
from toy_records import IDENTITY, key_of, stored_record, toy_spec

import vxlab
from vxlab.experiments.store.store import Store, StoreError
from vxlab.views.reports.make_report import report

pytest.importorskip("psycopg", reason="needs psycopg")
import psycopg

KEY, OTHER = key_of(0), key_of(1)
ME = "host:1:0.0:me"


@pytest.fixture
def store(server: postgres.Server, tmp_path: Path) -> Iterator[Store]:
    """Return a store with one finished run."""
    with Store(server.emptied(), folder=tmp_path / "runs", patience=1) as store:
        store.finish(stored_record(store.folder, KEY), ME)
        yield store


def _lease(store: Store, key: str = OTHER) -> bool:
    return store.lease(key, toy_spec(), IDENTITY, ME, failed_before=None)


def test_a_server_that_restarts_is_waited_for(store: Store, server: postgres.Server) -> None:
    store._database.patience = 60
    for mode in ("fast", "immediate"):  # with a word to its clients, and as if it crashed
        server.stop(mode)
        back = threading.Timer(1.0, server.start)
        back.start()
        assert _lease(store)
        back.join()
    record = store.record(KEY)
    assert record is not None
    assert store.status([OTHER])[OTHER].attempts == 2


def test_a_server_that_stays_away_ends_in_a_clear_error(store: Store, server: postgres.Server) -> None:
    server.stop()
    started = time.monotonic()
    try:
        with pytest.raises(StoreError, match=r"cannot be reached: .*Connection refused.* \(waited 1 s\)") as said:
            _lease(store)
        assert 1 <= time.monotonic() - started < 10
        with pytest.raises(
            StoreError, match=rf"store postgresql\+psycopg://tester@127.0.0.1:{server.port}/postgres cannot"
        ):
            Store(server.url(), patience=0.1)
    finally:
        server.start()
    assert f"Finished runs are safe in {store.folder}; start the same again" in str(said.value)
    assert _lease(store)


def test_a_server_that_hangs_up_is_called_again(store: Store, server: postgres.Server) -> None:
    store._database.patience = 20
    store.now()
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    assert _lease(store)


def test_a_connection_that_breaks_before_the_answer_repeats_the_statement(
    store: Store, server: postgres.Server
) -> None:
    store._database.patience = 20
    broken: list[bool] = []

    def work(connection: object) -> float:
        if not broken:
            broken.append(True)
            server.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        return connection.exec_driver_sql("select 1").scalar()  # type: ignore[attr-defined, no-any-return]

    assert store._database.do(work) == 1


def test_a_locked_table_ends_in_a_clear_error(store: Store, server: postgres.Server) -> None:
    with psycopg.connect(server.url().replace("+psycopg", "")) as other:
        other.execute("lock table runs")
        with pytest.raises(StoreError, match=r"is locked by another program \(waited 1 s\)"):
            _lease(store)
        other.rollback()
        assert _lease(store)


@pytest.mark.parametrize(
    ("database", "secret", "message"),
    [
        ("postgres", "wr0ng", r'refuses us: password authentication failed for user "tester"'),
        ("nowhere", postgres.SECRET, r'refuses us: database "nowhere" does not exist'),
    ],
)
def test_a_server_that_refuses_is_an_error_at_once_without_the_password(
    server: postgres.Server, database: str, secret: str, message: str
) -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match=message) as said:
        Store(server.url(database, secret), patience=60)
    assert time.monotonic() - started < 5
    chain = f"{said.value} {said.value.__cause__} {said.value.__cause__!r}"
    assert secret not in chain


def test_no_password_is_shown_or_exported(store: Store, server: postgres.Server, tmp_path: Path) -> None:
    assert postgres.SECRET in server.url()
    inside = store._database
    shown = f"{store!r} {store.name} {inside.url!r} {inside.url.render_as_string(hide_password=False)} {vars(inside)}"
    assert postgres.SECRET not in shown
    assert postgres.SECRET not in store.export(tmp_path / "table.csv").read_text()


def test_a_password_in_the_query_opens_the_store_and_is_shown_nowhere(server: postgres.Server, tmp_path: Path) -> None:
    plain = server.emptied().replace(f":{postgres.SECRET}@", "@")
    with Store(f"{plain}?password={postgres.SECRET}&application_name=x", folder=tmp_path) as store:
        assert _lease(store)
        assert store._database.url.query == {"application_name": "x"}
        assert postgres.SECRET not in f"{store!r} {store.name} {vars(store._database)}"


PEEK = """\
import os
from vxlab.experiments.store.store import Store
with_password = store.replace("@", ":" + os.environ["PGPASSWORD"] + "@")
print(with_password, os.environ["PGPASSWORD"])
with Store(store) as opened:
    print(len(opened.table()), "run", opened)
raise RuntimeError(f"{with_password} failed with {opened._database._engine!r}")"""


def test_a_report_on_a_server_reads_the_store_and_writes_the_password_nowhere(
    store: Store,
    server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres.SECRET)
    source = toy_notebooks.write(
        tmp_path / "peek.ipynb",
        toy_notebooks.code(PEEK),
        parameters='store: str = "reports"  # of runs\nseed: int = 0  # of nothing',
    )
    url = server.url().replace(f":{postgres.SECRET}@", "@")
    with pytest.raises(vxlab.VxlabError, match=r"RuntimeError: .*tester:\*\*\*@127") as said:
        report(source, {"store": url}, folder=tmp_path / "made")
    made = [path for path in (tmp_path / "made").iterdir() if path.is_file()]
    assert {path.suffix for path in made} == {".ipynb", ".html"}
    assert any("1 run Store(" in path.read_text() for path in made)
    written = [path.name.encode() + path.read_bytes() for path in made]
    shown = f"{said.value} {capfd.readouterr()}".encode()
    assert [each for each in (*written, shown) if postgres.SECRET.encode() in each] == []


def test_a_user_who_may_not_write_is_told_so(store: Store, server: postgres.Server) -> None:
    server.execute("alter database postgres set default_transaction_read_only = on")
    try:
        store.close()
        with pytest.raises(StoreError, match="is read-only; choose a server that takes writes"):
            _lease(store)
        assert store.record(KEY) is not None
    finally:
        server.execute("set transaction_read_only = off; alter database postgres reset default_transaction_read_only")


def test_a_store_lives_beside_other_tables(server: postgres.Server, tmp_path: Path) -> None:
    server.execute("create table if not exists notes (text text)")
    with Store(server.emptied(), folder=tmp_path) as store:
        assert _lease(store)
    server.execute("drop table notes")


def test_tables_of_something_else_are_refused(server: postgres.Server) -> None:
    where = server.emptied()
    server.execute("create table runs (run_uuid text)")
    with pytest.raises(StoreError, match=r"holds tables of something else \(runs\); choose another"):
        Store(where)


def test_a_store_of_a_newer_version_is_refused(store: Store, server: postgres.Server) -> None:
    server.execute("update meta set value = '99'")
    with pytest.raises(StoreError, match="was written by a newer vxlab"):
        Store(server.url())


def test_processes_may_open_a_new_store_at_once(server: postgres.Server, tmp_path: Path) -> None:
    where = server.emptied()
    jobs = [(where, tmp_path / "runs", [key_of(i)], tmp_path / f"said{i}") for i in range(6)]
    with store_drivers.running(store_drivers.take_all, *jobs) as processes:
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6
    with Store(where, folder=tmp_path / "runs") as store:
        assert len(store.table()) == 6


def test_the_plain_scheme_means_the_driver_we_use(server: postgres.Server, tmp_path: Path) -> None:
    with Store(server.emptied().replace("+psycopg", ""), folder=tmp_path) as store:
        assert store.name == f"postgresql+psycopg://tester@127.0.0.1:{server.port}/postgres"


def test_a_servers_runs_lie_in_the_reports_folder(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    with Store(server.emptied()) as store:
        assert store.folder == tmp_path / "runs"


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(vxlab.VxlabError, match=r"store='postgresql\+psycopg://me@host/db' needs psycopg: pip install"):
        Store("postgresql://me:s3cret@host/db")
