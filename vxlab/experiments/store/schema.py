"""The results store's tables, on SQLite and on Postgres, and how a database comes to have them."""

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

SCHEMA = 1
"""Counts up whenever an older vxlab could not use what this one writes."""

_ALL = MetaData()
_json = JSON(none_as_null=True)

runs = Table(
    "runs",
    _ALL,
    Column("key", String(64), primary_key=True),
    Column("spec_key", String(64), index=True, nullable=False, comment="sha256 of the spec alone"),
    Column("spec", _json, nullable=False),
    Column("identity", _json, nullable=False, comment="what the names in the spec stood for"),
    Column("record", _json, comment="the RunRecord's fields, of a finished or diverged run"),
    Column("predictions", LargeBinary, comment="a safetensors file"),
    Column("status", String(16), nullable=False, comment="running, finished, ended early, diverged or failed"),
    Column("owner", Text, comment="who leased it last"),
    Column("lease", Double, comment="epoch seconds: a running row may be leased by others from then on"),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("traceback", Text),
    Column("at", Double, comment="epoch seconds: when it ended"),
)
meta = Table("meta", _ALL, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False))
_MARK = "vxlab schema"

_LATER = MetaData()
"""Tables that a store gets when they are first written to: those of before lack them, and an older vxlab minds none."""

evaluations = Table(
    "evaluations",
    _LATER,
    Column("key", String(64), primary_key=True),
    Column("run", String(64), index=True, nullable=False, comment="a run's key, empty of a model as it is"),
    Column("fingerprint", Text, nullable=False, comment="of the model, or of the run's base"),
    Column("task", Text, nullable=False),
    Column("fields", _json, nullable=False, comment="the Evaluation's, but for its items"),
    Column("items", LargeBinary, nullable=False, comment="a safetensors file"),
    Column("at", Text, nullable=False, comment="UTC, ISO 8601: when it ended"),
)
replies = Table(
    "replies",
    _LATER,
    Column("key", String(64), primary_key=True, comment="sha256 of all that was asked, and of whom"),
    Column("asked", _json, nullable=False, comment="what it was asked about"),
    Column("reply", _json, nullable=False),
    Column("at", Double, nullable=False, comment="epoch seconds: when it was kept"),
)


class clock(FunctionElement[float]):  # noqa: N801
    """The database's own time in epoch seconds: the drivers' clocks differ."""

    type = Double()
    inherit_cache = True


@compiles(clock, "sqlite")
def _sqlite_clock(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock, "postgresql")
def _postgres_clock(*_: Any, **__: Any) -> str:
    # now() would be the transaction's start, before it waited for a lock.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def create_tables(connection: Connection) -> str:
    """Make the tables in an empty database; return why it cannot be used, "" where it can.

    A store that is there is only read, so that one on a read-only disk can be looked at.
    """
    if _is_empty(connection):
        _lock(connection)
        if _is_empty(connection):  # nobody made them while we waited
            _ALL.create_all(connection)
            connection.execute(insert(meta).values(name=_MARK, value=str(SCHEMA)))
            return ""
    written = _mark(connection)
    if written is None:
        return f"holds tables of something else ({', '.join(sorted(_tables(connection))[:3])}); choose another"
    if written > SCHEMA:
        return f"was written by a newer vxlab (schema {written}; this one knows {SCHEMA}); upgrade vxlab"
    return ""


def create_later(connection: Connection, table: Table) -> None:
    """Make the tables that came later where one is lacking."""
    if table.name not in _tables(connection):
        _lock(connection)
        _LATER.create_all(connection)  # where nobody made it while we waited


def _is_empty(connection: Connection) -> bool:
    there = _tables(connection)
    # A server's database may hold other tables beside ours; a file with other tables is not ours.
    return not there & set(_ALL.tables) if connection.dialect.name == "postgresql" else not there


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _mark(connection: Connection) -> int | None:
    """Return the number of the schema that the tables have, None where they are not ours."""
    if not set(_ALL.tables) <= _tables(connection):
        return None
    columns = {column["name"] for column in inspect(connection).get_columns("meta")}
    if columns != set(meta.columns.keys()):
        return None
    value = connection.execute(select(meta.c.value).where(meta.c.name == _MARK)).scalar()
    return int(value) if value and value.isdecimal() else None


def _lock(connection: Connection) -> None:
    """Let one process at a time make the tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(literal_column("7687522"))))  # any number of our own
        return
    # The mode stays with the file. It can only be changed outside a transaction, and the tables are made in one.
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
