"""Ask the questions of published sets as lm-eval's own tasks do: a prompt, answers to choose from, the right one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Rows, is_damaged

_PLACE = re.compile(r"\{(\w+)\}")
_BRACKETS = re.compile(r"\[.*?\]")
_UNLABELLED = -1
_GAP = "_"

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """Say how a row asks, and where its answers and the right one stand.

    Args:
        prompt: with places for columns.
        choices: each with places for columns; or the column that lists them, alone or as ``text`` beside ``label``.
        label: the column of the right one: its place, or the label that it has in that list.
        first: the number of the first place.

    Source:
        Gao et al., A framework for few-shot language model evaluation (lm-evaluation-harness), 0.4.13, the packaged
        tasks arc_easy, arc_challenge, openbookqa, piqa, social_iqa, boolq, hellaswag and winogrande.
    """

    prompt: str
    choices: tuple[str, ...] | str
    label: str
    first: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a row needs; of a test whose labels are secret, all but the last."""
        listed = (self.choices,) if isinstance(self.choices, str) else _places(*self.choices)
        return tuple(dict.fromkeys((*_places(self.prompt), *listed, self.label)))

    def ask(self, rows: Rows) -> Rows:
        """Return the rows with the columns ``text``, ``choices`` and ``label``; -1 is a label that is not told.

        Raises:
            VxlabError: a text that is lacking; a list that is none; a label that is no place in it, or not in it. The
                message names file and row.
        """
        columns = {str(name): rows.frame[name].tolist() for name in rows.frame}
        asked = [
            self._ask({name: values[place] for name, values in columns.items()}, rows.where(place))
            for place in range(len(rows.frame))
        ]
        frame = pd.DataFrame(asked, index=rows.frame.index, dtype=object)
        return Rows(frame, rows.place, rows.unit, rows.notes)

    def _ask(self, row: _Row, where: str) -> dict[str, Any]:
        choices, labels = self._choices(row, where)
        right = row.get(self.label)
        label = self._place(right, len(choices), where) if labels is None else _find(right, labels, where)
        return {"text": _fill(self.prompt, row, where), "choices": choices, "label": label}

    def _choices(self, row: _Row, where: str) -> tuple[list[str], list[str] | None]:
        """Return a row's answers, and their labels where they have some."""
        if not isinstance(self.choices, str):
            return [_fill(choice, row, where) for choice in self.choices], None
        given = row[self.choices]
        if isinstance(given, Mapping) and {"text", "label"} <= given.keys():
            texts, labels = _texts(given["text"], where, self.choices), _texts(given["label"], where, self.choices)
            if len(texts) != len(labels) or len(set(labels)) < len(labels):
                raise VxlabError(
                    f"{where}: {len(texts)} answers have the labels {', '.join(labels)}; each needs one of its own"
                )
            return texts, labels
        return _texts(given, where, self.choices), None

    def _place(self, right: Any, count: int, where: str) -> int:
        if not _is_told(right):
            return _UNLABELLED
        place = _whole(right)
        if place is None or not 0 <= place - self.first < count:
            raise VxlabError(
                f"{where}: {self.label} is {quote(right)}; it must be the right answer's number, {self.first} to "
                f"{self.first + count - 1}"
            )
        return place - self.first


@dataclass(frozen=True)
class Endings(Question):
    """Ask HellaSwag's questions, without the marks that its WikiHow texts are left with."""

    def _ask(self, row: _Row, where: str) -> dict[str, Any]:
        begun = dict(row, ctx_b=_fill("{ctx_b}", row, where).capitalize())
        asked = super()._ask(begun, where)
        return {**asked, "text": clean(asked["text"]), "choices": list(map(clean, asked["choices"]))}


@dataclass(frozen=True)
class Gap(Question):
    """Ask WinoGrande's sentences: what comes after the gap is scored, behind each word that may fill it."""

    def _ask(self, row: _Row, where: str) -> dict[str, Any]:
        asked = super()._ask(row, where)
        before, gap, after = asked["text"].partition(_GAP)
        if not gap:
            raise VxlabError(f"{where}: the sentence {quote(asked['text'])} has no gap, {_GAP}")
        contexts = [before + option for option in asked["choices"]]
        return {**asked, "choices": [after.strip()] * len(contexts), "contexts": contexts}


def is_secret(asked: Rows) -> bool:
    """Say whether no label is told of questions as :meth:`Question.ask` returns them."""
    return bool((asked.frame["label"] == _UNLABELLED).all())


def clean(text: str) -> str:
    """Return a text of HellaSwag without its marks in brackets.

    >>> clean(" How to fry [title] Heat the oil. [step] Wait.")
    'How to fry. Heat the oil. Wait.'
    """
    return _BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _places(*templates: str) -> list[str]:
    return [column for template in templates for column in _PLACE.findall(template)]


def _fill(template: str, row: _Row, where: str) -> str:
    return _PLACE.sub(lambda place: _text(row[place[1]], where, place[1]), template)


def _text(value: Any, where: str, column: str) -> str:
    if not isinstance(value, str):
        raise VxlabError(f"{where}: {column} is {quote(value)}; it must be a string")
    if is_damaged(value):
        raise VxlabError(f"{where}: {column} holds half of a character (a lone surrogate)")
    return value


def _texts(values: Any, where: str, column: str) -> list[str]:
    if isinstance(values, str | Mapping) or not hasattr(values, "__iter__"):
        raise VxlabError(f"{where}: {column} is {quote(values)}; it must be a list of answers")
    return [_text(value, where, column) for value in values]


def _find(right: Any, labels: list[str], where: str) -> int:
    if not _is_told(right):
        return _UNLABELLED
    if (key := str(right).strip()) not in labels:
        raise VxlabError(f"{where}: the right answer is {quote(right)}, which is none of {', '.join(labels)}")
    return labels.index(key)


def _is_told(right: Any) -> bool:
    """Say whether a label is there: tests whose labels are secret have none, an empty one, or -1."""
    missing = bool(pd.api.types.is_scalar(right) and pd.isna(right))
    return not missing and str(right).strip() not in ("", "-1")


def _whole(value: Any) -> int | None:
    """Return a whole number that is written as one, or as a text of its digits; a yes or no is 1 or 0."""
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else None
    whole = isinstance(value, int | np.integer | np.bool_) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else None
