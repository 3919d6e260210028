"""A tiny task of instructions, and a tiny set to be held out: to try the page in seconds; the numbers mean nothing."""

import json
from pathlib import Path
from typing import NamedTuple

from vxlab.studies import smoke_pairs, write_once, write_smoke_model

_ROWS, _QUESTIONS, _LETTERS = 96, 24, "ABCD"


class SmokeFiles(NamedTuple):
    """Where the tiny files are."""

    model: str
    """folder of a Llama of two small layers with random weights"""
    instructions: str
    """file in Alpaca's layout"""
    sets: str
    """folder of questions in the fields of ARC's easy set"""


def smoke_instructions() -> SmokeFiles:
    """Return a tiny model, instructions and questions, all made up.

    They lie in the cache, where they are written once.
    """
    folder = write_once("smoke-instructions", _write)
    return SmokeFiles(*(str(folder / name) for name in ("model", "instructions.json", "sets")))


def _write(folder: Path) -> None:
    write_smoke_model(folder / "model")
    write_smoke_instructions(folder / "instructions.json")
    (folder / "sets").mkdir()
    write_smoke_questions(folder / "sets" / "arc_easy.test.jsonl")


def write_smoke_instructions(path: Path) -> None:
    """Write facts to be told in a sentence, as instruction, input and output."""
    rows = [{"instruction": "Say it.", "input": facts, "output": said} for facts, said in smoke_pairs(_ROWS)]
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_smoke_questions(path: Path) -> None:
    """Write questions with four answers each, in ARC's fields."""
    pairs = smoke_pairs(_QUESTIONS + len(_LETTERS))
    rows = []
    for number, (facts, _) in enumerate(pairs[:_QUESTIONS]):
        said = [pairs[number + step][1] for step in range(len(_LETTERS))]
        right = number % len(_LETTERS)
        said[0], said[right] = said[right], said[0]
        choices = {"text": said, "label": list(_LETTERS)}
        rows.append({"id": str(number), "question": facts, "choices": choices, "answerKey": _LETTERS[right]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
