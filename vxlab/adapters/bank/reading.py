"""Rows of a bank from its shards, and whether their bytes are those that were added."""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vxlab.adapters.bank.index import BankIndex, IndexEntry
from vxlab.adapters.bank.shards import ShardFiles
from vxlab.spectra import memory_of

_ROWS = 1024
"""compared at a time"""


def fetch_rows(entries: Sequence[IndexEntry], files: ShardFiles) -> Tensor:
    """Return rows ``(n, P)`` in the order of their entries.

    Raises:
        FileNotFoundError: a shard went meanwhile.
    """
    found = torch.empty(len(entries), files.layout.width, dtype=files.layout.dtype)
    shards: dict[int, dict[int, int]] = {}
    for place, entry in enumerate(entries):
        shards.setdefault(entry.shard, {})[place] = entry.row
    for number, rows in shards.items():
        files.copy(number, rows, found)
    return found


def digests(rows: Tensor) -> list[bytes]:
    """Return the sha256 of the bytes of every row of ``(n, P)``, contiguous and on the CPU."""
    memory = memoryview(memory_of(rows)).cast("B")
    size = rows.shape[1] * rows.element_size()
    return [hashlib.sha256(memory[start : start + size]).digest() for start in range(0, len(rows) * size, size)]


def damaged_in(number: int, index: BankIndex, files: ShardFiles) -> Iterator[str]:
    """Yield the names of a shard's adapters whose bytes are not those that were added."""
    entries = index.of_shard(number)
    for start in range(0, len(entries), _ROWS):
        part = entries[start : start + _ROWS]
        for entry, digest in zip(part, digests(fetch_rows(part, files)), strict=True):
            if entry.sha256 != digest:
                yield entry.name
