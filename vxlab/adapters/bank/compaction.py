"""Rows that are still somebody's, moved from shards with removed ones into new shards."""

from collections.abc import Sequence

from vxlab.adapters.bank.index import BankIndex
from vxlab.adapters.bank.reading import fetch_rows
from vxlab.adapters.bank.shards import ShardFiles, ShardWriter

_ROWS = 1024
"""moved at a time"""


def rewrite(shards: Sequence[int], index: BankIndex, files: ShardFiles, writer: ShardWriter) -> int:
    """Write what is left of some shards into new ones, and return how many rows that was.

    Within :meth:`BankIndex.writing`, at whose end the new places count, all at once. The old files stay until then.
    """
    moved = 0
    for number in shards:
        entries = index.of_shard(number)
        for start in range(0, len(entries), _ROWS):
            if not moved:
                writer.begin()
            part = entries[start : start + _ROWS]
            places = writer.append(fetch_rows(part, files))
            index.move((*place, entry.name) for place, entry in zip(places, part, strict=True))
            moved += len(part)
    index.drop(shards)
    return moved
