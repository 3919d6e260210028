"""One writer at a time: a lock that the system lets go of when its process ends, however it ends."""

import sqlite3
from pathlib import Path

from vxlab.errors import VxlabError

LOCK_FILE = "writer.lock"


def lock_for_writing(folder: Path) -> sqlite3.Connection:
    """Return what holds a bank's lock until it is closed.

    It is SQLite's own lock on an empty file: the same on every system, and let go of with the process.

    Raises:
        VxlabError: another holds it, or the folder cannot be written.
    """
    connection = sqlite3.connect(folder / LOCK_FILE, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise VxlabError(
                f"the bank in {folder} is open for writing elsewhere, in this process or another, and has one writer "
                "at a time; close that one first, or open it with writable=False"
            ) from error
        raise VxlabError(f"the bank in {folder} cannot be written ({error}); open it with writable=False") from error
    return connection
