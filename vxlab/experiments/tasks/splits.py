"""Carve one set of rows into two: seeded, stratified, and never through a group."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vxlab.errors import VxlabError

Indices = NDArray[np.int64]

_BINS = 10  # quantile bins that stand in for classes when the label is a number
_DRAWS = 64  # orders of the groups tried; the best balanced one is kept


def carve(
    labels: NDArray[Any],
    groups: NDArray[Any] | None,
    fraction: float,
    seed: int,
    copies: NDArray[Any] | None = None,
    keep: int = 1,
) -> tuple[Indices, Indices]:
    """Split rows into those kept and those held out, with the same mix of labels in both.

    Without groups, every class gives its share to within one row (class sizes times ``fraction``, rounded) or one
    set of copies, and a class of one text stays with the kept rows while ``fraction`` is below one half.
    Floating-point labels are stratified by ten quantile bins. With groups, whole groups are held out: of 64 seeded
    orders of the groups, the one whose first groups come nearest to ``fraction`` of every class is taken, so the
    share is met only as closely as the sizes of the groups allow.

    Args:
        labels: (rows,) class ids (integer) or targets (floating point).
        groups: (rows,) the group of each row, such as the film a review is about; None when rows are independent.
        fraction: share of the rows to hold out, above 0 and below 1. At least one row (group) lands on each side.
        seed: the same labels, groups, fraction and seed give the same rows, on every machine.
        copies: (rows,) a number for each text, where there are no groups; rows with one number stay together. None
            when no text occurs twice, which gives the same rows as all different numbers.
        keep: units (rows, sets of copies, or groups) to keep at the least, where more is to be carved out of them.

    Returns:
        Two ascending index arrays, kept and held out, which together hold every row once.

    Raises:
        VxlabError: ``fraction`` outside (0, 1), or too few rows, texts or groups.

    >>> kept, held = carve(np.array([0, 0, 0, 0, 1, 1, 1, 1]), None, fraction=0.25, seed=0)
    >>> len(kept), len(held)
    (6, 2)
    """
    if not 0 < fraction < 1:
        raise VxlabError(f"fraction={fraction}: the share of rows to hold out must lie between 0 and 1")
    together = copies if groups is None else groups
    units = len(labels) if together is None else len(np.unique(together))
    if units < 1 + keep:
        what = "row" if together is None else "text" if groups is None else "group"
        few = "two" if keep == 1 else keep + 1
        raise VxlabError(f"cannot carve {units} {what}(s) in two: at least {few} {what}s are needed")
    if groups is None:
        held = _whole_copies(labels, copies, fraction, seed, keep)
    else:
        held = _whole_groups(labels, groups, fraction, seed, keep)
    return np.setdiff1d(np.arange(len(labels)), held), held


def sample(labels: NDArray[Any], size: int, seed: int) -> Indices:
    """Draw ``size`` rows with the label mix of the whole; a smaller sample with the same seed is part of a larger one.

    Args:
        labels: (rows,) class ids (integer) or targets (floating point).
        size: rows to draw, 1 to ``len(labels)``.
        seed: seed of the draw.

    Returns:
        Ascending indices of the drawn rows.

    Raises:
        VxlabError: ``size`` out of range.

    >>> sample(np.array([0, 1] * 50), 10, seed=0).shape
    (10,)
    """
    if not 1 <= size <= len(labels):
        raise VxlabError(f"cannot draw {size} of {len(labels)} rows: ask for 1 to {len(labels)}")
    return np.sort(stratified_order(labels, seed)[:size])


def draw_shots(labels: NDArray[Any], shots: int, seed: int) -> Indices:
    """Draw ``shots`` rows of each class; fewer shots of the same seed are part of more.

    Args:
        labels: (rows,) class ids; every class has ``shots`` rows or more.
        shots: rows of each class, 1 or more.
        seed: of the draw.

    Returns:
        Ascending indices of the drawn rows.

    >>> draw_shots(np.array([0, 0, 0, 1, 1, 1]), 2, seed=0).shape
    (4,)
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    placed = pd.Series(labels[order]).groupby(labels[order]).cumcount().to_numpy()
    return np.sort(order[placed < shots]).astype(np.int64)


def stratified_order(labels: NDArray[Any], seed: int) -> Indices:
    """Order rows so that every prefix holds each stratum in proportion: sort by (rank in stratum + ½) / its size.

    Args:
        labels: (rows,) class ids (integer) or targets (floating point).
        seed: of the order within a stratum.

    Returns:
        All indices; the first ones are those of :func:`sample` with this seed.

    >>> int((stratified_order(np.array([0] * 50 + [1] * 50), seed=0)[:10] < 50).sum())
    5
    """
    return _weighted_order(labels, np.ones(len(labels), dtype=np.int64), seed)


def _weighted_order(labels: NDArray[Any], sizes: Indices, seed: int) -> Indices:
    """Order units of several rows by the place of their middle row in their stratum."""
    # RandomState, not default_rng: NumPy keeps its stream frozen, so the rows stay the same for ever.
    order = np.random.RandomState(seed).permutation(len(labels))
    strata, weights = _strata(labels)[order], sizes[order]
    position = np.empty(len(order))
    for stratum in np.unique(strata):
        units = np.flatnonzero(strata == stratum)
        until = weights[units].cumsum()
        position[units] = (until - weights[units] / 2) / until[-1]
    return order[np.argsort(position, kind="stable")].astype(np.int64)


def _whole_copies(labels: NDArray[Any], copies: NDArray[Any] | None, fraction: float, seed: int, keep: int) -> Indices:
    """Hold out the first texts of the stratified order, each with the label of its first row."""
    copies = np.arange(len(labels)) if copies is None else pd.factorize(copies)[0]
    first, sizes = np.unique(copies, return_index=True, return_counts=True)[1:]
    order = _weighted_order(labels[first], sizes, seed)
    wanted = min(max(round(fraction * len(labels)), 1), len(labels) - 1)
    cut = int(np.abs(sizes[order].cumsum()[:-keep] - wanted).argmin())
    return np.flatnonzero(np.isin(copies, order[: cut + 1])).astype(np.int64)


def _whole_groups(labels: NDArray[Any], groups: NDArray[Any], fraction: float, seed: int, keep: int) -> Indices:
    """Hold out the first groups of the seeded order that keeps the mix of labels best."""
    group_of_row, strata = np.unique(groups, return_inverse=True)[1], _strata(labels)
    counts = np.zeros((group_of_row.max() + 1, strata.max() + 1))
    np.add.at(counts, (group_of_row, strata), 1)
    wanted, random = fraction * counts.sum(axis=0), np.random.RandomState(seed)
    best, best_error = np.array([], dtype=np.int64), np.inf
    for _ in range(_DRAWS):
        order = random.permutation(len(counts))
        taken = counts[order].cumsum(axis=0)[:-keep]  # the last groups always stay
        cut = int(np.abs(taken.sum(axis=1) - wanted.sum()).argmin())
        error = np.abs(taken[cut] - wanted).sum()
        if error < best_error:
            best, best_error = order[: cut + 1], error
    return np.flatnonzero(np.isin(group_of_row, best)).astype(np.int64)


def _strata(labels: NDArray[Any]) -> Indices:
    """Number the classes, or the quantile bins of real targets, from 0 up."""
    if np.issubdtype(labels.dtype, np.floating):
        edges = np.quantile(labels, np.linspace(0, 1, _BINS + 1)[1:-1])
        labels = np.searchsorted(edges, labels, side="right")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
