"""Turn rows as they were read into texts and checked labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tabular import Rows

_TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "answer"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text",),
    ("sentence",),
)
_LABEL_COLUMNS = ("label", "score")
_SHOWN = 8


@dataclass(frozen=True)
class Columns:
    """Name the columns to use; what is left empty is found by its usual name."""

    text: tuple[str, ...] = ()
    label: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Labels:
    """Say which labels there are: classes by name, in the order of their ids, or (no names) numbers within bounds."""

    names: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Reading:
    """Hold what a reader hands over.

    Args:
        splits: rows by split; train always, the others where the data has them.
        columns: the columns that hold texts, label and group.
        source: where the data came from, without the path of this machine.
        citation: what to cite, or "".
        labels: the labels, or None to infer them from the training rows.
        metrics: the metrics, or () for the usual ones of the kind of label.
        advice: what an error about a lacking column tells the user to do.
    """

    splits: dict[str, Rows]
    columns: Columns
    source: str
    citation: str = ""
    labels: Labels | None = None
    metrics: tuple[str, ...] = ()
    advice: str = "Name the columns to use with text_columns=, label_column="


def label_rows(reading: Reading) -> tuple[dict[str, pd.DataFrame], Labels]:
    """Select, check and rename the columns of every split.

    Texts are strings, an empty one included. Labels that are all integers are class ids 0..n-1, n being the number
    of distinct labels in train; other numbers are targets of a regression; anything else is a class name, numbered in
    sorted order of the names in train.

    Returns:
        Each split's rows with the columns text, text_pair (for pairs), label (class id, or float) and group (where
        named), and the labels.

    Raises:
        VxlabError: no rows; a column that is lacking; a missing text or label; a label out of range. The message
            names file and row.
    """
    for rows in reading.splits.values():
        if rows.frame.empty:
            raise VxlabError(f"{rows.place}: no rows; a split needs some to train or score on")
    columns = _found(reading)
    for rows in reading.splits.values():
        _check_columns(rows, columns, reading.advice)
    assert columns.label is not None
    labels = reading.labels or _inferred(reading.splits["train"], columns.label)
    return {split: _labelled(rows, columns, labels) for split, rows in reading.splits.items()}, labels


def _found(reading: Reading) -> Columns:
    """Complete the columns by their usual names in train."""
    rows, named = reading.splits["train"], reading.columns
    if len(named.text) > 2:
        raise VxlabError(f"text_columns={named.text}: name one column, or two for pairs of texts")
    here = set(rows.frame.columns) - {named.label, named.group}
    text = named.text or next((usual for usual in _TEXT_COLUMNS if here.issuperset(usual)), ())
    label = named.label or next((usual for usual in _LABEL_COLUMNS if usual in here - set(text)), None)
    if not text or label is None:
        what = "text" if not text else "label"
        raise VxlabError(f"{rows.place}: no column known to hold the {what} among {_listed(rows)}. {reading.advice}")
    return Columns(text, label, named.group)


def _check_columns(rows: Rows, columns: Columns, advice: str) -> None:
    here = list(rows.frame.columns)
    for name in filter(None, (*columns.text, columns.label, columns.group)):
        if name not in here:
            raise VxlabError(f"{rows.place}: no column {name!r} among {_listed(rows)}. {advice}")
        if here.count(name) > 1:
            raise VxlabError(f"{rows.place}: several columns are named {name!r}; keep one")


def _inferred(rows: Rows, column: str) -> Labels:
    values = rows.frame[column]
    _check_present(rows, column)
    numbers = pd.to_numeric(values.astype(str), errors="coerce")  # str(True) is no number: booleans are names
    if numbers.isna().any():
        fractions = numbers.notna() & (numbers % 1 != 0)
        if fractions.any():
            odd = int(numbers.isna().to_numpy().argmax())
            raise VxlabError(
                f"{rows.where(odd)}: label {values.iloc[odd]!r} is no number, and other labels are decimals"
            )
        return Labels(tuple(sorted(set(values.astype(str)))))
    if pd.api.types.is_integer_dtype(numbers):
        return Labels(tuple(map(str, range(numbers.nunique()))))
    return Labels()


def _labelled(rows: Rows, columns: Columns, labels: Labels) -> pd.DataFrame:
    """Build one split's checked frame."""
    assert columns.label is not None
    frame = {name: _texts(rows, column) for name, column in zip(("text", "text_pair"), columns.text, strict=False)}
    _check_present(rows, columns.label)
    values = rows.frame[columns.label].tolist()
    frame["label"] = _class_ids(rows, values, labels.names) if labels.names else _targets(rows, values, labels.bounds)
    if columns.group is not None:
        _check_present(rows, columns.group)
        frame["group"] = list(map(str, rows.frame[columns.group]))
    return pd.DataFrame(frame)


def _texts(rows: Rows, column: str) -> list[Any]:
    texts = rows.frame[column].tolist()
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            shown = "missing" if text is None or text != text else repr(text)
            raise VxlabError(f"{rows.where(position)}: the text in column {column!r} is {shown}; it must be a string")
    return texts


def _class_ids(rows: Rows, values: Sequence[Any], names: tuple[str, ...]) -> list[Any]:
    ids = {name: number for number, name in enumerate(names)}
    if not any(name.isdigit() for name in names):  # files write a class by its name or by its number
        ids |= {str(number): number for number in range(len(names))}
    for position, value in enumerate(values):
        if str(value) not in ids:
            raise VxlabError(
                f"{rows.where(position)}: label {value!r} is outside the {len(names)} classes {_told(names)}"
            )
    return [ids[str(value)] for value in values]


def _told(names: tuple[str, ...]) -> str:
    if names == tuple(map(str, range(len(names)))):
        return f"0..{len(names) - 1} (integer labels count from 0; write other labels as names)"
    shown = ", ".join(f"{number} ({name})" for number, name in enumerate(names[:_SHOWN]))
    return shown + (", ..." if len(names) > _SHOWN else "")


def _targets(rows: Rows, values: Sequence[Any], bounds: tuple[float, float]) -> list[Any]:
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype(float).tolist()
    low, high = bounds
    for position, number in enumerate(numbers):
        if not (math.isfinite(number) and low <= number <= high):
            allowed = "a finite number" if math.isinf(low) else f"a number from {low:g} to {high:g}"
            raise VxlabError(f"{rows.where(position)}: label {values[position]!r} is not {allowed}")
    return numbers


def _check_present(rows: Rows, column: str) -> None:
    missing = rows.frame[column].isna().to_numpy()
    if missing.any():
        raise VxlabError(
            f"{rows.where(int(missing.argmax()))}: column {column!r} is missing a value; every row needs one"
        )


def _listed(rows: Rows) -> str:
    return ", ".join(map(str, rows.frame.columns)) or "no columns"
