"""Say of a data set of the user's own what its scores would not show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.tasks.rows import list_names


def tell_overlap(
    overlap: Mapping[str, Mapping[str, int]], rows: Mapping[str, int], what: str = "texts"
) -> tuple[str, ...]:
    """Say which splits share texts, or images.

    >>> tell_overlap({"test": {"train": 3}}, {"train": 9, "test": 4})[0]
    'texts stand in two splits: 3 of the 4 rows of test (75.0 %) are in train too; leave them out of one of the two'
    """
    shared = [
        f"{count} of the {rows[later]} rows of {later} ({count / rows[later]:.1%}) are in {earlier} too".replace(
            "%", " %"
        )
        for later, counts in overlap.items()
        for earlier, count in counts.items()
        if count
    ]
    return (f"{what} stand in two splits: {', '.join(shared)}; leave them out of one of the two",) if shared else ()


def tell_conflicts(texts: int, rows: int, what: str = "texts") -> tuple[str, ...]:
    """Say how many texts, or images, have more than one label."""
    one = what.removesuffix("s")
    return (f"different labels on the same {one}: {texts} {one}(s), {rows} rows",) if texts else ()


def tell_classes(names: Sequence[str], labels: Mapping[str, NDArray[Any]], carved: bool) -> tuple[str, ...]:
    """Say which classes are scored and never seen in training, and which have too few rows to be tested.

    Args:
        names: of the classes.
        labels: the class ids of each split, train first.
        carved: whether the test split was carved out of train.
    """
    counts = {split: np.bincount(ids, minlength=len(names)) for split, ids in labels.items()}
    notes = [
        f"classes in {split} without a row in train, which cannot be learnt: {_name(names, lacking)}"
        for split, count in counts.items()
        if (lacking := (count > 0) & (counts["train"] == 0)).any()
    ]
    single = np.sum(list(counts.values()), axis=0) == 1
    if carved and single.any():
        notes.append(f"classes with one row, which is in train, so that they are never tested: {_name(names, single)}")
    return tuple(notes)


def _name(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    return list_names([name for name, named in zip(names, chosen, strict=True) if named])
