"""Which slot each row of a batch belongs to: slots are numbered from 1, and 0 means no adapter."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.stacked.shared_product import SharedProduct
from vxlab.checks import quote
from vxlab.errors import VxlabError

DrawMask = Callable[[Tensor, Tensor], Tensor]
"""Of x ``(G, N, in)`` and the share ``(G,)`` that is left of it: the mask ``(G, N, in)``, true where x is left."""


class Slots:
    """What all stacked layers of a model ask: how many slots there are, and whose a row is.

    Args:
        count: K, the number of slots.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows: Tensor | None = None
        """every row's slot ``(batch,)``, 0 to K; None where the batch is equal parts, one a slot, in their order"""
        self.chosen: Tensor | None = None
        """places from 0 of the slots that a batch of equal parts is of; None where it is of all"""
        self.draw_mask: DrawMask | None = None
        """draws what dropout leaves of the update's input; None takes torch's global generator"""
        self.batch: int | None = None
        """the number of rows that the model was given, where it is known"""
        self.product = SharedProduct()

    @contextmanager
    def assign(self, rows: Sequence[int] | Tensor, device: torch.device) -> Iterator[None]:
        """Say of every row of the batches to come whose it is."""
        before, self.rows = self.rows, self._checked(rows).to(device)
        try:
            yield
        finally:
            self.rows = before

    @contextmanager
    def only(self, slots: Sequence[int], device: torch.device) -> Iterator[None]:
        """Say that the batches to come are equal parts of these slots alone, in this order."""
        numbers = self._checked(slots).to(device)
        if int(numbers.min()) < 1 or len(set(numbers.tolist())) < len(numbers):
            raise VxlabError(f"slots={quote(slots)} are to train, each once; give some of 1 to {self.count}")
        before, self.chosen = self.chosen, None if len(numbers) == self.count else numbers - 1
        try:
            yield
        finally:
            self.chosen = before

    def of_groups(self, tensor: Tensor) -> Tensor:
        """Return a tensor ``(K, ...)`` as the parts of a batch meet it."""
        return tensor if self.chosen is None else tensor.index_select(0, self.chosen)

    def groups(self, x: Tensor, layer: str) -> int:
        """Return how many groups the first dimension of a layer's input falls into: the slots, or its rows.

        Raises:
            VxlabError: it is not that of the batch, so that rows would meet other slots' adapters.
        """
        length = x.shape[0] if x.dim() > 1 else 0
        batch = None if torch.compiler.is_compiling() else self.batch
        if self.rows is not None:
            batch = self.rows.shape[0]
        if batch is not None and length != batch:
            raise VxlabError(
                f"`{layer}` was given {tuple(x.shape)} in a batch of {batch} rows{self._told()}; stacked adapters go "
                "where the rows of the batch come first, one for each slot's number; choose other targets, or give as "
                "many slots as there are rows"
            )
        parts = self.count if self.chosen is None else len(self.chosen)
        if self.rows is None and (not length or length % parts):
            raise VxlabError(
                f"`{layer}` was given {tuple(x.shape)}: {length} rows are no {parts} equal parts, one for each "
                "slot; give as many rows of each, or say whose each is: with stack.rows([1, 2, 0]): model(...)"
            )
        return parts if self.rows is None else length

    def gather(self, tensor: Tensor, without: Tensor | float = 0.0) -> Tensor:
        """Return every row's own of a tensor ``(K, ...)``, and of a row without an adapter ``without``."""
        assert self.rows is not None
        own = tensor.index_select(0, (self.rows - 1).clamp(min=0))
        # Not by a product: what the first slot holds may be NaN.
        active = (self.rows > 0).reshape(-1, *(1,) * (tensor.dim() - 1))
        return torch.where(active, own, without)

    def note_batch(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take down how many rows a model is given, in a hook before its forward pass."""
        if not torch.compiler.is_compiling():
            tensors = (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.dim())
            self.batch = next((each.shape[0] for each in tensors), None)

    def forget_batch(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forget it, in a hook after the forward pass."""
        if not torch.compiler.is_compiling():
            self.batch = None
            self.product.forget()

    def _checked(self, rows: Sequence[int] | Tensor) -> Tensor:
        try:
            numbers = torch.as_tensor(rows)
        except (TypeError, ValueError, RuntimeError):
            numbers = torch.empty(0, 0)
        whole = numbers.dim() == 1 and len(numbers) and not (numbers.is_floating_point() or numbers.is_complex())
        if not whole or numbers.dtype == torch.bool or not 0 <= int(numbers.min()) <= int(numbers.max()) <= self.count:
            raise VxlabError(
                f"rows={quote(rows)} are not slots' numbers, one for each row of the batch; give a list of 0 (no "
                f"adapter) to {self.count}"
            )
        return numbers.long()

    def _told(self) -> str:
        return "" if self.rows is None else f", by rows={quote(self.rows.tolist())}"
