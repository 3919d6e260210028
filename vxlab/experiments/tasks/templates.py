"""Write prompts from the columns of a row: by a template of the user's, or by Alpaca's two."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Rows, find_missing, read_texts

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<column>[^{}]*)\}|[{}]")
_ALPACA = (
    "Below is an instruction that describes a task{more}. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n{input}### Response:"
)
_ALPACA_INPUT = (", paired with an input that provides further context", "### Input:\n{input}\n\n")
ALPACA_COLUMNS = ("instruction", "output")
"""the columns by which data in Alpaca's layout is known; ``input`` may be lacking"""


@dataclass(frozen=True)
class Template:
    r"""Write a prompt by a text with places for columns; ``{{`` and ``}}`` are braces.

    Args:
        text: the template.
        answer: the column of the answers.

    Raises:
        VxlabError: a brace that does not fit, no place, a place for the answer, or a new line that a shell left as two
            characters.

    >>> Template("{question}\n", "answer").columns
    ('question',)
    """

    text: str
    answer: str

    def __post_init__(self) -> None:
        told = f"prompt_template={quote(self.text)}"
        odd = next((piece for piece in _PIECE.finditer(self.text) if piece[0] in ("{", "}") or piece[0] == "{}"), None)
        if odd:
            raise VxlabError(
                f"{told}: {odd[0]!r} at character {odd.start() + 1} names no column; write {{{{ and }}}} for braces"
            )
        if "\\n" in self.text:
            raise VxlabError(
                f"{told} holds a backslash and an n where a new line is meant; a shell writes one as $'{{text}}\\n', "
                'YAML as "{text}\\n"'
            )
        if not self.columns:
            raise VxlabError(f"{told} has no place for a column, so that all prompts were one; write such as {{text}}")
        if self.answer in self.columns:
            raise VxlabError(f"{told} holds the answer, {{{self.answer}}}; a prompt would give its answer")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it has places for, each once."""
        return tuple(dict.fromkeys(piece["column"] for piece in _PIECE.finditer(self.text) if piece["column"]))

    def write(self, rows: Rows) -> tuple[dict[str, list[str]], tuple[str, ...]]:
        """Return the prompts as ``text``, and what the user should know of them: a place may stay empty, not all.

        Raises:
            VxlabError: a value is no string, or all of a row's places are empty.
        """
        filled, empty = _read_places(rows, self.columns)
        notes = [
            f"{rows.place}: column {column!r}, which has a place in the prompt, is empty in {count} of "
            f"{len(rows.frame)} rows"
            for column, count in empty.items()
            if count
        ]
        return {"text": [_fill(self.text, row.__getitem__) for row in filled]}, tuple(notes)


@dataclass(frozen=True)
class Alpaca:
    """Write Alpaca's prompt, which has one form for rows with an ``input`` and one for those without.

    Args:
        answer: the column of the answers.
        with_input: whether there is a column ``input``.

    Source:
        Taori et al., Stanford Alpaca: An Instruction-following LLaMA model, 2023, README and train.py.
    """

    answer: str
    with_input: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a prompt is written from."""
        return ("instruction", "input") if self.with_input else ("instruction",)

    def write(self, rows: Rows) -> tuple[dict[str, list[str]], tuple[str, ...]]:
        """Return the prompts as ``text``, and nothing to know of them.

        Raises:
            VxlabError: an instruction is missing or empty, or a value is no string.
        """
        _read_places(rows, ("instruction",))
        filled, _ = _read_places(rows, self.columns)
        return {"text": [_alpaca(row["instruction"], row.get("input", "")) for row in filled]}, ()


def _alpaca(instruction: str, given: str) -> str:
    more, part = _ALPACA_INPUT if given else ("", "")
    written = {"more": more, "instruction": instruction, "input": part.replace("{input}", given)}
    return _fill(_ALPACA, written.__getitem__)


def _fill(template: str, value: Callable[[str], str]) -> str:
    """Fill all places in one pass: what stands in a value is no place."""
    return _PIECE.sub(lambda piece: value(piece["column"]) if piece["column"] else piece[0][0], template)


def _read_places(rows: Rows, columns: tuple[str, ...]) -> tuple[list[dict[str, str]], dict[str, int]]:
    """Return each row's values, a missing or white one as "", and how many of each column are."""
    missing = {column: find_missing(rows.frame[column]) for column in columns}
    texts = {}
    for column in columns:
        given = Rows(rows.frame[~missing[column]], rows.place, rows.unit)
        present = iter(read_texts(given, column))
        texts[column] = ["" if lacks else next(present) for lacks in missing[column]]
    filled = [dict(zip(columns, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    for position, row in enumerate(filled):
        if not any(row.values()):
            named = ", ".join(map(repr, columns))
            raise VxlabError(f"{rows.where(position)}: the prompt is empty; column {named} needs a text")
    return filled, {column: int(lacks.sum()) for column, lacks in missing.items()}
