"""Turn rows as they were read into texts and checked labels."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import (
    UNLABELLED,
    Columns,
    Labels,
    Reading,
    Rows,
    check_present,
    drop_lacking,
    find_missing,
    has_negative,
    infer_labels,
    list_names,
    read_number,
    read_texts,
    require_columns,
    require_rows,
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
    require_rows(reading.splits)
    columns, label = _found(reading)
    splits, lacking = (reading.splits, ()) if reading.published else drop_lacking(reading.splits, label)
    labels = reading.labels
    for rows in splits.values():
        named = (*columns.text_columns, label, columns.group_column)
        require_columns(rows, tuple(name for name in named if name), reading.advice)
    notes = tuple(note for rows in splits.values() for note in rows.notes) + lacking
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
    frame: dict[str, Any] = {name: pd.Series(read_texts(rows, column), dtype=object) for name, column in named}
    spelled = spell_labels(rows, label)
    frame["label"] = _class_ids(rows, label, spelled, labels.names) if labels.names else _targets(rows, label, labels)
    if columns.group_column is not None:
        check_present(rows, columns.group_column)
        frame["group"] = list(map(str, rows.frame[columns.group_column]))
    return pd.DataFrame(frame)


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
