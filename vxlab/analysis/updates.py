"""The size of a low-rank update, from its thin factors."""

import math

import torch
from torch import Tensor

from vxlab.analysis.similarity import gram_norm


def update_norm(left: Tensor, right: Tensor) -> float:
    """Return ``‖left·right‖_F``: √tr((leftᵀ·left)·(right·rightᵀ)), and the product is formed only where factors cancel.

    Args:
        left: ``(out, r)``.
        right: ``(r, in)``.

    >>> update_norm(torch.tensor([[3.0], [4.0]]), torch.tensor([[2.0]]))
    10.0
    """
    left, right = left.detach().double(), right.detach().double()
    norm = gram_norm((left, right))
    return float(torch.linalg.matrix_norm(left @ right)) if math.isnan(norm) else norm


def relative_update_norm(left: Tensor, right: Tensor, weight: Tensor) -> float:
    """Return ``‖ΔW‖_F / ‖W‖_F`` with ΔW = left·right: how far training moved the layer, in units of its weight.

    Args:
        left: ``(out, r)``.
        right: ``(r, in)``.
        weight: W, ``(out, in)``.

    Returns:
        The ratio, 0 where nothing moved; infinite for an update of a zero weight.
    """
    update, norm = update_norm(left, right), float(torch.linalg.matrix_norm(weight.detach().double()))
    if not norm:
        return math.inf if update else 0.0
    return update / norm
