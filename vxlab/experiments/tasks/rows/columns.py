"""Name the columns of rows as they were read, and check what is in them."""

import re
from dataclasses import dataclass

import pandas as pd

from vxlab.checks import quote, settle_fields
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.delimited import list_names
from vxlab.experiments.tasks.rows.files import Rows
from vxlab.experiments.tasks.rows.label_kinds import KINDS, Labels

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Columns:
    """Name the columns to use, and say what the label is, or the prompt; what is left empty is found."""

    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    group_column: str | None = None
    label_kind: str | None = None
    prompt_template: str | None = None
    answer_column: str | None = None
    image_column: str | None = None

    def __post_init__(self) -> None:
        settle_fields(self)
        for field in (
            "text_columns",
            "label_column",
            "group_column",
            "prompt_template",
            "answer_column",
            "image_column",
        ):
            value = getattr(self, field)
            if value is not None and not all(name.strip() for name in ([value] if isinstance(value, str) else value)):
                raise VxlabError(f"{field}={value!r} names nothing; leave it out, or write a name")
        if len(self.text_columns) > 2:
            raise VxlabError(f"text_columns={self.text_columns}: name one column, or two for pairs of texts")
        if self.label_kind not in (None, *KINDS):
            raise VxlabError(f"label_kind={self.label_kind!r} is unknown; choose {' or '.join(KINDS)}, or leave it out")
        for field in ("label_column", "answer_column"):
            if (name := getattr(self, field)) in self.text_columns:
                raise VxlabError(f"{field}={name!r} is one of text_columns; a text would give its {field[:-7]}")
        self._refuse_both()

    def refuse_label_beside_template(self) -> None:
        """Refuse a label beside a prompt's template; where rows offer choices, it says which of them is right."""
        if self.prompt_template and self.label_column:
            raise _says_both("prompt_template", self.prompt_template, "label_column", self.label_column)

    def _refuse_both(self) -> None:
        """Refuse what says that the model answers with a label and that it writes."""
        for writes, label in (("prompt_template", "label_kind"), ("answer_column", "label_column"),
                              ("answer_column", "label_kind")):  # fmt: skip
            if getattr(self, writes) and getattr(self, label):
                raise _says_both(writes, getattr(self, writes), label, getattr(self, label))
        if self.prompt_template and self.text_columns:
            raise VxlabError(
                f"text_columns={self.text_columns} and prompt_template={quote(self.prompt_template)}: the template "
                "names its columns; leave text_columns out"
            )


def _says_both(writes: str, one: str, label: str, other: str) -> VxlabError:
    return VxlabError(
        f"{writes}={quote(one)} is of a task whose model writes, and {label}={quote(other)} of one with labels; leave "
        "one of them out"
    )


@dataclass(frozen=True)
class Reading:
    """Hold what a reader hands over.

    Args:
        splits: rows by split; train always, the others where the data has them.
        columns: the columns that hold texts, label and group, or the prompt's template and the answer.
        source: where the data came from, without the path of this machine.
        citation: what to cite, or "".
        labels: the labels, or None to infer them from the training rows.
        metrics: the metrics, or () for the usual ones of the kind of task.
        advice: what an error about a lacking column tells the user to do.
        published: a benchmark with its own splits and labels, taken as it is: no row is left out, and nothing is said
            of copies.
        unit: what the groups are, in words for many of them; "" where the user named them.
        notes: what the user should know of the splits, in sentences.
        kept: columns that stay beside a prompt and its answer in the splits that have them.
    """

    splits: dict[str, Rows]
    columns: Columns
    source: str
    citation: str = ""
    labels: Labels | None = None
    metrics: tuple[str, ...] = ()
    advice: str = (
        "Name the columns to use with text_columns=, label_column=, or, where the model is to write, answer_column="
    )
    published: bool = False
    unit: str = ""
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def require_rows(splits: dict[str, Rows]) -> None:
    """Raise a VxlabError where a split has no rows."""
    for rows in splits.values():
        if rows.frame.empty:
            raise VxlabError(f"{rows.place}: no rows; a split needs some to train or score on")


def require_columns(rows: Rows, columns: tuple[str, ...], advice: str) -> None:
    """Raise a VxlabError where one of some columns is lacking, or there twice."""
    here = list(rows.frame.columns)
    for name in columns:
        if name not in here:
            raise VxlabError(f"{rows.place}: no column {name!r} among {list_names(here)}. {advice}")
        if here.count(name) > 1:
            raise VxlabError(f"{rows.place}: several columns are named {name!r}; keep one")


def drop_lacking(splits: dict[str, Rows], column: str) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Leave out splits, but train, that come without a column, as those of competitions do, and say so."""
    kept = {split: rows for split, rows in splits.items() if split == "train" or column in rows.frame.columns}
    lacking = [rows for split, rows in splits.items() if split not in kept]
    return kept, tuple(
        f"{rows.place}: no column {column!r} among {list_names(list(rows.frame))}; the split is left out"
        for rows in lacking
    )


def read_texts(rows: Rows, column: str, what: str = "text") -> list[str]:
    """Return a column's texts, an empty one included.

    Raises:
        VxlabError: one is missing, no string, or holds half of a character. The message names file and row.
    """
    texts = rows.frame[column].tolist()
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            found = "missing" if pd.api.types.is_scalar(text) and pd.isna(text) else quote(text)
            raise VxlabError(f"{rows.where(position)}: the {what} in column {column!r} is {found}; it must be a string")
        if is_damaged(text):
            raise VxlabError(
                f"{rows.where(position)}: the {what} in column {column!r} holds half of a character (a lone surrogate)"
            )
    return texts


def is_damaged(text: str) -> bool:
    """Say whether a text holds half of a character, which no file of UTF-8 and no tokenizer takes.

    >>> is_damaged("caf\\u00e9"), is_damaged("\\ud83d")
    (False, True)
    """
    return not text.isascii() and _HALF.search(text) is not None
