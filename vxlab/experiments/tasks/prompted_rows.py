"""Turn rows as they were read into prompts with answers, and rows with the same prompt into one input."""

import re
from typing import Protocol

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.chats import Chats, is_chat
from vxlab.experiments.tasks.rows import (
    Reading,
    Rows,
    check_present,
    drop_lacking,
    find_missing,
    list_names,
    read_texts,
    require_columns,
    require_rows,
)
from vxlab.experiments.tasks.templates import ALPACA_COLUMNS, Alpaca, Template
from vxlab.experiments.tasks.units import number_units

_PROMPT_COLUMNS = ("prompt", "question", "instruction", "input", "text", "mr", "source", "query", "problem")
_LABEL_COLUMNS = ("label", "score")
_LONG = 20
"""Characters of an answer that no prompt holds by chance."""


class Prompts(Protocol):
    """How a row's prompt and answer are written."""

    @property
    def answer(self) -> str:
        """The column of the answers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a prompt is written from."""

    def write(self, rows: Rows) -> tuple[dict[str, list[str]], tuple[str, ...]]:
        """Return columns, ``text`` at the least, and what the user should know of them."""


def find_prompts(reading: Reading) -> Prompts | None:
    """Tell how prompts are written, by what is named, or by the layout of the training rows; None of labelled rows.

    Without a name, Alpaca's columns and chats (``messages``) are known, where no column holds labels.

    Raises:
        VxlabError: an answer without a column known to hold its prompt, or a template without an answer, or beside a
            label.
    """
    named, rows = reading.columns, reading.splits["train"]
    named.refuse_label_beside_template()
    here = set(rows.frame)
    alpaca = here.issuperset(ALPACA_COLUMNS) and not named.text_columns
    answer = named.answer_column or (ALPACA_COLUMNS[-1] if alpaca else None)
    labelled = named.label_column or named.label_kind or here.intersection(_LABEL_COLUMNS)
    if named.prompt_template:
        if answer is None:
            raise VxlabError(
                f"{rows.place}: prompt_template= needs answer_column=, one of {list_names(list(rows.frame))}"
            )
        return Template(named.prompt_template, answer)
    if alpaca and answer and (named.answer_column or not labelled):
        return Alpaca(answer, "input" in here - {answer})
    if answer and named.answer_column:
        return Template(f"{{{_prompt_column(reading)}}}\n", answer)
    if "messages" in here and not named.text_columns and not labelled and _holds_chats(rows):
        return Chats()
    return None


def prompt_rows(reading: Reading, prompts: Prompts) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Write every split's prompts and answers. Other splits than train may lack their answers, and are left out.

    Returns:
        Each split's rows with the columns text, answer, perhaps messages, group (where named) and those to be kept, and
        what the user should know, in sentences.

    Raises:
        VxlabError: no rows; a column that is lacking; a prompt or an answer that is missing or empty. The message
            names file and row.
    """
    require_rows(reading.splits)
    splits, notes = drop_lacking(reading.splits, prompts.answer)
    splits, unanswered = _drop_unanswered(splits, prompts.answer, reading.advice)
    notes = tuple(note for rows in splits.values() for note in rows.notes) + notes + unanswered
    frames = {}
    for split, rows in splits.items():
        named = dict.fromkeys((*prompts.columns, prompts.answer, reading.columns.group_column))
        require_columns(rows, tuple(name for name in named if name), reading.advice)
        frames[split], told = _written(rows, prompts, reading)
        notes += told
    return frames, notes + _tell_unused(reading, prompts)


def join_inputs(rows: pd.DataFrame) -> pd.DataFrame:
    """Join rows with the same prompt to one input, at the place of the first, with their answers as ``references``.

    An answer that stands there twice is a reference twice: the E2E challenge's script counts it twice too, and so does
    a held-out loss over the rows. Groups that share a prompt are one, by the first one's name.
    """
    if "group" in rows:
        units = number_units((rows["text"].tolist(),), rows["group"].to_numpy(dtype=str))
        rows = rows.assign(group=rows.groupby(units)["group"].transform("first"))
    key = "messages" if "messages" in rows else "text"
    joined = rows[~rows[key].duplicated()].drop(columns="answer").reset_index(drop=True)
    joined.insert(1, "references", rows.groupby(key, sort=False)["answer"].agg(list).tolist())
    return joined


def tell_given_answers(frames: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Say in how many scored rows an answer stands word for word in its prompt: one of 20 characters, or a whole line.

    >>> tell_given_answers({"test": pd.DataFrame({"text": ["2 + 2?\\n4"], "answer": ["4"]})})[0][:60]
    'answers stand word for word in their prompts: 1 of the 1 row'
    """
    scored = {split: frame for split, frame in frames.items() if split != "train"}
    counts = {split: sum(map(_gives, frame["text"], frame["answer"])) for split, frame in scored.items()}
    found = [f"{count} of the {len(frames[split])} rows of {split}" for split, count in counts.items() if count]
    if not found:
        return ()
    return (
        f"answers stand word for word in their prompts: {', '.join(found)}; take them out, unless a model is to find "
        "them there",
    )


def tell_one_answer(train: pd.DataFrame) -> tuple[str, ...]:
    """Say where all training rows have the same answer."""
    if train["answer"].nunique() > 1:
        return ()
    only = train["answer"].iloc[0]
    return (f"all {len(train)} training rows have the answer {only!r:.60}; is answer_column= the right one?",)


def _prompt_column(reading: Reading) -> str:
    """Return the one column that holds the prompt, as named, or by its usual names."""
    named, rows = reading.columns, reading.splits["train"]
    if len(named.text_columns) == 2:
        raise VxlabError(
            f"text_columns={named.text_columns}: a prompt of two columns needs prompt_template=, such as "
            f"'{{{named.text_columns[0]}}} {{{named.text_columns[1]}}}'"
        )
    others = [name for name in rows.frame if name not in (named.answer_column, named.group_column)]
    found = named.text_columns or tuple(name for name in _PROMPT_COLUMNS if name in others)
    if len(found) != 1:
        what = (
            f"several columns may hold the prompt: {list_names(found)}"
            if found
            else (f"no column known to hold the prompt among {list_names(others) or 'no columns'}")
        )
        raise VxlabError(f"{rows.place}: {what}. Name one with text_columns=, or write some in prompt_template=")
    return found[0]


def _tell_unused(reading: Reading, prompts: Prompts) -> tuple[str, ...]:
    """Say which columns are not in a prompt whose column was found by its name."""
    named, rows = reading.columns, reading.splits["train"]
    if not isinstance(prompts, Template) or named.prompt_template or named.text_columns:
        return ()
    used = {*prompts.columns, prompts.answer, named.group_column}
    others = [name for name in rows.frame if name not in used]
    if not others:
        return ()
    column = prompts.columns[0]
    return (
        f"column {column!r} alone is the prompt, and not used are {list_names(others)}; text_columns={column!r} ends "
        "this, prompt_template= writes a prompt of several",
    )


def _holds_chats(rows: Rows) -> bool:
    return any(map(is_chat, rows.frame["messages"].tolist()))


def _drop_unanswered(splits: dict[str, Rows], answer: str, advice: str) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Leave out splits, but train, without any answer, as those of competitions are, and say so."""
    kept, notes = {}, []
    for split, rows in splits.items():
        require_columns(rows, (answer,), advice)
        if split != "train" and find_missing(rows.frame[answer]).all():
            notes.append(f"{rows.place}: none of its {len(rows.frame)} rows has an answer; the split is left out")
        else:
            kept[split] = rows
    return kept, tuple(notes)


def _written(rows: Rows, prompts: Prompts, reading: Reading) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Build one split's checked frame."""
    columns, notes = prompts.write(rows)
    if "answer" not in columns:
        columns["answer"] = _answers(rows, prompts.answer)
    if (group := reading.columns.group_column) is not None:
        check_present(rows, group)
        columns["group"] = list(map(str, rows.frame[group]))
    columns |= {name: list(map(str, rows.frame[name])) for name in reading.kept if name in rows.frame}
    # dtype=object: strings as pandas' own type would be converted there and back
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}), notes


def _answers(rows: Rows, column: str) -> list[str]:
    answers = read_texts(rows, column, "answer")
    for position, answer in enumerate(answers):
        if not answer.strip():
            raise VxlabError(
                f"{rows.where(position)}: the answer in column {column!r} is empty; write it, leave the row out, "
                "or name another column with answer_column="
            )
    return answers


def _gives(prompt: str, answer: str) -> bool:
    answer = answer.strip()
    if answer not in prompt:
        return False
    if answer in map(str.strip, prompt.split("\n")):
        return True
    return len(answer) >= _LONG and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", prompt) is not None
