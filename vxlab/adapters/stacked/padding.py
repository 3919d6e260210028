"""Tensors of many adapters as one: padded to the largest, or kept once where all have the same."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.errors import VxlabError


class Together(NamedTuple):
    """Frozen tensors of many adapters."""

    tensor: Tensor
    """``(K, *largest)``, or ``largest`` alone where each adapter's is its leading block"""
    sizes: tuple[torch.Size, ...]
    """every adapter's own"""


def pad_together(tensors: Sequence[Tensor], what: str) -> Tensor:
    """Return tensors as one ``(K, *largest)``, each the leading block of its row, which is 0 elsewhere.

    >>> pad_together([torch.ones(1, 2), torch.ones(2, 1)], "A").tolist()
    [[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]
    """
    largest = _largest([each.shape for each in tensors], what)
    first = tensors[0]
    padded = torch.zeros(len(tensors), *largest, dtype=first.dtype, device=first.device)
    for row, each in zip(padded, tensors, strict=True):
        leading_block(row, each.shape).copy_(each)
    return padded


def keep_once(tensors: Sequence[Tensor], what: str) -> Together:
    """Return frozen tensors once, where each is the largest one's leading block, bit for bit, else all padded."""
    sizes = tuple(each.shape for each in tensors)
    largest = _largest(sizes, what)
    whole = next((each for each in tensors if each.shape == largest), None)
    if whole is not None and all(each is whole or _is_block(each, whole) for each in tensors):
        return Together(whole, sizes)
    return Together(pad_together(tensors, what), sizes)


def leading_block(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """Return the first numbers of a tensor along every dimension, as a view."""
    for dimension, length in enumerate(size):
        if tensor.shape[dimension] != length:
            tensor = tensor.narrow(dimension, 0, length)
    return tensor


def padding_mask(sizes: Sequence[torch.Size], like: Tensor) -> Tensor | None:
    """Return 1 where a padded tensor ``(K, *largest)`` is an adapter's own and 0 elsewhere; None if all of it is."""
    if all(size == like.shape[1:] for size in sizes):
        return None
    mask = torch.zeros_like(like)
    for row, size in zip(mask, sizes, strict=True):
        leading_block(row, size).fill_(1)
    return mask


def _is_block(small: Tensor, large: Tensor) -> bool:
    return torch.equal(leading_block(large, small.shape), small)


def _largest(sizes: Sequence[torch.Size], what: str) -> torch.Size:
    if len({len(size) for size in sizes}) > 1:
        raise VxlabError(f"adapters differ in the number of dimensions of {what}: {sorted(set(map(tuple, sizes)))}")
    return torch.Size(max(lengths) for lengths in zip(*sizes, strict=True))
