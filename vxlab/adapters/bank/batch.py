"""The adapters of a batch: which one every row meets, and how the rows' own tensors reach the layers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from vxlab.adapters.stacked import SharedProduct
from vxlab.checks import quote
from vxlab.errors import VxlabError


@dataclass
class Batch:
    """Rows of the batches to come, and what every layer needs of their adapters."""

    names: tuple[str | None, ...]
    """every row's adapter; None for a row without"""
    prepared: Mapping[str, Any]
    """by layer, what it made of the rows' own tensors"""
    each: int = 1
    """how many rows in a row belong to each name: within ``generate`` its beams"""


class Spread:
    """From the tensors of the different adapters of a batch to those of its rows.

    Args:
        names: every row's adapter, or None.
    """

    def __init__(self, names: Sequence[str | None]) -> None:
        self.different = list(dict.fromkeys(name for name in names if name is not None))
        place = {name: number for number, name in enumerate(self.different, 1)}
        index = [0 if name is None else place[name] for name in names]
        in_order = index == list(range(1, len(names) + 1))
        self._index = None if in_order else torch.tensor(index)

    def __call__(self, tensor: Tensor, without: Tensor | None = None) -> Tensor:
        """Return ``(rows, ...)`` of ``(different adapters, ...)``; for a row without one ``without``, or 0."""
        if self._index is None:
            return tensor
        first = torch.zeros_like(tensor[0]) if without is None else without
        return torch.cat([first[None], tensor]).index_select(0, self._index.to(tensor.device))


_AT_HAND: ContextVar[Mapping["NamedRows", Batch]] = ContextVar("batches at hand", default=MappingProxyType({}))
"""Every thread's and every asynchronous task's own: a server may have several that use one model."""


class NamedRows:
    """What all layers under a bank ask: which batch is at hand. A copy of a model has none until it is named."""

    def __init__(self) -> None:
        self.product = SharedProduct()

    @contextmanager
    def assign(self, batch: Batch) -> Iterator[None]:
        """Say of every row of the batches to come in this thread or task whose it is."""
        before = _AT_HAND.set({**_AT_HAND.get(), self: batch})
        try:
            yield
        finally:
            _AT_HAND.reset(before)
            self.product.forget()

    def repeat(self, each: int) -> None:
        """Say that every name stands for so many rows in a row."""
        if batch := _AT_HAND.get().get(self):
            batch.each = each

    def groups(self, x: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return a layer's input as ``(names, rows and tokens, in)``, and what the layer has prepared for them.

        Raises:
            VxlabError: no rows are named, or others than the input has.
        """
        batch = _AT_HAND.get().get(self)
        if batch is None:
            raise VxlabError(
                "a bank's adapters are on this model, and nobody said in this thread whose the rows of the batch are; "
                'say so: with bank.rows(["ann", None]): model(**batch)'
            )
        count, length = len(batch.names), x.shape[0] if x.dim() > 1 else 0
        if length != count * batch.each:
            beams = f", {batch.each} rows each" if batch.each > 1 else ""
            raise VxlabError(
                f"`{layer}` was given {tuple(x.shape)} in a batch of {count} named rows{beams}: "
                f"{quote(list(batch.names))}; name as many adapters as the batch has rows, one for each, on layers "
                "where the rows of the batch come first"
            )
        return x.reshape(count, -1, x.shape[-1]), batch.prepared[layer]
