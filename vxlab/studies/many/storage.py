"""What a bank costs as it grows, of synthetic adapters: bytes, opening, reading and adding."""

import random
import shutil
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vxlab.adapters import Method, attach, detach, save_adapter
from vxlab.adapters.bank import AdapterBank
from vxlab.experiments import method_label
from vxlab.experiments.costs import time_call
from vxlab.progress import progress_bar

AT_ONCE, _AT_ONCE_BYTES = 10_000, 2**28
"""The most that are added in one call: adapters, and bytes of them."""
BATCH = 64
_READS, _OPENS = 400, 9
_SPREAD = 0.02
"""Of synthetic numbers: what trained ones have, roughly; their bytes are the same whatever they are."""


def bank_growth(
    model: nn.Module,
    methods: Sequence[Method],
    targets: str | Sequence[str],
    sizes: Iterable[int],
    *,
    folder: Path,
    most_bytes: float,
    progress: bool = True,
) -> pd.DataFrame:
    """Grow a bank of synthetic adapters of each method from size to size, and measure it at each.

    A bank's files are removed before the next method's are written. Sizes whose numbers alone take more than
    ``most_bytes``, or than half of what the disk has free, are not written: their ``file_bytes`` follow from the
    largest bank that was, in proportion, and the rest of their row is missing.

    Columns: ``candidate``, ``adapters``, ``written`` (whether it was); ``parameters`` of an adapter, its head included;
    ``own_bytes`` of all numbers, ``file_bytes`` of the bank, ``folder_bytes`` of as many folders of one adapter each
    (:func:`vxlab.save_adapter`; in proportion to one, in whole blocks of the disk), and ``copy_bytes`` of as many
    copies of the whole model in float32; ``open_seconds``, ``row_seconds`` of a random adapter, ``batch_seconds`` of 64
    random ones, all in memory, ``file_seconds`` of an adapter's file of its own, and ``added`` in a second, medians.

    Args:
        model: the base, bare, with the head that the adapters have; it is as it was afterwards.
        methods: one bank each, largest ``sizes`` last.
        targets: as :func:`vxlab.attach` takes them.
        sizes: numbers of adapters.
        folder: that exists; the banks are in a temporary folder in it.
        most_bytes: of a bank's numbers.
        progress: show a bar.
    """
    wanted, rows = sorted(set(sizes)), []
    with progress_bar(len(methods) * len(wanted), "growing banks", "bank", shown=progress) as bar:
        for method in methods:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                for row in _growth(model, method, targets, wanted, Path(scratch), most_bytes):
                    rows.append({"candidate": method_label(method), **row})
                    bar.update()
    return pd.DataFrame(rows)


def synthetic_names(start: int, count: int) -> list[str]:
    """Return names of synthetic adapters.

    >>> synthetic_names(7, 2)
    ['synthetic-0000007', 'synthetic-0000008']
    """
    return [f"synthetic-{number:07d}" for number in range(start, start + count)]


def synthetic_rows(bank: AdapterBank, rows: int, seed: int = 0) -> Tensor:
    """Return random numbers ``(rows, P)`` for a bank, as large as a trained adapter's are."""
    return _SPREAD * torch.randn(rows, bank.layout.width, generator=torch.Generator().manual_seed(seed))


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _growth(
    model: nn.Module, method: Method, targets: str | Sequence[str], sizes: Sequence[int], scratch: Path, most: float
) -> Iterator[dict[str, Any]]:
    path, one, read_file = scratch / "bank", *_alone(model, method, targets, scratch / "one")
    copy = 4 * sum(each.numel() for each in model.parameters())
    with AdapterBank.create(path, model, method, targets) as bank:
        width, row_bytes = bank.layout.width, bank.layout.row_bytes
    size, room, last = 0, min(most, shutil.disk_usage(scratch).free / 2), 1.0
    for wanted in sizes:
        own = wanted * row_bytes
        told: dict[str, Any] = {"adapters": wanted, "parameters": width, "own_bytes": own, "folder_bytes": wanted * one}
        told |= {"copy_bytes": wanted * copy, "file_seconds": read_file}
        if own > room:
            yield {**told, "written": False, "file_bytes": last * own}
            continue
        added = _fill(path, size, wanted)
        size, written = wanted, folder_size(path)
        last = written / own
        yield {**told, "written": True, "file_bytes": written, "added": added, **_timed(path, size)}


def _alone(model: nn.Module, method: Method, targets: str | Sequence[str], folder: Path) -> tuple[int, float]:
    """Return what one saved adapter takes of the disk, with its head and settings, and the time of reading its file."""
    with torch.random.fork_rng(devices=[]):
        attach(model, method, targets)
    try:
        save_adapter(model, folder)
    finally:
        detach(model)
    (file,) = folder.glob("*.safetensors")
    seconds = statistics.median(time_call(lambda: load_file(file)) for _ in range(_OPENS))
    return sum(_on_disk(each) for each in folder.rglob("*") if each.is_file()), seconds


def _on_disk(file: Path) -> int:
    """Return a file's bytes in whole blocks, where the system tells them."""
    found = file.stat()
    return max(512 * getattr(found, "st_blocks", 0), found.st_size)


def _fill(path: Path, size: int, wanted: int) -> float:
    """Add synthetic adapters up to a number, and return how many a second, the median over calls."""
    paces = []
    with AdapterBank.open(path, writable=True) as bank:
        most = max(1, min(AT_ONCE, _AT_ONCE_BYTES // bank.layout.row_bytes, wanted - size))
        block = synthetic_rows(bank, most)
        while size < wanted:
            rows = block[: wanted - size]
            names = synthetic_names(size, len(rows))
            paces.append(len(rows) / time_call(lambda names=names, rows=rows: bank.add_many(names, rows)))  # type: ignore[misc]
            size += len(rows)
    return statistics.median(paces)


def _timed(path: Path, size: int) -> dict[str, float]:
    """Return the median times of opening a bank and of reading random rows of it."""
    draw = random.Random(size)
    numbers = [draw.randrange(size) for _ in range(_READS)]
    names = [synthetic_names(number, 1) for number in numbers]
    batches = [[name for (name,) in names[at : at + BATCH]] for at in range(0, _READS - BATCH + 1, BATCH)]

    def open_once() -> None:
        AdapterBank.open(path).close()

    open_once()
    opened = statistics.median(time_call(open_once) for _ in range(_OPENS))
    with AdapterBank.open(path) as bank:
        for batch in batches:  # so that the files' pages are in memory
            bank.rows_of(batch)
        one = statistics.median(time_call(lambda name=name: bank.rows_of(name)) for name in names)  # type: ignore[misc]
        many = statistics.median(time_call(lambda batch=batch: bank.rows_of(batch)) for batch in batches)  # type: ignore[misc]
    return {"open_seconds": opened, "row_seconds": one, "batch_seconds": many}
