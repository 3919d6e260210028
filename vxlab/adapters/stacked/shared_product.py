"""The product of an input and a frozen matrix that several layers share, computed for the first of them alone."""

from typing import NamedTuple

import torch
from torch import Tensor


class SharedProduct:
    """Remember the last ``x·Aᵀ``, for the next layer that is given the same x: query and value of one block are.

    Only where no gradient is asked for: what is remembered is part of no graph. x and A are held as long as the product
    is, so that no other tensor comes to lie in their memory, and torch's counts of changes in place, by which autograd
    tells them too, show whether either is still what it was. Tensors without such counts (of inference mode), and those
    of torch's compiler and transforms, are multiplied each time.
    """

    def __init__(self) -> None:
        self._last: _Product | None = None

    def of(self, x: Tensor, matrix: Tensor, dtype: torch.dtype) -> Tensor:
        """Return x·Aᵀ, both taken in a dtype; it may not be changed in place.

        Args:
            x: ``(*, in)``.
            matrix: A ``(r, in)``.
            dtype: of the product.

        >>> x, A, product = torch.ones(1, 2), torch.ones(3, 2), SharedProduct()
        >>> first = product.of(x, A, torch.float32)
        >>> product.of(x.view(1, 2), A, torch.float32) is first, product.of(x.mul_(2), A, torch.float32) is first
        (True, False)
        """
        if torch.compiler.is_compiling() or not (_is_plain(x) and _is_plain(matrix)):
            return x.to(dtype) @ matrix.to(dtype).mT
        marks, last = (_mark(x), _mark(matrix), dtype), self._last  # read once: another thread may exchange it
        if last is not None and last.marks == marks and last.result._version == last.version:
            return last.result
        result = x.to(dtype) @ matrix.to(dtype).mT
        self._last = _Product(marks, (x, matrix), result, result._version)
        return result

    def forget(self) -> None:
        """Let go of what was remembered."""
        self._last = None


class _Product(NamedTuple):
    marks: tuple[object, ...]
    held: tuple[Tensor, Tensor]
    result: Tensor
    version: int


def _is_plain(tensor: Tensor) -> bool:
    if type(tensor) is not Tensor or torch._C._are_functorch_transforms_active():
        return False
    asked = tensor.requires_grad and torch.is_grad_enabled()
    return not (asked or tensor.is_meta or tensor.is_inference())


def _mark(tensor: Tensor) -> tuple[object, ...]:
    place = (tensor.device, tensor.data_ptr(), tensor.storage_offset())
    return *place, tensor.dtype, tensor.shape, tensor.stride(), tensor._version
