"""Turn rows as they were read into texts and checked labels."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vxlab.checks import quote, settle_fields
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.delimited import list_names
from vxlab.experiments.tasks.files import Rows
from vxlab.experiments.tasks.label_kinds import (
    KINDS,
    UNLABELLED,
    Labels,
    check_present,
    find_missing,
    has_negative,
    infer_labels,
    read_number,
    spell_labels,
)

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
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Columns:
    """Name the columns to use, and say what the label is; what is left empty is found."""

    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    group_column: str | None = None
    label_kind: str | None = None

    def __post_init__(self) -> None:
        settle_fields(self)
        for field in ("text_columns", "label_column", "group_column"):
            value = getattr(self, field)
            if value is not None and not all(name.strip() for name in ([value] if isinstance(value, str) else value)):
                raise VxlabError(f"{field}={value!r} names nothing; leave it out, or write a name")
        if len(self.text_columns) > 2:
            raise VxlabError(f"text_columns={self.text_columns}: name one column, or two for pairs of texts")
        if self.label_column in self.text_columns:
            raise VxlabError(f"label_column={self.label_column!r} is one of text_columns; a text would give its label")
        if self.label_kind not in (None, *KINDS):
            raise VxlabError(f"label_kind={self.label_kind!r} is unknown; choose {' or '.join(KINDS)}, or leave it out")


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
        published: a benchmark with its own splits and labels, taken as it is: no row is left out, and nothing is said
            of copies.
        unit: what the groups are, in words for many of them; "" where the user named them.
    """

    splits: dict[str, Rows]
    columns: Columns
    source: str
    citation: str = ""
    labels: Labels | None = None
    metrics: tuple[str, ...] = ()
    advice: str = "Name the columns to use with text_columns=, label_column="
    published: bool = False
    unit: str = ""


def label_rows(reading: Reading) -> tuple[dict[str, pd.DataFrame], Labels, tuple[str, ...]]:
    """Select, check and rename the columns of every split.

    Texts are strings, an empty one included. Which labels there are, the training rows say, as
    :func:`infer_labels` reads them. Rows that are marked as unlabelled are left out.

    Returns:
        Each split's rows with the columns text, text_pair (for pairs), label (class id, or float) and group (where
        named), the labels, and what the user should know, in sentences.

    Raises:
        VxlabError: no rows; a column that is lacking; a missing text or label; a label out of range. The message
            names file and row.
    """
    for rows in reading.splits.values():
        if rows.frame.empty:
            raise VxlabError(f"{rows.place}: no rows; a split needs some to train or score on")
    columns, label = _found(reading)
    splits, labels = (reading.splits if reading.published else _with_column(reading.splits, label)), reading.labels
    for rows in splits.values():
        _check_columns(rows, columns, label, reading.advice)
    notes = tuple(note for rows in splits.values() for note in rows.notes)
    notes += tuple(_lacks(rows, label) for split, rows in reading.splits.items() if split not in splits)
    if labels is None:
        labels, doubts = infer_labels(splits["train"], label, columns.label_kind)
        notes += doubts
    if not reading.published:
        splits, dropped = _drop_unlabelled(splits, label, labels, inferred=reading.labels is None)
        notes += dropped
    return {split: _labelled(rows, columns, label, labels) for split, rows in splits.items()}, labels, notes


def _found(reading: Reading) -> tuple[Columns, str]:
    """Complete the columns by their usual names in train, and name that of the label."""
    rows, named = reading.splits["train"], reading.columns
    here = set(rows.frame.columns) - {named.label_column, named.group_column}
    text = named.text_columns or next((usual for usual in _TEXT_COLUMNS if here.issuperset(usual)), ())
    label = named.label_column or next((usual for usual in _LABEL_COLUMNS if usual in here - set(text)), None)
    if not text or label is None:
        what = "text" if not text else "label"
        known = list_names([name for name in rows.frame if name in here.difference(text)]) or "no columns"
        raise VxlabError(f"{rows.place}: no column known to hold the {what} among {known}. {reading.advice}")
    return replace(named, text_columns=text), label


def _with_column(splits: dict[str, Rows], label: str) -> dict[str, Rows]:
    """Leave out splits, but train, that come without the column of the label, as those of competitions do."""
    return {split: rows for split, rows in splits.items() if split == "train" or label in rows.frame.columns}


def _lacks(rows: Rows, label: str) -> str:
    return f"{rows.place}: no column {label!r} among {list_names(list(rows.frame))}; the split is left out"


def _check_columns(rows: Rows, columns: Columns, label: str, advice: str) -> None:
    here = list(rows.frame.columns)
    for name in filter(None, (*columns.text_columns, label, columns.group_column)):
        if name not in here:
            raise VxlabError(f"{rows.place}: no column {name!r} among {list_names(here)}. {advice}")
        if here.count(name) > 1:
            raise VxlabError(f"{rows.place}: several columns are named {name!r}; keep one")


def _drop_unlabelled(
    splits: dict[str, Rows], column: str, labels: Labels, inferred: bool
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Leave out the rows that say -1 for no label, and splits without any label, and say so.

    -1 is a label like others where the training rows have one below 0. Where the labels were inferred from these,
    they are all labelled. Among the numbers of a regression, -1 means no label where a whole split says so.
    """
    if has_negative(labels.names or splits["train"].frame[column]):
        return splits, ()
    kept, notes = {}, []
    for split, rows in splits.items():
        marked = _find_unlabelled(rows, column, whole=not labels.names) if split != "train" or not inferred else None
        if marked is None or not marked.any():
            kept[split] = rows
        elif marked.all():
            notes.append(f"{rows.place}: none of its {len(marked)} rows has a label; the split is left out")
        else:
            notes.append(f"{rows.place}: {marked.sum()} of {len(marked)} rows have no label (-1) and are left out")
            kept[split] = replace(rows, frame=rows.frame[~marked])
    if "train" not in kept:
        raise VxlabError(f"{splits['train'].place}: no row has a label (all are missing or -1); nothing to learn")
    return kept, tuple(notes)


def _find_unlabelled(rows: Rows, column: str, whole: bool) -> Any:
    """Find the rows with -1 for a label; missing ones count where they are a whole split's."""
    values = rows.frame[column]
    marked = np.array([read_number(label) == UNLABELLED for label in map(str, values.tolist())], dtype=bool)
    nothing = marked | find_missing(values)
    if nothing.all():
        return nothing
    return marked & (not whole)


def _labelled(rows: Rows, columns: Columns, label: str, labels: Labels) -> pd.DataFrame:
    """Build one split's checked frame."""
    named = zip(("text", "text_pair"), columns.text_columns, strict=False)
    # dtype=object: strings as pandas' own type would be converted there and back
    frame: dict[str, Any] = {name: pd.Series(_texts(rows, column), dtype=object) for name, column in named}
    spelled = spell_labels(rows, label)
    frame["label"] = _class_ids(rows, label, spelled, labels.names) if labels.names else _targets(rows, label, labels)
    if columns.group_column is not None:
        check_present(rows, columns.group_column)
        frame["group"] = list(map(str, rows.frame[columns.group_column]))
    return pd.DataFrame(frame)


def _texts(rows: Rows, column: str) -> list[str]:
    texts = rows.frame[column].tolist()
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            found = "missing" if pd.api.types.is_scalar(text) and pd.isna(text) else quote(text)
            raise VxlabError(f"{rows.where(position)}: the text in column {column!r} is {found}; it must be a string")
        if not text.isascii() and _HALF.search(text):
            raise VxlabError(
                f"{rows.where(position)}: the text in column {column!r} holds half of a character (a lone surrogate)"
            )
    return texts


def _class_ids(rows: Rows, column: str, spelled: list[str], names: tuple[str, ...]) -> list[int]:
    """Return class ids; files write a class by its name, a whole number in whatever way, or a name by its number."""
    ids: dict[int | float | str | None, int] = {name: number for number, name in enumerate(names)}
    numbers = {read_number(name): number for number, name in enumerate(names)}
    numbers = numbers if numbers.keys() != {None} else dict(zip(range(len(names)), range(len(names)), strict=True))
    for label in set(spelled) - ids.keys():
        number = read_number(label)
        if number is not None and number in numbers:
            ids[label] = numbers[number]
    for position, label in enumerate(spelled):
        if label not in ids:
            value = rows.frame[column].iloc[position]
            raise VxlabError(
                f"{rows.where(position)}: label {quote(value)} is outside the {len(names)} classes {_told(names)}"
            )
    return [ids[label] for label in spelled]


def _told(names: tuple[str, ...]) -> str:
    if names == tuple(map(str, range(len(names)))):
        return f"0..{len(names) - 1} of the training rows"
    listed = ", ".join(f"{number} ({name:.40})" for number, name in enumerate(names[:_SHOWN]))
    return listed + (", ..." if len(names) > _SHOWN else "")


def _targets(rows: Rows, column: str, labels: Labels) -> list[float]:
    values = rows.frame[column].tolist()
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype(float).tolist()
    low, high = labels.bounds
    for position, number in enumerate(numbers):
        if not (math.isfinite(number) and low <= number <= high):
            allowed = "a finite number" if math.isinf(low) else f"a number from {low:g} to {high:g}"
            raise VxlabError(f"{rows.where(position)}: label {quote(values[position])} is not {allowed}")
    return numbers
