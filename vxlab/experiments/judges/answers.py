"""Let a model answer MT-Bench's questions: two turns each, by its chat template, kept in the store by content."""

import gc
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vxlab.adapters import Base
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.judges.contestants import Contestant
from vxlab.experiments.judges.questions import BenchQuestion
from vxlab.experiments.models import WRITTEN_AT_ONCE, load_tokenizer, position_limit, write_texts
from vxlab.experiments.store import Store, reply_key
from vxlab.experiments.tasks.kinds import OWN_TEMPLATE, Form, writer_of

_NO_LIMIT = 10**9
"""Tokens, from which a tokenizer's limit is none: some write 10³⁰ for it."""


@dataclass(frozen=True)
class Manner:
    """How models answer, all alike: greedily, up to so many tokens a turn."""

    chat_template: str
    """``tokenizer``, or a template file's path"""
    max_new_tokens: int
    device: str
    precision: str


def answer_key(contestant: Contestant, question: BenchQuestion, manner: Manner, template: str) -> str:
    """Return the key of a model's answers to a question: all that decides them, and not where they are computed."""
    return reply_key({
        "answers": "greedy", **contestant.identity(), "turns": list(question.turns), "precision": manner.precision,
        "max_new_tokens": manner.max_new_tokens, "template": hashlib.sha256(template.encode()).hexdigest(),
    })  # fmt: skip


def answer_questions(
    contestant: Contestant,
    questions: Sequence[BenchQuestion],
    manner: Manner,
    store: Store,
    done: Callable[[int], object] = lambda answers: None,
) -> dict[int, tuple[str, str]]:
    """Return a model's answers to both turns of each question, by the question's number.

    The model is loaded where the store lacks some, which are kept batch by batch.

    Args:
        contestant: who answers.
        questions: of MT-Bench.
        manner: how.
        store: where answers are kept.
        done: told how many answers more are there.

    Raises:
        VxlabError: the model has no chat template, or a chat is longer than what it reads.
    """
    tokenizer = load_tokenizer(contestant.model)
    writer = _writer(contestant.model, tokenizer, manner)
    keys = {each.number: answer_key(contestant, each, manner, writer.template) for each in questions}
    kept = store.replies.find(keys.values())
    answers = {number: _pair(kept[key].reply) for number, key in keys.items() if key in kept}
    done(2 * len(answers))
    missing = [each for each in questions if each.number not in answers]
    if not missing:
        return answers
    model = contestant.load().to(manner.device)
    chat = _Chat(contestant.model, model, tokenizer, writer, manner)
    chat.require_room(missing)
    for start in range(0, len(missing), WRITTEN_AT_ONCE):
        batch = missing[start : start + WRITTEN_AT_ONCE]
        turns: list[list[str]] = [[] for _ in batch]
        for _ in range(2):
            written = chat.write(batch, turns)
            for own, text in zip(turns, written, strict=True):
                own.append(text)
            done(len(batch))
        for question, own in zip(batch, turns, strict=True):
            about = {"answers": contestant.candidate, "question": question.number, "seed": contestant.seed}
            kept_now = store.replies.keep(keys[question.number], about, {"answers": own})
            answers[question.number] = _pair(kept_now.reply)
    del model, chat
    gc.collect()  # before the next is loaded
    return answers


class _Chat:
    """Write turns of chats with one model."""

    def __init__(self, name: str, model: nn.Module, tokenizer: Any, writer: Any, manner: Manner) -> None:
        self.name, self.model, self.tokenizer, self.writer, self.manner = name, model, tokenizer, writer, manner
        self.limit = _most_tokens(model, tokenizer)

    def require_room(self, questions: Sequence[BenchQuestion]) -> None:
        """Refuse questions that no answer would fit beside, before any work."""
        for question, prompt in zip(questions, self._prompts(questions, [[] for _ in questions]), strict=True):
            self._room(prompt, question, 1)

    def write(self, questions: Sequence[BenchQuestion], answers: Sequence[Sequence[str]]) -> list[str]:
        """Return the answers to the next turn of each question."""
        turn = 1 + len(answers[0])
        prompts = self._prompts(questions, answers)
        rooms = [self._room(prompt, question, turn) for prompt, question in zip(prompts, questions, strict=True)]
        texts = [""] * len(prompts)
        for room in sorted(set(rooms)):  # how long an answer may be is its own chat's, whatever shares the batch
            chosen = [number for number, own in enumerate(rooms) if own == room]
            spec = RunSpec(method=Base(), model=self.name, max_new_tokens=room)
            these = [prompts[number] for number in chosen]
            written = write_texts(self.model, self.tokenizer, these, spec, self.writer.end, self.manner.precision)
            for number, text in zip(chosen, written, strict=True):
                texts[number] = text
        return texts

    def _prompts(self, questions: Sequence[BenchQuestion], answers: Sequence[Sequence[str]]) -> list[list[int]]:
        chats = [json.dumps(_turns(question, own)) for question, own in zip(questions, answers, strict=True)]
        found: list[list[int]] = self.writer.prompts([""] * len(chats), chats)
        return found

    def _room(self, prompt: Sequence[int], question: BenchQuestion, turn: int) -> int:
        room = min(self.manner.max_new_tokens, self.limit - len(prompt))
        if room < 1:
            raise VxlabError(
                f"question {question.number}, turn {turn}: the chat so far takes {len(prompt)} tokens, and "
                f"model={self.name!r} reads {self.limit}; leave the question out by questions=[...]"
                + (", or let first answers be shorter by max_new_tokens" if turn == 2 else "")
            )
        return room


def _writer(name: str, tokenizer: Any, manner: Manner) -> Any:
    if manner.chat_template == OWN_TEMPLATE and not isinstance(tokenizer.chat_template, str):
        raise VxlabError(
            f"model={name!r} has no chat template, and MT-Bench is a chat of two turns; give the template of its "
            "training as a file, chat_template='template.jinja', or judge a model that was made to chat"
        )
    return writer_of(tokenizer, Form(_NO_LIMIT, manner.chat_template), chats=True)


def _most_tokens(model: nn.Module, tokenizer: Any) -> int:
    """Return how many tokens a model reads, by its config, its positions and its tokenizer."""
    config: Any = getattr(model, "config", None)
    told = getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None
    return int(min(told or _NO_LIMIT, position_limit(model) or _NO_LIMIT, tokenizer.model_max_length, _NO_LIMIT))


def _turns(question: BenchQuestion, answers: Sequence[str]) -> list[dict[str, str]]:
    turns = []
    for number, asked in enumerate(question.turns[: len(answers) + 1]):
        turns.append({"role": "user", "content": asked})
        if number < len(answers):
            turns.append({"role": "assistant", "content": answers[number]})
    return turns


def _pair(reply: dict[str, Any]) -> tuple[str, str]:
    first, second = reply["answers"]
    return first, second
