"""Tell what the labels of a data set are: classes, or numbers to come close to."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vxlab.checks import quote
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    import pandas as pd

    from vxlab.experiments.tasks.rows.files import Rows

KINDS = ("classes", "numbers")

UNLABELLED = -1
"""what many data sets write where a row has no label"""

_SCALARS = (str, bool, int, float, Decimal, np.bool_, np.integer, np.floating)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_LIST = re.compile(r"""\s*(\[\s*([-+.\d'"]|True|False|None|null|\]).*|\{\s*['"].*\})\s*""", re.DOTALL)
_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_LONGEST = 300  # digits of a number; beyond, it is a name
_MANY = 20  # whole numbers: more are rather ratings than classes
_FEW = 5  # decimals: so few, often repeated, are rather versions or grades than measurements
_SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """Say which labels there are: classes by name, in the order of their ids, or (no names) numbers within bounds."""

    names: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-math.inf, math.inf)


def spell_labels(rows: "Rows", column: str) -> list[str]:
    """Return every row's label as it is written.

    Raises:
        VxlabError: a label is missing, or is no text, number or truth value, such as a list of several.
    """
    values = rows.frame[column].tolist()
    kinds = set(map(type, values))
    if not all(issubclass(kind, _SCALARS) for kind in kinds):
        check_present(rows, column)
        odd = next(place for place, value in enumerate(values) if not isinstance(value, _SCALARS))
        raise VxlabError(f"{rows.where(odd)}: label {quote(values[odd])} {_refuse(values[odd])}")
    check_present(rows, column)
    return list(map(str, values))


def check_present(rows: "Rows", column: str) -> None:
    """Raise a VxlabError where a value is missing."""
    missing = find_missing(rows.frame[column])
    if missing.any():
        raise VxlabError(
            f"{rows.where(int(missing.argmax()))}: column {column!r} is missing a value; every row needs one"
        )


def find_missing(values: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Find None, NaN and the like, and texts of nothing but white space.

    >>> import pandas as pd
    >>> find_missing(pd.Series([None, float("nan"), " ", "a", 0], dtype=object)).tolist()
    [True, True, True, False, False]
    """
    blank = [isinstance(value, str) and not value.strip() for value in values.tolist()]
    return np.asarray(values.isna().to_numpy(dtype=bool) | np.array(blank, dtype=bool))


def read_number(label: str) -> int | float | None:
    """Read a label as a number, whole where it is, or return None where it is a word.

    >>> [read_number(label) for label in ("1", "1.0", "1e-1", "01", "one", "nan")]
    [1, 1, 0.1, 1, None, None]
    """
    text = label.strip()
    if len(text) > _LONGEST or not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    return int(number) if number.is_integer() else number


def infer_labels(rows: "Rows", column: str, kind: str | None) -> tuple[Labels, tuple[str, ...]]:
    """Tell from the training rows which labels there are.

    Whole numbers (1, 1.0, "1") are classes by number, other numbers targets of a regression, and anything else is a
    class by name. Classes that are not 0..n-1 are numbered in the order of their numbers or names.

    Args:
        rows: the training rows.
        column: of the labels.
        kind: "classes" or "numbers" where the user says it; None tells it by the rule above.

    Returns:
        The labels, and what of them may not be meant, in sentences; none where the user said the kind.

    Raises:
        VxlabError: a label is missing or none of the kind, or -1 may mean a row without one.
    """
    spelled = spell_labels(rows, column)
    counts = Counter(spelled)
    numbers = {label: read_number(label) for label in counts}
    words = [label for label, number in numbers.items() if number is None]
    decimals = [label for label, number in numbers.items() if isinstance(number, float)]
    if words and (kind == "numbers" or (decimals and kind is None)):
        raise VxlabError(
            f"{rows.where(spelled.index(words[0]))}: label {quote(words[0])} is no number, "
            + ("as label_kind='numbers' asks" if kind else "and other labels are decimals; for classes pass ")
            + ("" if kind else "label_kind='classes'")
        )
    if kind is None:
        _refuse_no_names(rows, spelled, words)
        _refuse_unclear_mark(rows, spelled, numbers)
    told = () if kind else _doubts(column, counts, numbers)
    if kind == "numbers" or (decimals and kind is None):
        return Labels(), told
    if words:
        return Labels(tuple(sorted(counts))), told
    return Labels(_in_order(numbers, decimals)), told


def has_negative(labels: Iterable[Any]) -> bool:
    """Say whether some label is a number below 0, so that -1 is one like the others.

    >>> has_negative(["-1", "1"]), has_negative([0, 1, "x"])
    (True, False)
    """
    numbers = map(read_number, set(map(str, labels)))
    return any(number is not None and number < 0 for number in numbers)


def _in_order(numbers: dict[str, int | float | None], decimals: Sequence[str]) -> tuple[str, ...]:
    """Return the classes' names by their numbers: whole ones are spelled alike however they are written."""
    if decimals:
        return tuple(sorted(numbers, key=lambda label: (numbers[label], label)))
    return tuple(map(str, sorted({number for number in numbers.values() if number is not None})))


def _refuse_no_names(rows: "Rows", spelled: list[str], words: Sequence[str]) -> None:
    """Refuse what CSV makes words of: lists of labels, and numbers with a decimal comma."""
    for word in words:
        if _LIST.fullmatch(word):
            told = "is a list written as text, and several labels a row are not supported"
        elif _COMMA.fullmatch(word):
            told = "is a number with a comma; write decimals with a point"
        else:
            continue
        where = rows.where(spelled.index(word))
        raise VxlabError(f"{where}: label {quote(word)} {told}. Names of classes? Pass label_kind='classes'")


def _refuse_unclear_mark(rows: "Rows", spelled: list[str], numbers: dict[str, int | float | None]) -> None:
    marks = [label for label, number in numbers.items() if number == UNLABELLED]
    others = set(numbers.values()) - {UNLABELLED}
    if not marks or others == {1} or any(number is not None and number < 0 for number in others):
        return
    first = min(spelled.index(mark) for mark in marks)
    raise VxlabError(
        f"{rows.where(first)}: label {marks[0]} often marks a row without a label: "
        "leave such rows out of train, or pass label_kind='classes' (or 'numbers') to take it as it is"
    )


def _doubts(column: str, counts: Counter[str], numbers: dict[str, int | float | None]) -> tuple[str, ...]:
    """Say where the rule's reading may not be what is meant."""
    values = set(numbers.values()) - {None}
    some = ", ".join(f"{label:.40}" for label in list(counts)[:_SHOWN])
    if len(values) < len(set(numbers.values())):
        mixed = f"mixes numbers and words ({some}), each a class of its own; label_kind='classes' ends this"
        return (*([f"column {column!r} {mixed}"] if values else []), *_alike(column, counts))
    if all(isinstance(value, int) for value in values):
        if len(values) <= _MANY:
            return ()
        return (
            f"column {column!r} holds {len(values)} different whole numbers, read as classes; "
            "label_kind='numbers' makes them targets of a regression, label_kind='classes' ends this warning",
        )
    if len(values) > _FEW or counts.total() < 4 * len(values):
        return ()
    return (
        f"column {column!r} holds {len(values)} different numbers ({some}), read as targets of a regression; "
        "label_kind='classes' makes them classes, label_kind='numbers' ends this warning",
    )


def _alike(column: str, counts: Counter[str]) -> tuple[str, ...]:
    """Name classes that differ in capitals or white space alone."""
    first: dict[str, str] = {}
    pairs = [
        (label, first[plain]) for label in counts if first.setdefault(plain := label.strip().lower(), label) != label
    ]
    if not pairs:
        return ()
    return (
        f"column {column!r}: classes {pairs[0][1]!r:.40} and {pairs[0][0]!r:.40} differ in capitals or spaces alone; "
        "label_kind='classes' ends this warning",
    )


def _refuse(value: Any) -> str:
    several = " (several labels a row are not supported)" if isinstance(value, Collection) else ""
    return f"is of type {type(value).__name__}; one label a row is needed: a text, a number, or true or false{several}"
