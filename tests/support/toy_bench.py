"""A few questions in the layout of MT-Bench's files, with made-up words."""

import json
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

REAL = ROOT.parent / "shared" / "data" / "mt_bench"
here = pytest.mark.skipif(not REAL.is_dir(), reason="MT-Bench's files are not beside this checkout")

QUESTIONS: list[dict[str, Any]] = [
    {"question_id": 1, "category": "writing", "turns": ["Name a place.", "Name another."]},
    {"question_id": 2, "category": "math", "turns": ["What is 2 + 2?", "And twice that?"]},
    {"question_id": 3, "category": "stem", "turns": ["What is rain?", "And {snow}?"]},
    {"question_id": 4, "category": "writing", "turns": ["Say hello.", "Say it again."]},
]
REFERENCES = [{"question_id": 2, "choices": [{"index": 0, "turns": ["4", "8"]}]}]
_PLACES = {
    "single-v1": "Q {question} A {answer}",
    "single-math-v1": "Q {question} R {ref_answer_1} A {answer}",
    "single-v1-multi-turn": "Q {question_1} A {answer_1} Q {question_2} A {answer_2}",
    "single-math-v1-multi-turn": (
        "R {ref_answer_1} {ref_answer_2} Q {question_1} A {answer_1} Q {question_2} A {answer_2}"
    ),
}


def prompts(template: str | None = None) -> list[dict[str, str]]:
    """Return the rows of a file of judge prompts, all with one template where it is given."""
    return [
        {"name": name, "system_prompt": "Judge.", "prompt_template": template or text} for name, text in _PLACES.items()
    ]


def write_bench(folder: Path, references: bool = True, own_prompts: bool = False, **changed: Any) -> str:
    """Write the files into a new folder, and return it; ``questions`` and ``prompts`` may be others."""
    folder.mkdir(parents=True)
    _write(folder / "question.jsonl", changed.get("questions", QUESTIONS))
    if references:
        (folder / "reference_answer").mkdir()
        _write(folder / "reference_answer" / "gpt-4.jsonl", REFERENCES)
    if not own_prompts:
        _write(folder / "judge_prompts.jsonl", changed.get("prompts", prompts()))
    return str(folder)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
