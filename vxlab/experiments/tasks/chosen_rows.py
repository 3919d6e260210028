"""Turn rows as they were read into questions with answers to choose from, of which one is right."""

from typing import Any

import pandas as pd

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import (
    Reading,
    Rows,
    check_present,
    drop_lacking,
    find_missing,
    is_damaged,
    list_names,
    read_texts,
    require_columns,
    require_rows,
)
from vxlab.experiments.tasks.templates import Template
from vxlab.words import number_of

CHOICES, CONTEXTS, SET = "choices", "contexts", "set"
_PROMPT_COLUMNS = ("text", "question", "prompt")
_LABEL_COLUMNS = ("label", "answer")
_ENOUGH = 20
"""Rows, among which the first choice is hardly by chance never right."""


def offers_choices(reading: Reading) -> bool:
    """Say whether the training rows hold answers to choose from: a column ``choices``, and no other task was named."""
    named = reading.columns
    return CHOICES in reading.splits["train"].frame and not (named.answer_column or named.label_kind)


def choice_rows(reading: Reading) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Check every split's prompts, answers to choose from, and which of these are right.

    The label is the place of the right answer, from 0, or its text. Other splits than train may lack their labels, and
    are left out.

    Returns:
        Each split's rows with the columns text, choices, label, and where they are there contexts, set and group; and
        what the user should know, in sentences.

    Raises:
        VxlabError: no rows; a column that is lacking; a prompt that is missing or empty; fewer than two choices, an
            empty one; a label that is none of them. The message names file and row.
    """
    require_rows(reading.splits)
    label = _label_column(reading)
    splits, notes = drop_lacking(reading.splits, label)
    splits, unlabelled = _drop_unlabelled(splits, label)
    frames = {}
    for split, rows in splits.items():
        named = (*_prompt_columns(reading), CHOICES, label, reading.columns.group_column)
        require_columns(rows, tuple(name for name in named if name), reading.advice)
        frames[split] = _checked(rows, reading, label)
    notes = tuple(note for rows in splits.values() for note in rows.notes) + notes + unlabelled
    notes += tuple(note for split, rows in splits.items() for note in _tell_twice(rows, frames[split]))
    return frames, notes + _tell_never_first(splits["train"], frames["train"])


def _checked(rows: Rows, reading: Reading, label: str) -> pd.DataFrame:
    choices = [_texts(rows, position, CHOICES) for position in range(len(rows.frame))]
    columns: dict[str, list[Any]] = {
        "text": _prompts(rows, reading),
        CHOICES: choices,
        "label": [_place(rows, position, label, given) for position, given in enumerate(choices)],
    }
    if CONTEXTS in rows.frame:
        columns[CONTEXTS] = [_contexts(rows, position, given) for position, given in enumerate(choices)]
    if SET in rows.frame:
        columns[SET] = list(map(str, rows.frame[SET]))
    if (group := reading.columns.group_column) is not None:
        check_present(rows, group)
        columns["group"] = list(map(str, rows.frame[group]))
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _label_column(reading: Reading) -> str:
    rows, named = reading.splits["train"], reading.columns.label_column
    found = named or next((name for name in _LABEL_COLUMNS if name in rows.frame), None)
    if found is None:
        raise VxlabError(
            f"{rows.place}: no column known to say which of the choices is right among {list_names(list(rows.frame))}. "
            "Name it with label_column="
        )
    return found


def _prompt_columns(reading: Reading) -> tuple[str, ...]:
    named, rows = reading.columns, reading.splits["train"]
    if named.prompt_template:
        return Template(named.prompt_template, CHOICES).columns
    found = named.text_columns or tuple(name for name in _PROMPT_COLUMNS if name in rows.frame)
    if len(found) != 1:
        what = "several columns may hold" if found else "no column known to hold"
        raise VxlabError(
            f"{rows.place}: {what} the prompt among {list_names(list(rows.frame))}. Name one with text_columns=, or "
            "write some in prompt_template="
        )
    return found


def _prompts(rows: Rows, reading: Reading) -> list[str]:
    if reading.columns.prompt_template:
        return Template(reading.columns.prompt_template, CHOICES).write(rows)[0]["text"]
    column = _prompt_columns(reading)[0]
    prompts = read_texts(rows, column, "prompt")
    for position, prompt in enumerate(prompts):
        if not prompt.strip():
            raise VxlabError(f"{rows.where(position)}: the prompt in column {column!r} is empty; leave the row out")
    return prompts


def _texts(rows: Rows, position: int, column: str) -> list[str]:
    """Return a row's list of two texts or more, none of them empty."""
    given = rows.frame[column].iloc[position]
    found = list(given) if hasattr(given, "__iter__") and not isinstance(given, str | dict) else None
    where = rows.where(position)
    if found is None or not all(isinstance(each, str) for each in found):
        raise VxlabError(f"{where}: column {column!r} holds {quote(given)}; it must be a list of texts")
    if len(found) < 2:
        raise VxlabError(f"{where}: column {column!r} holds {len(found)} answer(s); two or more are needed to choose")
    for place, text in enumerate(found):
        if not text.strip() or is_damaged(text):
            what = "holds half of a character (a lone surrogate)" if text.strip() else "is empty"
            raise VxlabError(f"{where}: entry {place} of column {column!r} {what}; write it, or leave the row out")
    return found


def _contexts(rows: Rows, position: int, choices: list[str]) -> list[str]:
    found = _texts(rows, position, CONTEXTS)
    if len(found) != len(choices):
        raise VxlabError(f"{rows.where(position)}: {len(found)} contexts and {len(choices)} choices; give as many")
    if len(set(zip(found, choices, strict=True))) < len(choices):
        raise VxlabError(f"{rows.where(position)}: two choices with their contexts are the same; keep one")
    return found


def _tell_twice(rows: Rows, frame: pd.DataFrame) -> tuple[str, ...]:
    """Say how many rows offer the same answer twice, as published sets' do, too, and where the first one is."""
    odd = [position for position, given in enumerate(frame[CHOICES]) if len(set(given)) < len(given)]
    if CONTEXTS in frame or not odd:
        return ()
    right = sum(given.count(given[label]) > 1 for given, label in zip(frame[CHOICES], frame["label"], strict=True))
    told = f"{rows.place}: the same answer stands twice among the choices of {number_of(len(odd), 'row')} of "
    told += f"{len(frame)} (the first is {rows.unit} {rows.frame.index[odd[0]]})"
    return (f"{told}; of {right} it is the right one, which no model can tell from its double",)


def _tell_never_first(rows: Rows, frame: pd.DataFrame) -> tuple[str, ...]:
    """Say where no row's first choice is right, as where places are counted from 1 and the last never is."""
    if len(frame) < _ENOUGH or (frame["label"] == 0).any():
        return ()
    return (
        f"{rows.place}: the first choice is the right one in none of {number_of(len(frame), 'row')}; are places "
        "counted from 1? They are from 0 here",
    )


def _place(rows: Rows, position: int, column: str, choices: list[str]) -> int:
    """Return the place of a row's right answer, which is given by its place or as it stands."""
    label = rows.frame[column].iloc[position]
    number = None if isinstance(label, str | bool) else label
    if number is not None and number == number and int(number) == number and 0 <= number < len(choices):
        return int(number)
    if isinstance(label, str) and label in choices:
        return choices.index(label)
    raise VxlabError(
        f"{rows.where(position)}: label {quote(label)} is none of the {len(choices)} choices; give the right one's "
        f"place, 0 to {len(choices) - 1}, or its text"
    )


def _drop_unlabelled(splits: dict[str, Rows], label: str) -> tuple[dict[str, Rows], tuple[str, ...]]:
    kept, notes = {}, []
    for split, rows in splits.items():
        require_columns(rows, (label,), "")
        values = rows.frame[label]
        if split != "train" and (find_missing(values) | (values.astype(str).isin(["-1", ""]))).all():
            notes.append(f"{rows.place}: none of its {len(rows.frame)} rows has a label; the split is left out")
        else:
            kept[split] = rows
    return kept, tuple(notes)
