"""Find rows with the same text: they belong in one split, and a test on what was trained on measures memory."""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Texts = tuple[Sequence[str], ...]
"""The texts of some rows: one column, or two of pairs."""
Ids = NDArray[np.int64]


def number_texts(splits: Mapping[str, Texts]) -> dict[str, Ids]:
    """Number the texts of all splits, the same ones alike.

    Texts are the same where they agree in Unicode's composed form (NFC), without the white space around them; pairs,
    where both of their texts do.

    Returns:
        For each split (rows,) numbers.

    >>> ids = number_texts({"train": (["a", "b"],), "test": ([" b"],)})
    >>> ids["train"].tolist(), ids["test"].tolist()
    ([0, 1], [1])
    """
    columns = [
        pd.factorize(np.array([_compose(text) for texts in column for text in texts], dtype=object))[0]
        for column in zip(*splits.values(), strict=True)
    ]
    ids = columns[0].astype(np.int64)
    if len(columns) > 1:
        ids = pd.factorize(ids * (len(ids) + 1) + columns[1])[0].astype(np.int64)
    ends = np.cumsum([len(texts[0]) for texts in splits.values()])
    return dict(zip(splits, np.split(ids, ends[:-1]), strict=True))


def count_overlap(ids: Mapping[str, Ids]) -> dict[str, dict[str, int]]:
    """Count each later split's rows whose text an earlier split has too.

    >>> count_overlap({"train": np.array([0, 1]), "test": np.array([1, 1, 2])})
    {'test': {'train': 2}}
    """
    names = list(ids)
    return {
        later: {earlier: int(np.isin(ids[later], ids[earlier]).sum()) for earlier in names[:number]}
        for number, later in enumerate(names)
        if number
    }


def count_conflicts(ids: Ids, labels: NDArray[np.float64]) -> tuple[int, int]:
    """Count the texts that have more than one label, and their rows.

    >>> count_conflicts(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 1.0, 1.0]))
    (1, 2)
    """
    kinds = pd.Series(labels).groupby(ids).nunique()
    disputed = kinds.index[kinds > 1]
    return len(disputed), int(np.isin(ids, disputed).sum())


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()
