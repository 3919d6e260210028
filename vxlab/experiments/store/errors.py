"""What can go wrong with a results store: which troubles are waited for, and what is said of the others."""

import re
import sqlite3
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from vxlab.errors import VxlabError
from vxlab.words import first_line

Result = TypeVar("Result")

LONGEST_WAIT = 2.0
"""Seconds between two tries at most."""


class StoreError(VxlabError):
    """Report that the results store cannot be used, what of it is safe and what to do."""


class Trouble(NamedTuple):
    """One kind of database error."""

    passes: bool
    """whether waiting may help"""
    says: str
    """what is wrong and what to do, after the store's name"""


_LOCKED = Trouble(True, "is locked by another program")
_FULL = Trouble(False, "is on a full disk; free some space")
_READ_ONLY = Trouble(False, "is read-only; make it and its folder writable, or choose another store")
_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: Trouble(False, "cannot be read or written; is the disk full, over quota or failing?"),
    sqlite3.SQLITE_CANTOPEN: Trouble(False, "cannot be opened; its folder must exist and be writable"),
    sqlite3.SQLITE_PERM: Trouble(False, "cannot be opened; you may not read and write it"),
    sqlite3.SQLITE_CORRUPT: Trouble(
        False, "is damaged; move the file away and start the sweep again: finished runs are taken from their folders"
    ),
    sqlite3.SQLITE_NOTADB: Trouble(False, "is no SQLite file; choose another path"),
}
_GONE = Trouble(True, "cannot be reached")
_POSTGRES = {
    "08": _GONE,
    "57P": _GONE,  # the server shuts down, crashed, or starts
    "53300": Trouble(True, "has no connection left for us"),
    "40": _LOCKED,  # a deadlock, or a transaction to be repeated
    "55P03": _LOCKED,
    "53100": _FULL,
    "25006": Trouble(False, "is read-only; choose a server that takes writes, not a standby"),
    "42501": Trouble(False, "may not be written by this user; grant it the right to create and change tables"),
}
"""By the start of the SQLSTATE."""

_REFUSED = re.compile("FATAL:(?!.*(starting up|shutting down|recovery|too many|reserved for))", re.DOTALL)
"""A server that answers, and will answer the same again: a wrong password, no such database. No SQLSTATE says so."""


def trouble(error: Exception) -> Trouble:
    """Say what an error of the database, or of finding its file, means."""
    if isinstance(error, FileNotFoundError):
        return Trouble(True, "is gone; its file was moved or deleted, or its disk was taken away")
    if isinstance(error, OSError):
        return Trouble(False, f"cannot be opened: {error}")
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # an extended code has the plain one in its low byte
        return _SQLITE.get(code, _unknown(cause))
    return _of_postgres(error, cause)


def patiently(work: Callable[[], Result], patience: float) -> Result:
    """Call until it succeeds, or fails in a way that does not pass, or ``patience`` seconds are over."""
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DBAPIError | OSError) and trouble(error).passes),
        stop=stop_after_delay(patience),
        wait=wait_exponential(multiplier=0.05, max=LONGEST_WAIT) + wait_random(0, 0.05),
        reraise=True,
    )
    return retrying(work)


def _of_postgres(error: Exception, cause: object) -> Trouble:
    state = getattr(cause, "sqlstate", None)
    if state:
        known = [found for start, found in _POSTGRES.items() if state.startswith(start)]
        return known[0] if known else _unknown(cause)
    if _REFUSED.search(str(cause)):
        return Trouble(False, f"refuses us: {str(cause).rpartition('FATAL:')[2].strip()}")
    lost = isinstance(error, DBAPIError) and (
        error.connection_invalidated or type(error).__name__ == "OperationalError"
    )
    return Trouble(True, f"cannot be reached: {first_line(cause)}") if lost else _unknown(cause)


def _unknown(cause: object) -> Trouble:
    return Trouble(False, f"failed: {first_line(cause)}")
