"""What models replied to what they were asked, kept beside the runs by content, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, inspect, select
from sqlalchemy.dialects import postgresql, sqlite

from vxlab.experiments.store.database import CHUNK, Database, storable
from vxlab.experiments.store.schema import clock, create_later, replies


class KeptReply(NamedTuple):
    """A reply as a store has it."""

    asked: dict[str, Any]
    """what it was asked about"""
    reply: dict[str, Any]
    at: float
    """epoch seconds: when it was kept"""


def reply_key(content: Mapping[str, Any]) -> str:
    """Return the sha256 of all that decides a reply, given as JSON values.

    >>> reply_key({"model": "m", "repeat": 0}) == reply_key({"repeat": 0, "model": "m"})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


class KeptReplies:
    """The replies of a store, each under the key of all that decided it.

    A store from before there were any is read as one that has none, and written to as any other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, keys: Iterable[str]) -> dict[str, KeptReply]:
        """Return by key what there is of the replies with these keys."""
        wanted, query = list(dict.fromkeys(keys)), select(replies)
        queries = [query.where(replies.c.key.in_(wanted[i : i + CHUNK])) for i in range(0, len(wanted), CHUNK)]

        def read(connection: Connection) -> list[Any]:
            if not inspect(connection).has_table(replies.name):
                return []
            return [row for each in queries for row in connection.execute(each)]

        return {row.key: KeptReply(row.asked, row.reply, row.at) for row in self._database.do(read)}

    def keep(self, key: str, asked: Mapping[str, Any], reply: Mapping[str, Any]) -> KeptReply:
        """Keep a reply, and return what is kept: of several with one key the first, whoever brought it.

        Args:
            key: from :func:`reply_key`, of what was asked.
            asked: what it was asked about, for people who look at the table.
            reply: as JSON values.
        """
        values = {"key": key, "asked": _storable(asked), "reply": _storable(reply), "at": clock()}

        def put(connection: Connection) -> None:
            create_later(connection, replies)
            kind = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert: Any = kind.insert(replies).values(**values)
            connection.execute(insert.on_conflict_do_nothing(index_elements=[replies.c.key]))

        self._database.write(put)
        return self.find([key])[key]


def _storable(value: Any) -> Any:
    """Return JSON values with all their texts as both databases take them."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {name: _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list | tuple) else value
