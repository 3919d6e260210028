"""Centred kernel alignment: how alike two sets of outputs are, whatever the coordinates they are written in."""

import math

import torch
from torch import Tensor

from vxlab.analysis.matrices import check_matrix
from vxlab.errors import VxlabError


def linear_cka(X: Tensor, Y: Tensor) -> float:
    """Return the debiased linear CKA of two representations: HSIC(K, L) / √(HSIC(K, K)·HSIC(L, L)).

    K = X·Xᵀ and L = Y·Yᵀ with their diagonals set to 0 (K̃, L̃), and HSIC is estimated without bias as
    [tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1 / ((n−1)(n−2)) − 2·1ᵀK̃L̃1 / (n−2)] / (n(n−3)). The plain estimate nears 1 for unrelated
    random outputs wherever features outnumber rows; this one is near 0. No n×n matrix is formed.

    Args:
        X: ``(n, p)``, one row a token or example, n of 4 or more.
        Y: ``(n, q)``, of the same rows in the same order; q may differ from p.

    Returns:
        1 for the same representation up to rotation, scale and shift, near 0 for unrelated ones and, being unbiased,
        below 0 at times; NaN where either is constant or too noisy for an HSIC(K, K) above 0.

    Raises:
        VxlabError: fewer than 4 rows, different numbers of rows, or values that are not finite real numbers.

    Source: Song et al., Feature selection via dependence maximization (JMLR 2012), equation 5; Kornblith et al.,
    Similarity of neural network representations revisited (ICML 2019); debiased: Nguyen, Raghu and Kornblith, Do wide
    and deep networks learn the same things? (ICLR 2021), equation 3.

    >>> X = torch.tensor([[0.0, 1.0], [1.0, 3.0], [2.0, 0.0], [5.0, 1.0], [3.0, 4.0]])
    >>> round(linear_cka(X, 2 * X.flip(1) + 7), 12)
    1.0
    """
    centred = [_centred(name, matrix) for name, matrix in (("X", X), ("Y", Y))]
    rows = [len(matrix) for matrix in centred]
    if rows[0] != rows[1] or rows[0] < 4:
        raise VxlabError(f"X has {rows[0]} rows and Y {rows[1]}; both need the same ones, 4 or more")
    first, second = centred
    own = _hsic(first, first), _hsic(second, second)
    return _hsic(first, second) / math.sqrt(own[0] * own[1]) if min(own) > 0 else math.nan


def _hsic(X: Tensor, Y: Tensor) -> float:
    """Return the unbiased HSIC of centred X and Y, from sums over features alone."""
    n = len(X)
    own_x, own_y = X.square().sum(1), Y.square().sum(1)
    # A centred matrix's Gram rows sum to 0, so those of K̃ sum to minus its diagonal.
    traced = (X.mT @ Y).square().sum() - own_x @ own_y
    sums = own_x.sum() * own_y.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (own_x @ own_y)
    return float(traced + sums) / (n * (n - 3))


def _centred(name: str, matrix: Tensor) -> Tensor:
    """Return the columns less their means, as a multiple of the largest entry; zeros where that is only rounding.

    Unbiased HSIC does not change with a shift, which would cost it digits, and CKA not with a scale.
    """
    wide = check_matrix(name, matrix).double()
    centred = wide - wide.mean(0)
    largest = float(centred.abs().max())
    rounding = torch.finfo(torch.float64).eps * len(wide) * float(wide.abs().max())
    return centred / largest if largest > rounding else torch.zeros_like(centred)
