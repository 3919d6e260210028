"""Complete train, validation and test: what a data set lacks is carved out of its training rows."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.copies import Ids
from vxlab.experiments.tasks.splits import carve

_TEST = 0.2
_VALIDATION = 0.1
_MOST_VALIDATION_ROWS = 2000  # the standard error of an accuracy is then about one point: enough to choose by


def complete_splits(
    name: str,
    frames: dict[str, pd.DataFrame],
    strata: NDArray[Any],
    seed: int,
    units: Ids | None = None,
    what: str = "texts",
) -> dict[str, pd.DataFrame]:
    """Complete train, validation and test, in this order, with further test splits after them.

    Args:
        name: the task, in the words of an error.
        frames: train at the least, with the column group where there are groups.
        strata: (rows,) of train, whose mix every part keeps: class ids, targets, or all alike.
        seed: of the carving.
        units: of each training row, which stay in one split; None where every row stands for itself.
        what: the rows hold, in the words of an error.

    Raises:
        VxlabError: too few rows, texts or groups to carve what is lacking.
    """
    given = dict(frames)
    train, test, validation = given.pop("train"), given.pop("test", None), given.pop("validation", None)
    if test is None:
        test, validation = validation, None
    grouped = "group" in train
    one = "group" if grouped else what.removesuffix("s")
    _check_enough(name, len(train), units, one, [test is None, validation is None])
    wanted = max(1, min(_VALIDATION * len(train), _MOST_VALIDATION_ROWS))
    if test is None:
        kept, held = _carve(strata, units, grouped, _TEST, seed, keep=2)
        train, test, strata = train.iloc[kept], train.iloc[held], strata[kept]
        units = None if units is None else units[kept]
    if validation is None:
        kept, held = _carve(strata, units, grouped, min(wanted / len(train), 0.5), seed, keep=1)
        train, validation = train.iloc[kept], train.iloc[held]
    return {"train": train, "validation": validation, "test": test, **given}


def tell_replaced(found: Collection[str], labelled: Collection[str]) -> tuple[str, ...]:
    """Say what stands in for a split that was found and has no labels.

    >>> tell_replaced(["train", "test"], ["train"])
    ('the test split is carved out of train',)
    """
    if "test" in found and "test" not in labelled:
        if "validation" in labelled:
            return ("the validation split is the test split, and another validation split is carved out of train",)
        return ("the test split is carved out of train",)
    if "validation" in found and "validation" not in labelled:
        return ("the validation split is carved out of train",)
    return ()


def _check_enough(name: str, rows: int, units: Ids | None, what: str, lacking: list[bool]) -> None:
    needed, found = 1 + sum(lacking), rows if units is None else len(np.unique(units))
    if needed == 1 or found >= needed:
        return
    few = f"{rows} row(s)" + (f" of {found} different {what}(s)" if found < rows else "")
    parts = " and ".join(split for split, lacks in zip(("test", "validation"), lacking, strict=True) if lacks)
    raise VxlabError(
        f"{name}: {parts} cannot be carved out of {few}: at least {needed} {what}s are needed; "
        f"add rows, or files for {parts}"
    )


def _carve(
    strata: NDArray[Any], units: Ids | None, grouped: bool, fraction: float, seed: int, keep: int
) -> tuple[Ids, Ids]:
    groups, copies = (units, None) if grouped else (None, units)
    return carve(strata, groups, fraction, seed, copies, keep)
