"""The database under a results store: where it is, and statements that wait for it."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Row,
    create_engine,
    event,
    literal_column,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments.store.errors import StoreError, patiently, trouble
from vxlab.experiments.store.schema import create_tables, runs
from vxlab.paths import reports_folder
from vxlab.redact import redact

Result = TypeVar("Result")

LOCK_SECONDS = 5.0
"""How long the database itself waits for a lock before we hear of it."""

CHUNK = 500
"""Keys in one query: databases limit the number of its values."""

_SCHEMES = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a store's URL may begin with, and the driver that it asks for."""

_SECRETS = ("password", "sslpassword")
"""Options of a connection that nobody may see."""

PROBES = {"connect_timeout": 10, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""A server whose machine vanished answers nothing: without probing it, a driver would wait for hours."""


def is_there(where: str | Path | None) -> bool:
    """Say whether a store exists, without making one; a server is taken to have it."""
    file = _file(_url(where))
    return file is None or file.is_file()


def store_place(where: str | Path | None) -> str:
    """Return where a store is or would be, without its password."""
    url = _url(where)
    return str(_file(url) or _without_query(url))


def storable(text: str) -> str:
    """Replace what Postgres does not take in a text: NUL, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class Database:
    """An SQLite file or a Postgres database, with our tables in it.

    Every statement is a transaction of its own and may be repeated, so that it can be tried again although the
    connection broke before the answer came.
    """

    def __init__(
        self, where: str | Path | None, folder: str | Path | None, patience: float, read_only: bool = False
    ) -> None:
        self.url, secrets = _parted(_url(where))
        self.file = _file(self.url)
        self.name = store_place(where)
        self.folder = _path("folder", settle("folder", folder, str | None) or _beside(self.file))
        if self.folder.is_file():
            raise VxlabError(f"folder={str(self.folder)!r} is a file; name the folder of the runs")
        if read_only and not is_there(where):
            raise VxlabError(f"store={self.name!r} is not there, and only what is there can be read; name another")
        self.patience, self.read_only = patience, read_only
        self._ready = False
        self._inode = (0, 0)
        self._engine = _engine(self.url, secrets, patience, self.name)
        try:
            if refused := self.do(create_tables):
                raise StoreError(f"store {self.name} {refused}")
        except StoreError:
            self.close()
            raise
        self._ready = True

    def do(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in a transaction, again and again while the database is locked or out of reach.

        Raises:
            StoreError: patience is over, or waiting cannot help.
        """
        try:
            return patiently(partial(self._once, work), self.patience)
        except (DBAPIError, OSError) as error:
            found = trouble(error)
            waited = f" (waited {self.patience:g} s)" if found.passes else ""
            safe = f"\nFinished runs are safe in {self.folder}; start the same again and it goes on where it stopped"
            told = f"store {self.name} {found.says}{waited}{safe if self._ready else ''}"
            raise StoreError(redact(told)) from error

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work``, which changes something, as :meth:`do` does.

        Raises:
            StoreError: as :meth:`do`, or the store is only read.
        """
        self.require_writable()
        return self.do(work)

    def require_writable(self) -> None:
        """Raise StoreError where the store is only read."""
        if self.read_only:
            raise StoreError(
                f"store {self.name} is only read, as an atlas is: nothing is trained, kept or deleted in it; name "
                "another, such as store='runs.db'"
            )

    def rows(self, columns: Iterable[ColumnElement[Any]], keys: Iterable[str] | None) -> list[Row[Any]]:
        """Return columns of the runs with these keys; None: of all."""
        query = select(*columns)
        if keys is None:
            return self.do(lambda connection: list(connection.execute(query)))
        wanted = list(keys)
        queries = [query.where(runs.c.key.in_(wanted[i : i + CHUNK])) for i in range(0, len(wanted), CHUNK)]
        return self.do(lambda connection: [row for each in queries for row in connection.execute(each)])

    def put(self, values: dict[str, Any], condition: ColumnElement[bool], attempts: ColumnElement[int]) -> bool:
        """Insert a row, or change the one with its key where the condition holds; say whether it was done.

        One statement, so that of several who ask at once one gets it. Its answer is the row's key, not the count of
        rows, of which the two databases have different notions.
        """
        insert = (postgresql if self.url.get_backend_name() == "postgresql" else sqlite).insert(runs).values(**values)
        proposed: dict[str, Any] = {name: literal_column(f"excluded.{name}") for name in values}
        statement = insert.on_conflict_do_update(
            index_elements=[runs.c.key], set_=proposed | {"attempts": attempts}, where=condition
        )
        return self.write(lambda connection: connection.execute(statement.returning(runs.c.key)).first() is not None)

    def put_all(self, rows: Sequence[dict[str, Any]], condition: ColumnElement[bool]) -> None:
        """Insert rows of the same columns, or change those with their keys where the condition holds, all or none."""
        insert = (postgresql if self.url.get_backend_name() == "postgresql" else sqlite).insert(runs)
        proposed: dict[str, Any] = {name: insert.excluded[name] for name in rows[0]}
        statement = insert.on_conflict_do_update(index_elements=[runs.c.key], set_=proposed, where=condition)
        self.write(lambda connection: connection.execute(statement, list(rows)).close())

    def change(self, condition: ColumnElement[bool], **values: Any) -> None:
        """Change the rows where the condition holds."""
        self.write(lambda connection: connection.execute(update(runs).where(condition).values(**values)).close())

    def close(self) -> None:
        """Close the connections; the next statement opens one again."""
        self._engine.dispose()

    def _once(self, work: Callable[[Connection], Result]) -> Result:
        if self.file is not None:
            self._follow(self.file)
        with self._engine.begin() as connection:
            return work(connection)

    def _follow(self, file: Path) -> None:
        """See that the file is there, and the same: an open connection would go on writing to a deleted one."""
        if not self._ready:
            file.parent.mkdir(parents=True, exist_ok=True)
            return
        found = file.stat()
        if (found.st_dev, found.st_ino) != self._inode:
            self.close()
            self._inode = (found.st_dev, found.st_ino)


def _url(where: str | Path | None) -> URL:
    path = settle("store", where, str | None)
    if path and "://" in path:
        return _read_url(path)
    if path == ":memory:":
        raise _lost(path)
    if path and re.match(r"(sqlite|postgres\w*)(\+\w+)?:", path):
        raise VxlabError(f"store={redact(path)!r} is neither a path nor a URL; write sqlite:///runs.db")
    return URL.create("sqlite", database=str(_in_folder(_path("store", path or reports_folder() / "runs.db"))))


def _read_url(where: str) -> URL:
    scheme, _, rest = where.partition("://")
    scheme = _SCHEMES.get(scheme.lower(), scheme.lower())
    try:
        url = make_url(f"{scheme}://{rest}")
    except (ArgumentError, ValueError):
        raise VxlabError("store: this URL cannot be read; write postgresql+psycopg://user@host/database") from None
    if scheme not in _SCHEMES.values() or not url.database:
        raise VxlabError(
            f"store={_without_query(url)!r} is neither the URL of an SQLite file nor of a Postgres database; "
            "write a path, or postgresql+psycopg://user@host/database"
        )
    if scheme != "sqlite":
        return url
    if ":memory:" in url.database or url.query.get("mode") == "memory":
        raise _lost(where)
    if "?" in where and not url.query:
        raise VxlabError(f"store={where!r} has a ?, which begins a URL's options; write the path itself, or %3F")
    if url.database.startswith("file:"):
        return url
    return url.set(database=str(_in_folder(_path("store", url.database), named=True)))


def _lost(where: str) -> VxlabError:
    return VxlabError(f"store={where!r} would be lost with this process, and workers could not see it; name a file")


def _path(argument: str, path: str | Path) -> Path:
    """Return an absolute path, or refuse what no file system takes."""
    try:
        absolute = Path(path).expanduser().absolute()
        absolute.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return absolute  # what is not there yet; whether it can be made, its opening says
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, the home of nobody, a name of 300 characters
        raise VxlabError(f"{argument}={quote(str(path))} is no path: {error}") from error
    return absolute


def _in_folder(path: Path, named: bool = False) -> Path:
    """Return the file of a store: ``runs.db`` in a folder, or in what has no suffix and is no file, or ``named`` so."""
    return path / "runs.db" if path.is_dir() or not (named or path.suffix or path.is_file()) else path


def _file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    return Path((url.database or "").removeprefix("file:")).expanduser().absolute()


def _beside(file: Path | None) -> Path:
    """Return the folder of the runs of a database in a file, or on a server."""
    if file is None:
        return reports_folder() / "runs"
    return file.with_suffix("") if file.suffix else file.with_name(f"{file.name}.runs")


def _parted(url: URL) -> tuple[URL, dict[str, str]]:
    """Part a URL from its passwords, which may stand in the query, too: whatever shows the URL shows none."""
    secrets = {name: str(url.query[name]) for name in _SECRETS if name in url.query}
    if url.password:
        secrets["password"] = str(url.password)
    plain = URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    return plain.difference_update_query(_SECRETS), secrets


def _without_query(url: URL) -> str:
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()


def _engine(url: URL, secrets: dict[str, str], patience: float, name: str) -> Engine:
    """Return an engine that waits a while for locks, finds dead connections and writes no NaN into JSON."""
    seconds, file = min(LOCK_SECONDS, patience), url.get_backend_name() == "sqlite"
    probes: dict[str, Any] = {option: value for option, value in PROBES.items() if option not in url.query}
    options = {
        "connect_args": {"timeout": seconds} if file else probes | secrets,
        "pool_pre_ping": not file,
        "json_serializer": partial(json.dumps, allow_nan=False),
        "hide_parameters": True,
    }
    # SQLite's other choice in WAL mode may lose acknowledged rows in a power cut; a run is long beside an fsync.
    at_first = "PRAGMA synchronous=FULL" if file else f"SET lock_timeout = {1 + int(1000 * seconds)}"
    try:
        engine = create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise VxlabError(f"store={name!r} needs {error.name}: pip install 'psycopg[binary]'") from None
    event.listen(engine, "connect", partial(_greet, at_first))
    return engine


def _greet(statement: str, connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
    connection.commit()
