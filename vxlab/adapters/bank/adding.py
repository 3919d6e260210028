"""Adapters on their way into a bank: a few at a time, as rows of its precision, each of them finite."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vxlab.adapters.bank.layout import RowLayout
from vxlab.checks import quote
from vxlab.errors import VxlabError

_CHUNK_BYTES = 2**24
"""of rows in memory at a time, beside those that were given"""

Source = TypeVar("Source")


def ready_chunks(
    names: Sequence[str],
    adapters: Tensor | Iterable[Source],
    layout: RowLayout,
    read: Callable[[str, Source], Tensor],
) -> Iterator[tuple[Sequence[str], Tensor]]:
    """Yield names and their rows ``(n, P)``, contiguous and on the CPU, some at a time.

    Args:
        names: of all.
        adapters: rows ``(n, P)``, or what ``read`` takes.
        layout: of a row.
        read: returns the row of an adapter, given its name and it.

    Raises:
        VxlabError: there are not as many names as adapters, or a row is of another width or not finite.
    """
    size = max(1, _CHUNK_BYTES // layout.row_bytes)
    chunks = (names[start : start + size] for start in range(0, len(names), size))
    rows = _cut(adapters, layout, size) if isinstance(adapters, Tensor) else _read(names, adapters, read, size)
    for part, found in _paired(chunks, rows, len(names)):
        _require_finite(part, found, layout)
        yield part, found


def _cut(rows: Tensor, layout: RowLayout, size: int) -> Iterator[Tensor]:
    if rows.dim() != 2 or rows.shape[1] != layout.width or not rows.is_floating_point():
        raise VxlabError(
            f"adapters={tuple(rows.shape)} of {rows.dtype} are no rows of this bank: they are (n, {layout.width}), of "
            "floating-point numbers in the order of bank.layout"
        )
    if rows.dtype == torch.float64:
        raise VxlabError("adapters are rows in float64, of which a bank would lose digits; cast them to float32")
    for start in range(0, len(rows), size):
        yield rows[start : start + size].detach().to("cpu", layout.dtype).contiguous()


def _read(
    names: Sequence[str], adapters: Iterable[Source], read: Callable[[str, Source], Tensor], size: int
) -> Iterator[Tensor]:
    if isinstance(adapters, str | bytes | Mapping) or not isinstance(adapters, Iterable):
        raise VxlabError(f"adapters={quote(adapters)} is no list; give rows (n, P), or one adapter for each name")
    waiting: list[Tensor] = []
    sources = iter(adapters)
    for name in names:
        try:
            source = next(sources)
        except StopIteration:
            break
        waiting.append(read(name, source))
        if len(waiting) == size:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)
    if next(sources, None) is not None:
        raise VxlabError(f"there are more adapters than names ({len(names):,}); give one for each")


def _paired(
    names: Iterator[Sequence[str]], rows: Iterator[Tensor], total: int
) -> Iterator[tuple[Sequence[str], Tensor]]:
    given = 0
    for found in rows:
        given += len(found)
        part = next(names, ())
        if len(part) != len(found):
            raise VxlabError(f"there are {total:,} names, and another number of adapters; give one for each")
        yield part, found
    if given != total:
        raise VxlabError(f"there are {total:,} names and {given:,} adapters; give one for each")


def _require_finite(names: Sequence[str], rows: Tensor, layout: RowLayout) -> None:
    finite = rows.isfinite()
    if bool(finite.all()):
        return
    row, place = (int(each) for each in (~finite).nonzero()[0])
    where = next(each for each in layout.places if place < each.end)
    raise VxlabError(
        f"the adapter {names[row]!r} holds NaN or infinite values in `{where.name}` (in {layout.dtype}), as after a "
        "run that diverged; a bank takes none, for in a mixed batch nobody would see whose answers they spoil; train "
        "it again"
    )
