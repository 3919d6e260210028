"""Which row of which shard is whose: an SQLite file, which says by itself what counts."""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vxlab.errors import VxlabError
from vxlab.words import first_line

INDEX_FILE = "index.sqlite"
_PATIENCE = 30.0
"""Seconds that a statement waits for another process's: none of them holds a lock for longer than a write takes."""
_CHUNK = 10_000
"""names in one statement"""
_SCHEMA = """
CREATE TABLE shards (number INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, live INTEGER NOT NULL);
CREATE TABLE adapters (
    name TEXT PRIMARY KEY, shard INTEGER NOT NULL, row INTEGER NOT NULL, sha256 BLOB NOT NULL, added INTEGER NOT NULL
) WITHOUT ROWID;
"""
_FORMAT = 1


class IndexEntry(NamedTuple):
    """Where an adapter lies."""

    name: str
    shard: int
    row: int
    sha256: bytes
    """of the row's bytes"""
    added: int
    """epoch seconds"""


class BankIndex:
    """A bank's index, for reading, and for writing within :meth:`writing`.

    It is in SQLite's WAL mode: readers go on while one writes, and what was committed is on the disk.

    Args:
        folder: the bank's.
        writable: whether to write, too.
    """

    def __init__(self, folder: Path, writable: bool) -> None:
        self.path, self._may_write = folder / INDEX_FILE, writable
        self._lock, self._writers = threading.RLock(), threading.RLock()
        self._seen: tuple[int, ...] | None = None
        self._connection, self._process, self._opened_by = self._connect(), os.getpid(), os.getpid()
        self._writer = self._connect() if writable else None  # of its own, beside which other threads read
        if self.one("PRAGMA user_version") != _FORMAT:
            self.close()
            raise VxlabError(f"{self.path} is no index of this vxlab's format {_FORMAT}; take it from a copy")

    @property
    def writable(self) -> bool:
        """Whether this process may write: one forked from such may not."""
        return self._writer is not None and self._opened_by == os.getpid()

    def find(self, names: Sequence[str]) -> dict[str, IndexEntry]:
        """Return where those of these names lie that are there, by name."""
        query = "SELECT * FROM adapters WHERE name IN (SELECT value FROM json_each(?))"
        chunks = (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
        found = (IndexEntry(*each) for chunk in chunks for each in self.all(query, json.dumps(chunk)))
        return {each.name: each for each in found}

    def names(self) -> Iterator[str]:
        """Yield all names in their order; those that come or go meanwhile may be among them or not."""
        last = ""
        while chunk := self.all("SELECT name FROM adapters WHERE name > ? ORDER BY name LIMIT ?", last, _CHUNK):
            yield from (name for (name,) in chunk)
            ((last,),) = chunk[-1:]

    def around(self, name: str, count: int) -> list[str]:
        """Return the names that come next to one in their order, on both sides."""
        before = self.all("SELECT name FROM adapters WHERE name < ? ORDER BY name DESC LIMIT ?", name, count)
        after = self.all("SELECT name FROM adapters WHERE name >= ? ORDER BY name LIMIT ?", name, count)
        return [each for (each,) in (*before[::-1], *after)]

    def of_shard(self, number: int) -> list[IndexEntry]:
        """Return the adapters of a shard, by row."""
        found = self.all("SELECT * FROM adapters WHERE shard = ? ORDER BY row", number)
        return [IndexEntry(*each) for each in found]

    def counts(self) -> dict[int, int]:
        """Return how many rows of each shard count, removed ones among them, by its number."""
        return dict(self.all("SELECT number, rows FROM shards ORDER BY number"))

    def with_removed(self) -> list[int]:
        """Return the shards that hold rows of removed adapters."""
        return [number for (number,) in self.all("SELECT number FROM shards WHERE live < rows ORDER BY number")]

    def last_shard(self) -> int:
        """Return the highest number that a shard ever had."""
        return int(self.one("SELECT max(seq) FROM sqlite_sequence WHERE name = 'shards'") or 0)

    def __len__(self) -> int:
        return int(self.one("SELECT total(live) FROM shards"))

    def check(self) -> None:
        """Raise where the file itself is damaged."""
        if (told := self.one("PRAGMA quick_check(1)")) != "ok":
            raise VxlabError(f"{self.path} is damaged: {told}; take it from a copy")

    @contextlib.contextmanager
    def one_writer(self) -> Iterator[None]:
        """Let one thread write at a time, and no call within another."""
        with self._writers:
            if self._open_writer.in_transaction:
                raise VxlabError(
                    f"{self.path.parent} was to be written while adapters are being added, by what they come from; "
                    "make the list of them first, and add it then"
                )
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Make all changes within this context count at its end, or, after any error, none."""
        with _telling(self.path):
            self._open_writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._open_writer.execute("COMMIT")
            except BaseException:
                if self._open_writer.in_transaction:
                    self._open_writer.execute("ROLLBACK")
                raise

    def put(self, entries: Iterable[tuple[str, int, int, bytes]]) -> None:
        """Add adapters: each one's name, shard, row and sha256."""
        now = int(time.time())
        self._many("INSERT INTO adapters VALUES (?, ?, ?, ?, ?)", ((*each, now) for each in entries))

    def grow(self, counts: Mapping[int, int]) -> None:
        """Take down how many rows shards have now, the new ones of them all in use."""
        query = (
            "INSERT INTO shards VALUES (?1, ?2, ?2) "
            "ON CONFLICT (number) DO UPDATE SET live = live + excluded.rows - rows, rows = excluded.rows"
        )
        self._many(query, counts.items())

    def move(self, places: Iterable[tuple[int, int, str]]) -> None:
        """Say where adapters lie now: each one's shard, row and name."""
        self._many("UPDATE adapters SET shard = ?, row = ? WHERE name = ?", places)

    def remove(self, entry: IndexEntry) -> None:
        """Forget an adapter; its row stays in its shard until that is compacted."""
        self._many("DELETE FROM adapters WHERE name = ?", [(entry.name,)])
        self._many("UPDATE shards SET live = live - 1 WHERE number = ?", [(entry.shard,)])

    def drop(self, shards: Iterable[int]) -> None:
        """Forget shards."""
        self._many("DELETE FROM shards WHERE number = ?", ((number,) for number in shards))

    def one(self, query: str, *values: object) -> Any:
        """Return the one value that a query finds."""
        ((found,),) = self.all(query, *values)
        return found

    def all(self, query: str, *values: object) -> list[Any]:
        """Return the rows that a query finds."""
        with self._lock, _telling(self.path):
            if os.getpid() != self._process:
                self._begin_anew()
            elif self._seen is not None and self._seen != self._see():
                self._connection.close()
                self._connection = self._connect()
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file; the last to do so leaves nothing beside it."""
        with self._lock, self._writers:
            for connection in (self._connection, self._writer):
                if connection is not None:
                    connection.close()

    def _begin_anew(self) -> None:
        """Open the file again in a forked process, for reading: there the parent's connection is not to be touched."""
        self._inherited = self._connection  # never closed
        self._connection, self._process = self._connect(), os.getpid()

    def _many(self, query: str, values: Iterable[Sequence[object]]) -> None:
        self._open_writer.executemany(query, values)

    @property
    def _open_writer(self) -> sqlite3.Connection:
        assert self._writer is not None
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        with _telling(self.path):
            alone = not self._may_write and self._is_unwritable()
            self._seen = self._see() if alone else None
            mode = "rw" if self._may_write else "ro&immutable=1" if alone else "ro"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            # The other choice in WAL mode may lose acknowledged adapters in a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            return connection

    def _is_unwritable(self) -> bool:
        """Tell whether SQLite can have no files of its own beside the index, and has to be told that nobody writes."""
        log, memory = (self.path.with_name(f"{self.path.name}-{end}") for end in ("wal", "shm"))
        if os.access(self.path.parent, os.W_OK) or (log.exists() and memory.exists()):
            return False
        if log.exists() and log.stat().st_size:
            raise VxlabError(
                f"{self.path.parent} cannot be written, and its index has changes beside it ({log.name}) that were not "
                "yet taken in; open the bank once where it can be written"
            )
        return True

    def _see(self) -> tuple[int, ...]:
        """Return what shows that somebody writes after all."""
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, self.path.with_name(f"{self.path.name}-wal").exists()


def make_index(folder: Path) -> None:
    """Write an empty index into a new folder."""
    with contextlib.closing(sqlite3.connect(folder / INDEX_FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ones that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise VxlabError(
            f"{path}: {first_line(error)}; what was acknowledged is safe, so see that there is room on the disk and "
            "that nobody holds the file, or where it is damaged take it from a copy"
        ) from error
