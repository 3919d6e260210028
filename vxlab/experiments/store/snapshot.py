"""A store's file that is written once, with all its runs, and only read from then on."""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from vxlab.experiments.store.ended_run import EndedRun
from vxlab.experiments.store.store import Store
from vxlab.files import write_whole


def write_snapshot(file: Path, found: Iterable[EndedRun]) -> None:
    """Write the SQLite file of a store that holds these runs, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with write_whole(file) as new:
        with Store(new) as store:
            store.take_in(found)
        with contextlib.closing(sqlite3.connect(new)) as connection:
            # Readers of a write-ahead log write beside it, and this may lie where they cannot.
            connection.execute("PRAGMA journal_mode=DELETE")
        new.chmod(0o444)
