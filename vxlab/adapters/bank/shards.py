"""Rows on disk: safetensors files of one tensor (rows, P) each, that grow at their end and are read by memory map.

A file has a header of a fixed size, whose count of rows is written anew after the rows that it counts. How many rows
count is what the index says: a file that a killed process left longer than that is cut when the bank is next opened for
writing, and until then what is beyond is not read.
"""

import ctypes
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vxlab.adapters.bank.layout import RowLayout
from vxlab.errors import VxlabError
from vxlab.spectra import memory_of
from vxlab.words import first_line

SHARD_BYTES = 2**30
"""A shard takes no further row beyond this, so that compacting needs little room beside it."""
_HEADER_BYTES = 4096
"""of a page, so that the rows are aligned"""
_PATTERN = re.compile(r"rows-(\d{6})\.safetensors")
_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def shard_file(folder: Path, number: int) -> Path:
    """Return where a shard lies."""
    return folder / f"rows-{number:06d}.safetensors"


def shards_in(folder: Path) -> dict[int, Path]:
    """Return the files with a shard's name, by number, whatever they hold."""
    found = ((_PATTERN.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for match, path in found if match}


class ShardFiles:
    """The shards of one bank, for reading.

    Args:
        folder: the bank's.
        layout: of a row.
        key: the bank's own mark.
    """

    def __init__(self, folder: Path, layout: RowLayout, key: str) -> None:
        self.folder, self.layout, self.key = folder, layout, key
        self.capacity = max(1, SHARD_BYTES // layout.row_bytes)
        self._maps: dict[int, Tensor] = {}

    def copy(self, number: int, rows: Mapping[int, int], into: Tensor) -> None:
        """Copy rows of one shard.

        Args:
            number: the shard's.
            rows: which row goes where, by its place in ``into``.
            into: ``(n, P)``, contiguous and on the CPU.

        Raises:
            FileNotFoundError: the shard went, as after compacting.
            VxlabError: it is shorter than its rows, or no shard of this bank.
        """
        mapped, size = self._map(number, max(rows.values()) + 1), self.layout.row_bytes
        source, target = mapped.data_ptr(), into.data_ptr()
        # Not by torch's index_select: on a busy machine its threads wait for one another, 16 ms for 64 rows.
        for place, row in rows.items():
            ctypes.memmove(target + place * size, source + row * size, size)

    def check(self, counts: Mapping[int, int]) -> None:
        """Raise unless every shard is there, is this bank's, and has as many rows as counted."""
        for number, rows in counts.items():
            path = shard_file(self.folder, number)
            try:
                self._check_file(path, rows)
            except FileNotFoundError as error:
                told = f"{path.name} of the bank in {self.folder}, which holds {rows:,} rows, is missing"
                raise VxlabError(f"{told}; take it from a copy") from error

    def is_ours(self, path: Path) -> bool:
        """Tell whether a file is the shard of this bank that its name says, or the beginning of its header."""
        match = _PATTERN.fullmatch(path.name)
        number = int(match[1]) if match else 0
        with path.open("rb") as file:
            found = file.read(_HEADER_BYTES)
        return self._mark(number).encode() in found or self.header(number, 0).startswith(found)

    def header(self, number: int, rows: int) -> bytes:
        """Return a shard's header: another count of rows changes nothing but digits."""
        width, end = self.layout.width, rows * self.layout.row_bytes
        text = (
            f'{{"__metadata__":{self._mark(number)},"rows":{{"dtype":"{_DTYPES[self.layout.dtype]}",'
            f'"shape":[{rows:20d},{width:20d}],"data_offsets":[0,{end:20d}]}}}}'
        )
        return (_HEADER_BYTES - 8).to_bytes(8, "little") + text.encode().ljust(_HEADER_BYTES - 8)

    def offset(self, row: int) -> int:
        """Return where in its file a row begins, in bytes."""
        return _HEADER_BYTES + row * self.layout.row_bytes

    def forget(self) -> None:
        """Let go of the memory maps; rows that were returned are copies."""
        self._maps.clear()

    def _mark(self, number: int) -> str:
        return json.dumps({"bank": self.key, "shard": str(number)}, separators=(",", ":"))

    def _map(self, number: int, rows: int) -> Tensor:
        known, path = self._maps.get(number), shard_file(self.folder, number)
        if known is not None and len(known) >= rows:
            self._count(path, rows)  # a map of what was cut off meanwhile would end the process
            return known
        found = self._check_file(path, rows)
        # One whole and private map: pages are read when they are touched, and nothing reaches the file.
        size = self.offset(found) // self.layout.dtype.itemsize
        try:
            whole = torch.from_file(str(path), shared=False, size=size, dtype=self.layout.dtype)
        except RuntimeError as error:
            path.stat()  # which says so if it went meanwhile
            raise VxlabError(f"{path} cannot be read: {first_line(error)}") from error
        mapped = whole[_HEADER_BYTES // self.layout.dtype.itemsize :].view(found, self.layout.width)
        for gone in [each for each in list(self._maps) if not shard_file(self.folder, each).exists()]:
            self._maps.pop(gone, None)
        self._maps[number] = mapped
        return mapped

    def _check_file(self, path: Path, rows: int) -> int:
        """Return how many rows a file has, if these are enough and this bank's."""
        found = self._count(path, rows)
        if not self.is_ours(path):
            raise VxlabError(f"{path} is no shard of this bank: its header has another mark; take it from a copy")
        return found

    def _count(self, path: Path, rows: int) -> int:
        found = max(0, (path.stat().st_size - _HEADER_BYTES) // self.layout.row_bytes)
        if found < rows:
            raise VxlabError(f"{path} is truncated: it has {found:,} of {rows:,} rows; take it from a copy")
        return found


class ShardWriter:
    """The end of a bank's shards, where rows are added.

    Args:
        files: the bank's shards.
        counts: how many rows of each shard count.
        last: the highest number that a shard ever had: none has it again, for somebody may still read that one.
    """

    def __init__(self, files: ShardFiles, counts: Mapping[int, int], last: int) -> None:
        self.files = files
        self._file: io.FileIO | None = None
        self._number, self._rows = 0, 0
        self._grown: dict[int, int] = {}
        self.cut_back(counts, last)

    def append(self, rows: Tensor) -> list[tuple[int, int]]:
        """Write rows ``(n, P)`` behind the last one; return each one's shard and row. They do not count yet."""
        places = []
        while len(rows):
            if self._file is None or self._rows >= self.files.capacity:
                self.begin()
            part = rows[: self.files.capacity - self._rows]
            _write(self._opened, memoryview(memory_of(part)).cast("B"), self.files.offset(self._rows))
            places += [(self._number, self._rows + each) for each in range(len(part))]
            self._rows += len(part)
            self._grown[self._number] = self._rows
            rows = rows[len(part) :]
        return places

    def begin(self) -> None:
        """Begin a new shard."""
        self._settle()
        self.close()
        self._number = max(self._last, *shards_in(self.files.folder), 0) + 1
        self._rows = 0
        self._file = io.FileIO(shard_file(self.files.folder, self._number), "x+")  # never one that is there
        _write(self._file, memoryview(self.files.header(self._number, 0)), 0)
        self._grown[self._number] = 0

    def sync(self) -> dict[int, int]:
        """See that all that was written is on the disk; return the counts of the shards that grew."""
        self._settle()
        sync_folder(self.files.folder)
        grown, self._grown = self._grown, {}
        return grown

    def cut_back(self, counts: Mapping[int, int], last: int) -> None:
        """Undo what was written and does not count, by whoever, and go on behind the last row that does."""
        self.close()
        self._grown, self._last = {}, last
        for number, path in shards_in(self.files.folder).items():
            if number not in counts and self.files.is_ours(path):
                path.unlink()
        for number, rows in counts.items():
            self._cut(number, rows)
        self._number = max(counts, default=0)
        self._rows = counts.get(self._number, 0)
        if counts and self._rows < self.files.capacity:
            self._file = io.FileIO(shard_file(self.files.folder, self._number), "r+")

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _opened(self) -> io.FileIO:
        assert self._file is not None
        return self._file

    def _settle(self) -> None:
        """Let the header of the shard that grew say how many rows it has, and write both to the disk."""
        if self._number in self._grown:
            _write(self._opened, memoryview(self.files.header(self._number, self._rows)), 0)
            os.fsync(self._opened.fileno())

    def _cut(self, number: int, rows: int) -> None:
        with io.FileIO(shard_file(self.files.folder, number), "r+") as file:
            header, end = self.files.header(number, rows), self.files.offset(rows)
            if os.fstat(file.fileno()).st_size > end:
                file.truncate(end)
            if file.read(len(header)) != header:
                _write(file, memoryview(header), 0)


def sync_folder(folder: Path) -> None:
    """See that the names of the files in a folder are on the disk, where the system can say so."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(file: io.FileIO, content: memoryview, offset: int) -> None:
    """Write all of something at a place in a file: a system may take a part of it at a time."""
    file.seek(offset)
    while content:
        content = content[file.write(content) :]
