"""The rows of a bank by name: found, read, added and removed, all or nothing and by one writer at a time."""

import contextlib
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from vxlab.adapters.bank.compaction import rewrite
from vxlab.adapters.bank.index import BankIndex, IndexEntry
from vxlab.adapters.bank.layout import RowLayout
from vxlab.adapters.bank.lock import lock_for_writing
from vxlab.adapters.bank.reading import damaged_in, digests, fetch_rows
from vxlab.adapters.bank.shards import ShardFiles, ShardWriter
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.words import first_line, nearest

_LISTED = 6
"""names on either side of an unknown one that an error lists"""
_SEARCHED = 10_000
"""names among which an error looks for the one most like it"""
_ATTEMPTS = 5
"""of reading what another process moves meanwhile"""


class RowStore:
    """The index and the shards of a bank.

    Args:
        folder: the bank's.
        layout: of a row.
        key: the bank's own mark.
        writable: whether to write, too, which one at a time does.

    Raises:
        VxlabError: another writes, or a file is missing, damaged, truncated or another's.
    """

    def __init__(self, folder: Path, layout: RowLayout, key: str, writable: bool) -> None:
        self.folder = folder
        with contextlib.ExitStack() as opened:
            if writable:
                opened.enter_context(contextlib.closing(lock_for_writing(folder)))
            self._index = opened.enter_context(contextlib.closing(BankIndex(folder, writable)))
            self._files = ShardFiles(folder, layout, key)
            self._check_files()
            if writable:
                counts, last = self._index.counts(), self._index.last_shard()
                self._writer = opened.enter_context(contextlib.closing(ShardWriter(self._files, counts, last)))
            self._close = weakref.finalize(self, opened.pop_all().close)

    def find(self, names: Sequence[str]) -> list[IndexEntry]:
        """Return where the rows of names lie.

        Raises:
            VxlabError: there is none of a name.
        """
        self.require_open()
        found = self._index.find(names)
        for name in names:
            if name not in found:
                raise VxlabError(f"the bank in {self.folder} has no adapter {name!r}{self._nearest(name)}")
        return [found[name] for name in names]

    def read(self, names: Sequence[str]) -> tuple[list[IndexEntry], Tensor]:
        """Return where rows lie, and the rows ``(n, P)``; found anew where a shard was compacted meanwhile."""
        for _ in range(_ATTEMPTS):
            entries = self.find(names)
            with contextlib.suppress(FileNotFoundError):
                return entries, fetch_rows(entries, self._files)
        raise self._missing()

    def read_checked(self, name: str) -> Tensor:
        """Return one row ``(P,)`` whose bytes are those that were added."""
        (entry,), rows = self.read([name])
        if digests(rows) != [entry.sha256]:
            raise VxlabError(
                f"the adapter {name!r} of the bank in {self.folder} is not what was added: its bytes have another "
                "sha256; take the bank from a copy, or remove it and add it again"
            )
        return rows[0]

    def names(self) -> Iterator[str]:
        """Yield all names in their order."""
        self.require_open()
        return self._index.names()

    def holds(self, name: str) -> bool:
        """Tell whether there is a row of this name."""
        self.require_open()
        return bool(self._index.find([name]))

    def __len__(self) -> int:
        self.require_open()
        return len(self._index)

    def append(self, names: Sequence[str], chunks: Iterable[tuple[Sequence[str], Tensor]]) -> None:
        """Add rows ``(n, P)`` with their names, a chunk after another, all of them or none.

        Args:
            names: all of them.
            chunks: contiguous and on the CPU, made while they are written.
        """
        self.require_writable()
        self._require_new(names)
        with self._writing():
            for part, rows in chunks:
                places = self._writer.append(rows)
                self._index.put(
                    (name, *place, digest) for name, place, digest in zip(part, places, digests(rows), strict=True)
                )

    def remove(self, name: str) -> None:
        """Forget a row, which stays in its shard until that is compacted."""
        self.require_writable()
        with self._writing():
            (entry,) = self.find([name])
            self._index.remove(entry)

    def compact(self) -> int:
        """Rewrite the shards with removed rows, and return how many went."""
        self.require_writable()
        with self._index.one_writer():
            before, with_removed = self._index.counts(), self._index.with_removed()
            with self._writing():
                kept = rewrite(with_removed, self._index, self._files, self._writer)
            self._cut_back()
        return sum(before[number] for number in with_removed) - kept

    def verify(self) -> int:
        """Compare all rows with the sha256 of what was added, and return how many there are."""
        self.require_open()
        self._index.check()
        self._check_files()
        if damaged := self._damaged():
            raise VxlabError(
                f"{len(damaged):,} of {len(self):,} adapters of the bank in {self.folder} are not what was added: "
                f"{', '.join(damaged[:_LISTED])}{', ...' if len(damaged) > _LISTED else ''}; take the bank from a "
                "copy, or remove them and add them again"
            )
        return len(self)

    def require_open(self) -> None:
        """Raise where it was closed."""
        if not self._close.alive:
            raise VxlabError(f"the bank in {self.folder} is closed; open it again: vxlab.AdapterBank.open(folder)")

    def require_writable(self) -> None:
        """Raise where it was opened for reading, or by the process from which this one was forked."""
        self.require_open()
        if not self._index.writable:
            raise VxlabError(
                f"the bank in {self.folder} is open for reading; open it by vxlab.AdapterBank.open(folder, "
                "writable=True), and in the process that writes"
            )

    def close(self) -> None:
        """Let go of the files."""
        self._files.forget()
        self._close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Make what is written within count at the end, on the disk, or nothing of it after any error."""
        with self._index.one_writer():
            try:
                with self._index.writing():
                    yield
                    self._index.grow(self._writer.sync())
            except BaseException as error:
                self._cut_back()
                if isinstance(error, OSError):
                    raise VxlabError(
                        f"the bank in {self.folder} could not be written: {first_line(error)}; it is as it was, so "
                        "make room on the disk and try again"
                    ) from error
                raise

    def _cut_back(self) -> None:
        self._writer.cut_back(self._index.counts(), self._index.last_shard())

    def _require_new(self, names: Sequence[str]) -> None:
        for name in names:
            if not name.isprintable() or not 0 < len(name) <= 255:
                raise VxlabError(f"name={quote(name)} names no adapter; give a text of one line, 1 to 255 characters")
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise VxlabError(f"names has {twice!r} twice; give every adapter a name of its own")
        if taken := self._index.find(names):
            raise VxlabError(f"the bank in {self.folder} has an adapter {min(taken)!r} already; remove it first")

    def _nearest(self, name: str) -> str:
        close = get_close_matches(name, self.names(), n=1) if len(self) <= _SEARCHED else []
        return nearest(name, dict.fromkeys([*close, *self._index.around(name, _LISTED)]), f"of its {len(self):,}")

    def _damaged(self) -> list[str]:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # compacted meanwhile
                counts = self._index.counts()
                return [name for number in counts for name in damaged_in(number, self._index, self._files)]
        raise self._missing()

    def _check_files(self) -> None:
        """Check the shards that count; a writer may change which these are meanwhile."""
        for _ in range(_ATTEMPTS):
            counts = self._index.counts()
            try:
                return self._files.check(counts)
            except VxlabError:
                if counts == self._index.counts():
                    raise
        raise self._missing()

    def _missing(self) -> VxlabError:
        return VxlabError(f"shards of the bank in {self.folder} are missing; take it from a copy")
