"""How alike two updates are: layer by layer, by the spaces they live in, and what chance would give."""

import math
from collections.abc import Mapping

from torch import Tensor

from vxlab.analysis.subspaces import overlap
from vxlab.analysis.update import Update, check_update
from vxlab.errors import VxlabError


def cosines(first: Mapping[str, Update], second: Mapping[str, Update]) -> dict[str, float]:
    """Return the cosine of two adapters' updates for every layer, in the order of the first.

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
        a: directions in which it is zero to rounding do not count.
        b: the other update; ``in`` may differ.

    Returns:
        0 to 1, :func:`vxlab.analysis.subspaces.chance_overlap` on average by chance; NaN where an update is zero.

    Raises:
        VxlabError: ``out`` differs, or one is no :class:`~vxlab.analysis.update.Update`.

    >>> import torch
    >>> e = torch.eye(3)
    >>> round(column_overlap(Update(e[:, :1], e[:1]), Update(e[:, :1], e[1:2])), 12)
    1.0
    """
    return overlap(*(_spanning(check_update(name, each)) for name, each in (("a", a), ("b", b))))


def row_overlap(a: Update, b: Update) -> float:
    """Return the overlap of two updates' row spaces, the inputs they listen to; otherwise as :func:`column_overlap`."""
    return overlap(*(_spanning(check_update(name, each).transpose()) for name, each in (("a", a), ("b", b))))


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


def _named(layer: str, a: Update, b: Update) -> float:
    try:
        return check_update("the first update", a).cosine(b)
    except VxlabError as error:
        raise VxlabError(f"layer `{layer}`: {error}") from None


def _spanning(update: Update) -> Tensor:
    """Return ``(out, k)`` with ΔW's own column space: its left singular vectors, 0 for those that are but rounding."""
    U, S, _ = update.svd()
    return U * (update.rounding() < S)
