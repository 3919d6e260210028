"""MT-Bench's questions, reference answers and judge prompts: from FastChat's files in a folder, or from the hub."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments.judges.prompts import FIELDS, JudgePrompt, own_prompts
from vxlab.experiments.tasks.rows import hub_splits, read_rows
from vxlab.words import list_in_words, nearest, number_of

VARIABLE = "VXLAB_MT_BENCH"
_HUB = "HuggingFaceH4/mt_bench_prompts"
_QUESTIONS, _PROMPTS, _REFERENCES = "question.jsonl", "judge_prompts.jsonl", "reference_answer"
_USUAL_REFERENCE = "gpt-4.jsonl"
BY_REFERENCE = ("math", "reasoning", "coding")
"""Categories in which an answer is right or wrong: there the judge is shown a reference."""


@dataclass(frozen=True)
class BenchQuestion:
    """Two turns of a user."""

    number: int
    category: str
    turns: tuple[str, str]
    references: tuple[str, str] | None = None
    """good answers to both, of those categories that have them"""


@dataclass(frozen=True)
class Bench:
    """Questions, and the prompts by which their answers are judged."""

    questions: tuple[BenchQuestion, ...]
    prompts: Mapping[str, JudgePrompt]
    source: str
    """where all this is from, in words"""
    notes: tuple[str, ...] = ()
    """what a reader of the ratings must know"""

    def messages(self, question: BenchQuestion, answers: Sequence[str], turn: int) -> list[dict[str, str]]:
        """Return what a judge is asked of the answer to a turn, 1 or 2, with the turn before it."""
        guided = question.references is not None
        name = "single-math-v1" if guided else "single-v1"
        prompt = self.prompts[name if turn == 1 else f"{name}-multi-turn"]
        known = question.references or ("", "")
        values = {"question": question.turns[0], "answer": answers[0]}
        for number, (asked, answer, reference) in enumerate(zip(question.turns, answers, known, strict=True), start=1):
            values |= {f"question_{number}": asked, f"answer_{number}": answer, f"ref_answer_{number}": reference}
        return prompt.fill({name: value for name, value in values.items() if name in FIELDS[prompt.name]})

    @property
    def prompts_hash(self) -> str:
        """The first digits of the sha256 of the prompts."""
        texts = [[each.name, each.system, each.template] for _, each in sorted(self.prompts.items())]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def read_bench(folder: str | Path | None = None, questions: Sequence[int] | None = None) -> Bench:
    """Read MT-Bench.

    Args:
        folder: with FastChat's question.jsonl, judge_prompts.jsonl and reference_answer/; None: ``VXLAB_MT_BENCH``, and
            without that the hub's copy of the questions, which has no judge prompts. Without prompts vxlab's own are
            taken; without references the judge is shown none. Both are told.
        questions: the numbers of those wanted, in this order; None takes all.

    Raises:
        VxlabError: a file cannot be read, a question has other than two turns or a number twice, a prompt lacks a
            place, a question wanted is not there, or the hub cannot be reached.

    Source:
        Zheng et al., Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena, NeurIPS 2023.
    """
    folder = settle("folder", folder, str | None) or os.environ.get(VARIABLE)
    found = _from_hub() if folder is None else _from_folder(Path(folder).expanduser())
    if questions is not None:
        found = _choose(found, questions)
    return _with_notes(found)


def _from_folder(folder: Path) -> Bench:
    if not (folder / _QUESTIONS).is_file():
        what = f"lacks {_QUESTIONS}" if folder.is_dir() else "is no folder"
        raise VxlabError(f"folder={str(folder)!r} {what}; name the folder of MT-Bench's files (or set {VARIABLE})")
    references = _read_references(folder / _REFERENCES)
    rows = _rows(folder / _QUESTIONS)
    questions = [
        _question(row.get("question_id"), row.get("category"), row.get("turns"), references.get(row.get("question_id")),
                  f"{_QUESTIONS}, question {index + 1}")
        for index, row in enumerate(rows)
    ]  # fmt: skip
    prompts, whose = _read_prompts(folder / _PROMPTS)
    return Bench(_numbered(questions), prompts, f"MT-Bench's own files, {whose}")


def _from_hub() -> Bench:
    try:
        rows = hub_splits(_HUB, None)["train"].to_list()
    except VxlabError as error:
        raise VxlabError(f"{error}\nOf MT-Bench that is FastChat's question.jsonl; {VARIABLE} may name it") from error
    questions = [
        _question(row.get("prompt_id"), row.get("category"), row.get("prompt"), row.get("reference") or None,
                  f"{_HUB}, row {index + 1}")
        for index, row in enumerate(rows)
    ]  # fmt: skip
    return Bench(_numbered(questions), own_prompts(), f"Hugging Face hub, {_HUB}, judged by vxlab's own prompts")


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_rows(path).frame.to_dict("records")  # type: ignore[assignment]
    return rows


def _question(number: Any, category: Any, turns: Any, references: Any, where: str) -> BenchQuestion:
    if isinstance(number, bool) or not isinstance(number, int):
        raise VxlabError(f"{where}: its number is {quote(number)}; it must be a whole number")
    if not isinstance(category, str) or not category.strip():
        raise VxlabError(f"{where}: its category is {quote(category)}; it must be a word, such as writing")
    asked = _two(turns)
    if asked is None or not all(turn.strip() for turn in asked):
        raise VxlabError(f"{where} (number {number}): its turns are {quote(turns)}; they must be two texts")
    known = _two(references) if category in BY_REFERENCE else None
    if references is not None and category in BY_REFERENCE and known is None:
        raise VxlabError(f"{where} (number {number}): its reference is {quote(references)}; it must be two answers")
    return BenchQuestion(number, category, asked, known)


def _two(texts: Any) -> tuple[str, str] | None:
    if not isinstance(texts, list | tuple) or len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        return None
    return texts[0], texts[1]


def _numbered(questions: Sequence[BenchQuestion]) -> tuple[BenchQuestion, ...]:
    numbers = [question.number for question in questions]
    if twice := next((number for number in numbers if numbers.count(number) > 1), None):
        raise VxlabError(f"question {twice} stands there twice; give every question a number of its own")
    return tuple(questions)


def _read_references(folder: Path) -> dict[Any, Any]:
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    usual = [file for file in files if file.name == _USUAL_REFERENCE]
    if not files:
        return {}
    if not usual and len(files) > 1:
        raise VxlabError(f"{folder} holds {', '.join(file.name for file in files)}; keep one, or {_USUAL_REFERENCE}")
    rows = _rows((usual or files)[0])
    try:
        return {row["question_id"]: row["choices"][0]["turns"] for row in rows}
    except (KeyError, IndexError, TypeError) as error:
        raise VxlabError(
            f"{(usual or files)[0]}: a line holds no question_id with choices[0].turns ({error}), as FastChat writes "
            "reference answers"
        ) from error


def _read_prompts(path: Path) -> tuple[dict[str, JudgePrompt], str]:
    if not path.is_file():
        return own_prompts(), "judged by vxlab's own prompts"
    rows = {row.get("name"): row for row in _rows(path)}
    made = {}
    for name in FIELDS:
        system, template = (rows.get(name, {}).get(key) for key in ("system_prompt", "prompt_template"))
        if not isinstance(system, str) or not isinstance(template, str):
            raise VxlabError(f"{path} lacks the prompt {name!r}, system_prompt and prompt_template; take FastChat's")
        made[name] = JudgePrompt(name, system, template)
    return made, "judged by their prompts"


def _choose(bench: Bench, wanted: Sequence[int]) -> Bench:
    numbers = settle("questions", wanted, tuple[int, ...])
    known = {question.number: question for question in bench.questions}
    for number in numbers:
        if number not in known:
            raise VxlabError(f"questions: {number} is not there{nearest(number, known, 'there are')}")
    if not numbers or len(set(numbers)) < len(numbers):
        raise VxlabError(f"questions={quote(wanted)}: name each question once, and one or more")
    return Bench(tuple(known[number] for number in numbers), bench.prompts, bench.source)


def _with_notes(bench: Bench) -> Bench:
    bare = [each.number for each in bench.questions if each.category in BY_REFERENCE and each.references is None]
    if not bare:
        return bench
    note = (
        f"{number_of(len(bare), 'question')} of {list_in_words(BY_REFERENCE)} without a reference answer: the judge "
        "was shown none, and may take what is wrong for right."
    )
    return Bench(bench.questions, bench.prompts, bench.source, (note,))
