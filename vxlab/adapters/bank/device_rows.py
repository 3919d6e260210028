"""Rows of a bank on the device of the model that they serve."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vxlab.adapters.bank.index import IndexEntry

Find = Callable[[Sequence[str]], list[IndexEntry]]
Read = Callable[[Sequence[str]], tuple[list[IndexEntry], Tensor]]

_SHARE = 0.5
"""Of a device's free memory that rows may take up by default."""


class DeviceRows:
    """The rows of a bank that were asked for last, as many as there are slots; the least recently used goes first.

    A row is known by the sha256 of its bytes, which is asked of the bank each time, so that an adapter that was removed
    or exchanged meanwhile is never served as it was.

    Args:
        find: the bank's entries of names.
        read: the same with their rows ``(n, P)``, on the CPU.
        slots: how many rows to keep; with 0 every row comes from the bank each time.
        like: a row's precision and width, on the device.
    """

    def __init__(self, find: Find, read: Read, slots: int, like: Tensor) -> None:
        self._find, self._read, self.slots = find, read, slots
        self._table = like.new_empty(slots, like.shape[-1])
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, names: Sequence[str]) -> Tensor:
        """Return rows ``(n, P)`` on the device, one for each of these names, which are all different.

        Raises:
            VxlabError: there is none of a name.
        """
        if not self.slots or not names:
            return self._read(names)[1].to(self._table.device)
        with self._lock:
            marks = [entry.sha256 for entry in self._find(names)]
            missing = [number for number, mark in enumerate(marks) if mark not in self._kept]
            there = [number for number, mark in enumerate(marks) if mark in self._kept]
            for number in there:
                self._kept.move_to_end(marks[number])
            kept = self._rows([self._kept[marks[number]] for number in there])
            if not missing:
                return kept
            entries, rows = self._read([names[number] for number in missing])
            rows = rows.to(self._table.device)
            self._keep([entry.sha256 for entry in entries], rows, self.slots - len(set(map(marks.__getitem__, there))))
        found = rows.new_empty(len(names), rows.shape[1])
        found[there], found[missing] = kept, rows
        return found

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return self._table[torch.tensor(slots, dtype=torch.long, device=self._table.device)]

    def _keep(self, marks: Sequence[bytes], rows: Tensor, room: int) -> None:
        """Put new rows into slots, as many as there is room for beside those that were asked for with them."""
        new = list(dict(zip(marks, range(len(marks)), strict=True)).items())[:room]
        slots = [self._slot_for(mark) for mark, _ in new]
        if slots:
            self._table[slots] = rows[[number for _, number in new]]

    def _slot_for(self, mark: bytes) -> int:
        slot = len(self._kept) if len(self._kept) < self.slots else self._kept.popitem(last=False)[1]
        self._kept[mark] = slot
        return slot


def default_slots(device: torch.device, rows: int, row_bytes: int) -> int:
    """Return how many rows to keep on a device: all, if half of its free memory holds them; on a CPU none.

    There the memory map has them at hand already.
    """
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return min(rows, int(free * _SHARE) // row_bytes)
