"""How alike two low-rank updates are, from their thin factors."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vxlab.analysis.matrices import Update, factors_of, rounding_of
from vxlab.analysis.spectrum import update_svd
from vxlab.analysis.subspaces import overlap
from vxlab.errors import VxlabError

STRIP = 128
"""Rows of a symmetric Gram matrix that are computed at a time, from the diagonal on: 3/4 of it at rank 256, where fewer
rows would save operations and lose as much to small products."""

CANCELS = 1e-4
"""Below this share ‖left·right‖² / (‖left‖²·‖right‖²) the factors cancel, and Gram matrices would cost more than four
of float64's sixteen digits. Random factors of rank r are at 1/r."""


def cosine(a: Update, b: Update) -> float:
    """Return the cosine of two flattened updates: ``⟨ΔW_a, ΔW_b⟩ / (‖ΔW_a‖_F·‖ΔW_b‖_F)``.

    ``⟨L_a·R_a, L_b·R_b⟩ = Σ (L_aᵀL_b) ∘ (R_a·R_bᵀ)`` needs r×r products alone, and a norm two symmetric ones; no ΔW is
    formed, unless the factors of one cancel almost wholly. That takes about 2·r²·(out + in) multiplications where
    forming takes 2·r·out·in, so half at r = 256 in a layer of 1024×1024, and memory of r's size. The result depends on
    the product only: replacing left and right by left·M and M⁻¹·right changes nothing. The ranks may differ.

    Args:
        a: left ``(out, r)`` and right ``(r, in)``, of any floating dtype; both updates on one device.
        b: the same for the other update, of the same out and in.

    Returns:
        −1 to 1, good to 1e-10; NaN where an update is zero to rounding, for it has no direction.

    Raises:
        VxlabError: the updates differ in shape, or a factor is empty, does not fit the other or holds NaN.

    >>> e = torch.eye(3)
    >>> round(cosine((e[:, :1], e[:1]), (e[:, :2], e[:2])), 12)  # one of two equal directions is shared
    0.707106781187
    """
    first, second = _pair(a, b)
    norms = gram_norm(first) * gram_norm(second)
    return _inner(first, second) / norms if norms > 0 else _formed_cosine(first, second)


def cosines(first: Mapping[str, Update], second: Mapping[str, Update]) -> dict[str, float]:
    """Return :func:`cosine` of two adapters' updates for every layer, in the order of the first.

    Args:
        first: updates by the layer's dotted name.
        second: updates of the same layers, in any order.

    Raises:
        VxlabError: one holds a layer that the other lacks, or a layer's updates do not fit each other.
    """
    lone = [*(name for name in first if name not in second), *(name for name in second if name not in first)]
    if lone:
        holder = "first" if lone[0] in first else "second"
        others = f", as are {len(lone) - 1} more in one of the two" if len(lone) > 1 else ""
        raise VxlabError(
            f"layer `{lone[0]}` is in the {holder} adapter only{others}; compare adapters of the same layers"
        )
    return {layer: _named(layer, first[layer], second[layer]) for layer in first}


def column_overlap(a: Update, b: Update) -> float:
    """Return the overlap of two updates' column spaces, the outputs they can move: mean cos² of the principal angles.

    What cosine misses: updates that reach the same outputs from other inputs, or with other weights, overlap in full.

    Args:
        a: left ``(out, r)`` and right ``(r, in)``; directions in which the product is zero to rounding do not count.
        b: the same for the other update; ``in`` may differ.

    Returns:
        0 to 1, :func:`vxlab.analysis.subspaces.chance_overlap` on average by chance; NaN where an update is zero.

    Raises:
        VxlabError: ``out`` differs, or a factor is empty, does not fit the other or holds NaN.

    >>> e = torch.eye(3)
    >>> round(column_overlap((e[:, :1], e[:1]), (e[:, :1], e[1:2])), 12)
    1.0
    """
    return overlap(_spanning(a), _spanning(b))


def row_overlap(a: Update, b: Update) -> float:
    """Return the overlap of two updates' row spaces, the inputs they listen to; otherwise as :func:`column_overlap`."""
    return overlap(_spanning(_transposed(a)), _spanning(_transposed(b)))


def chance_cosine(shape: tuple[int, int]) -> float:
    """Return the standard deviation of two unrelated updates' cosine, 1/√(out·in); its mean is 0.

    Unrelated means that one is turned by random rotations on both sides. The value is exact whatever the singular
    values: both rotations together leave no direction of the out·in numbers preferred.

    >>> chance_cosine((100, 100))
    0.01
    """
    if min(shape) < 1:
        raise VxlabError(f"shape={shape} of an update is not positive; give (out, in)")
    return 1 / math.sqrt(shape[0] * shape[1])


def inner_product(a: Update, b: Update) -> float:
    """Return ``⟨ΔW_a, ΔW_b⟩ = Σ (L_aᵀL_b) ∘ (R_a·R_bᵀ)``, a strip of columns at a time.

    Divided by the norms it is the cosine: where spectra are known, ‖ΔW‖² = Σσᵢ², and this half of the work is enough.

    Args:
        a: left ``(out, r)`` and right ``(r, in)``.
        b: the same for the other update, of the same out and in; the ranks may differ.

    Raises:
        VxlabError: as :func:`cosine`, except that NaN in a factor gives NaN.
    """
    return _inner(*_pair(a, b))


def gram_norm(update: Update) -> float:
    """Return ‖ΔW‖_F from the upper triangles of leftᵀ·left and right·rightᵀ, or NaN where the factors cancel.

    Args:
        update: float64 left ``(out, r)`` and right ``(r, in)``, not checked.
    """
    left, right = update
    total = left_trace = right_trace = 0.0
    for start in range(0, left.shape[1], STRIP):
        stop = start + STRIP
        P, Q = left[:, start:stop].mT @ left[:, start:], right[start:stop] @ right[start:].mT
        total += 2 * _dot(P, Q) - _dot(P[:, :STRIP], Q[:, :STRIP])
        left_trace, right_trace = left_trace + float(P.trace()), right_trace + float(Q.trace())
    return math.sqrt(total) if total > CANCELS * left_trace * right_trace else math.nan


def _inner(a: Update, b: Update) -> float:
    total = 0.0
    for left, right in zip(torch.split(b[0], 2 * STRIP, dim=1), torch.split(b[1], 2 * STRIP), strict=True):
        total += _dot(a[0].mT @ left, a[1] @ right.mT)
    return total


def _formed_cosine(a: Update, b: Update) -> float:
    """Return the cosine by forming both updates: where their factors cancel, every digit counts."""
    x, y = ((left @ right).flatten() for left, right in map(factors_of, (a, b)))
    if any(float(product.norm()) <= rounding_of(update) for product, update in ((x, a), (y, b))):
        return math.nan
    return float((x / x.norm()) @ (y / y.norm()))


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _doubles(update: Update) -> Update:
    """Return float64 factors that fit each other; whether they are finite is looked at where the result is not."""
    factors = [factor.detach().double() for factor in update if isinstance(factor, Tensor) and factor.dim() == 2]
    if not isinstance(update, tuple) or len(factors) != 2 or factors[0].shape[1] != factors[1].shape[0]:
        left, right = factors_of(update)  # which says what is wrong
        return left.double(), right.double()
    return factors[0], factors[1]


def _pair(a: Update, b: Update) -> tuple[Update, Update]:
    first, second = _doubles(a), _doubles(b)
    if _shape(first) != _shape(second):
        raise VxlabError(f"updates of shapes {_shape(first)} and {_shape(second)} cannot be compared; take one layer's")
    return first, second


def _shape(update: Update) -> tuple[int, int]:
    return update[0].shape[0], update[1].shape[1]


def _named(layer: str, a: Update, b: Update) -> float:
    try:
        return cosine(a, b)
    except VxlabError as error:
        raise VxlabError(f"layer `{layer}`: {error}") from None


def _spanning(update: Update) -> Tensor:
    """Return ``(out, k)`` with ΔW's own column space: its left singular vectors, 0 for those that are but rounding."""
    U, S, _ = update_svd(update)
    return U * (rounding_of(update) < S)


def _transposed(update: Update) -> Update:
    left, right = factors_of(update)
    return right.mT, left.mT
