"""What a computation would allocate, operation by operation: for tensors that are shapes alone, which hold nothing."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def storage_id(tensor: Tensor) -> int:
    """Return what tells a tensor's memory from that of all others which are alive, also where it holds nothing."""
    return int(tensor.untyped_storage()._cdata)


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of every storage that appears while it is entered, until the storage goes, and their peak.

    What a kernel takes for itself and gives back is not seen; of a storage that was there before, nothing is counted
    where an operation merely returns it or a view of it.

    >>> import torch
    >>> with Allocations() as counted:
    ...     a = torch.zeros(10) + 1
    >>> counted.now, counted.peak
    (40, 80)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {storage_id(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and storage_id(each) not in given:
                self._add(each)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage, name = tensor.untyped_storage(), storage_id(tensor)
        if name not in self._alive:
            self._alive[name] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, name)

    def _drop(self, name: int) -> None:
        self.now -= self._alive.pop(name)
