"""Number the independent units of labelled rows: two reviews of one film, or pairs that share a sentence, are one."""

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.tasks.copies import Ids, Texts, number_texts

SHARED_TEXTS = "groups with a shared text"
"""What units are called where no column names the group."""

_MOST, _FEW = 0.1, 10
"""A share of the rows, and a number: a few common texts that would join more rows than both into one unit join none."""


def number_units(texts: Texts, groups: NDArray[np.str_] | None = None, items: Texts | None = None) -> Ids:
    """Number the units of some rows: rows of one group, or that share a text in whichever column, are one unit.

    Sharing goes on from row to row: a, b and c are one unit where a and b share a premise and b and c a hypothesis. But
    where common texts, such as one of three prompts, would so join more than ten rows and a tenth of all, and no group
    is as large, they join none: rows are then joined by their group, or without groups where all of their texts are the
    same.

    Args:
        texts: one column, or two of pairs.
        groups: (rows,) names of groups, or None.
        items: texts that tell rows apart where common ones would join them, as a question's choices do; None takes
            ``texts``.

    Returns:
        (rows,) numbers from 0, in the order of the groups' names, or without groups of the first rows.

    >>> number_units((["a", "a", "c", "d"], ["x", "y", "y", "z"])).tolist()
    [0, 0, 0, 1]
    >>> number_units((["a", "b", "b", "c"],), np.array(["t", "s", "t", "u"])).tolist()
    [0, 0, 0, 1]
    """
    names = None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
    alike = number_texts({"": items or texts})[""] if names is None else names
    shared = number_texts({str(number): (column,) for number, column in enumerate(texts)})
    joined = _join([*shared.values()], names)
    most = max(_largest(alike), _MOST * len(alike), _FEW)
    return _number(joined if _largest(joined) <= most else alike, names)


def _join(shared: list[Ids], names: Ids | None) -> Ids:
    """Return the connected parts of the rows, of which each has its texts and perhaps a group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(shared[0])
    texts = 1 + max(int(ids.max()) for ids in shared)
    ends = [rows + ids for ids in shared] + ([] if names is None else [rows + texts + names])
    size = rows + texts + (0 if names is None else 1 + int(names.max()))
    edges = np.tile(np.arange(rows), len(ends)), np.concatenate(ends)
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(size, size))
    parts: Ids = connected_components(graph, directed=False)[1][:rows].astype(np.int64)
    return parts


def _largest(units: Ids) -> int:
    return int(np.bincount(units).max())


def _number(units: Ids, names: Ids | None) -> Ids:
    """Number units by the least of their groups' names, which carving draws by, or by their first rows."""
    order = np.arange(len(units)) if names is None else names
    first = np.full(units.max() + 1, len(units), dtype=np.int64)
    np.minimum.at(first, units, order)
    return np.unique(first[units], return_inverse=True)[1].astype(np.int64)
