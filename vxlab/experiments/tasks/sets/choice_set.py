"""Read a commonsense set by its name: in its own fields, to choose from, or as LLM-Adapters has it, to be written."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Columns, Reading, Rows, find_missing, list_names, require_columns
from vxlab.experiments.tasks.sets.catalogue import ADAPTERS_CITATION, CHOICE_SETS, WORDS, ChoiceSet
from vxlab.experiments.tasks.sets.questions import is_secret
from vxlab.experiments.tasks.sets.sources import choose_training, fetch_splits

if TYPE_CHECKING:
    import pandas as pd

ADAPTERS = ("instruction", "output", "answer")
"""the columns of LLM-Adapters' copies"""
_FORMAT = "Answer format:"
_GROUP = "group"


def read_choice_set(name: str, folder: Path | None, prompt_template: str | None = None) -> Reading:
    """Read a set of questions with answers, of which one is right.

    In its own fields, as the hub has them, the task is multiple choice: lm-eval's prompts and answers. In
    LLM-Adapters' JSON (instruction, output, answer) the model writes a sentence that names the answer, such as "the
    correct answer is answer2", after Alpaca's prompt (LLM-Adapters' own code indents its lines by 16 blanks).

    Rows that share BoolQ's passage, SIQA's context or HellaSwag's source are one unit, where the rows say which it is.
    Where the official test has no labels, validation is the test split, and another is left to be carved, as GLUE's.

    Args:
        name: a key of ``CHOICE_SETS``.
        folder: of its files; None is the hub.
        prompt_template: of LLM-Adapters' columns alone.

    Raises:
        VxlabError: no files, or none that can be read; columns of no known layout; a row that does not ask, or whose
            right answer is none of those it may be.
    """
    described = CHOICE_SETS[name]
    found, source = fetch_splits(name, folder)
    splits, notes = choose_training(found, described.official)
    columns = set(splits["train"].frame)
    if columns.issuperset(ADAPTERS):
        return _written(described, splits, source, notes, prompt_template)
    if prompt_template is not None:
        raise VxlabError(
            f"prompt_template= is for LLM-Adapters' copy of {name}; its own fields, {list_names(sorted(columns))}, are "
            "asked as lm-eval asks them: leave it out"
        )
    question = next((each for each in described.questions if columns.issuperset(each.columns)), None)
    if question is None:
        needed = " or ".join(
            ", ".join(columns) for columns in (*(each.columns for each in described.questions), ADAPTERS)
        )
        raise VxlabError(
            f"{splits['train'].place}: {name} needs the columns {needed}, and has "
            f"{list_names(list(splits['train'].frame))}"
        )
    for rows in splits.values():
        require_columns(rows, question.columns[:-1], f"{name} needs {', '.join(question.columns)}")
    asked = {split: question.ask(rows) for split, rows in splits.items()}
    if described.official == "validation" and "test" in asked and is_secret(asked["test"]):
        del asked["test"]
    shared = _tells_shared(described, [splits[split] for split in asked])
    if shared:
        asked = {split: _with_group(rows, splits[split].frame[described.shared]) for split, rows in asked.items()}
    return Reading(
        asked,
        Columns(("text",), "label", _GROUP if shared else None),
        f"{source}, to choose from",
        citation=described.citation,
        metrics=described.metrics,
        notes=notes,
        unit=f"groups ({described.shared})" if shared else "",
    )


def check_words(rows: Rows, words: tuple[str, ...]) -> None:
    """Refuse rows of LLM-Adapters' whose right answer is no word of theirs, is not offered, or is not in the output.

    Raises:
        VxlabError: with file and row.
    """
    require_columns(rows, ADAPTERS, f"LLM-Adapters' copies have {', '.join(ADAPTERS)}")
    asked = zip(*(rows.frame[column].tolist() for column in ADAPTERS), strict=True)
    for position, (instruction, output, answer) in enumerate(asked):
        offered = str(instruction).rpartition(_FORMAT)[2]
        if answer not in words or not _holds(offered, answer):
            raise VxlabError(
                f"{rows.where(position)}: the answer is {quote(answer)}, which is none of "
                f"{', '.join(word for word in words if _holds(offered, word))}"
            )
        if not isinstance(output, str) or not _holds(output, answer):
            raise VxlabError(f"{rows.where(position)}: the answer is {answer}, and the output {quote(output)} lacks it")


def tell_joined(rows: Rows, column: str) -> tuple[str, ...]:
    """Say how many scored rows ask what another one asks: where answers are written, they are one item."""
    again = int(rows.frame[column].astype(str).duplicated().sum())
    return (
        f"{rows.place}: {again} of {len(rows.frame)} rows ask what one before them asks, and are one item with it",
    ) * bool(again)


def _tells_shared(described: ChoiceSet, splits: Sequence[Rows]) -> bool:
    """Say whether every row says what it shares with others: some copies of SIQA have an empty context."""
    column = described.shared
    return bool(column) and all(column in rows.frame and not find_missing(rows.frame[column]).any() for rows in splits)


def _with_group(asked: Rows, groups: "pd.Series[Any]") -> Rows:
    return replace(asked, frame=asked.frame.assign(**{_GROUP: groups.astype(str).to_numpy()}))


def _written(
    described: ChoiceSet, splits: dict[str, Rows], source: str, notes: tuple[str, ...], prompt_template: str | None
) -> Reading:
    for rows in splits.values():
        check_words(rows, described.words)
        notes += tell_joined(rows, ADAPTERS[0]) if rows is not splits["train"] else ()
    return Reading(
        splits,
        Columns(prompt_template=prompt_template, answer_column="output"),
        f"{source}, LLM-Adapters' copy, to be written",
        citation=f"{described.citation}; {ADAPTERS_CITATION}",
        metrics=WORDS,
        notes=notes,
    )


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
