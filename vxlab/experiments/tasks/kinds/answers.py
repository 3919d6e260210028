"""Encode prompts with their answers for training and scoring: the answer's tokens alone count."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.kinds.kind import Collate, Form, Rows
from vxlab.experiments.tasks.kinds.prompts import Writer, read_template
from vxlab.warn import warn_once

IGNORED = -100
"""The label of a token that is no answer's."""


def encode_answers(rows: Rows, tokenizer: Any, form: Form, split: str) -> dict[str, list[Any]]:
    """Return ``input_ids``, ``labels``, ``length`` and ``row`` of every prompt with an answer.

    A prompt that is too long beside its answer is cut on the left, behind the tokens that begin every text, and a
    warning says how many are; a chat is never cut, nor is an answer.

    Args:
        rows: with ``text``, perhaps ``messages``, and ``answer``, or ``references``, of which each is a row of its own.
        tokenizer: the model's.
        form: of the run.
        split: its name.

    Raises:
        VxlabError: an answer, or a chat with its answer, is longer than ``max_length``.
    """
    answers = [[answer] for answer in rows["answer"]] if "answer" in rows else rows["references"]
    row = [number for number, several in enumerate(answers) for _ in several]
    flat = [answer for several in answers for answer in several]
    texts = [rows["text"][number] for number in row]
    messages = [rows["messages"][number] for number in row] if "messages" in rows else None
    writer = writer_of(tokenizer, form, messages is not None)
    pairs = list(zip(writer.prompts(texts, messages), writer.answers(texts, flat, messages), strict=True))
    return label_answers(pairs, row, tokenizer, form, split)


def encode_prompts(rows: Rows, tokenizer: Any, form: Form) -> list[list[int]]:
    """Return every prompt's tokens, the last ``max_length`` of them, behind those that begin every text."""
    messages = rows.get("messages")
    prompts = writer_of(tokenizer, form, messages is not None).prompts(rows["text"], messages)
    return [_cut(prompt, form.max_length, tokenizer) for prompt in prompts]


def label_answers(
    pairs: list[tuple[list[int], list[int]]], row: list[int], tokenizer: Any, form: Form, split: str
) -> dict[str, list[Any]]:
    """Return ``input_ids``, ``labels``, ``length`` and ``row`` of prompts with answers, both in tokens.

    Args:
        pairs: a prompt and an answer each; a prompt that is too long is cut, and told of.
        row: of the split, of each.
        tokenizer: the model's.
        form: of the run.
        split: its name.

    Raises:
        VxlabError: an answer, or a chat with its answer, is longer than ``max_length``.
    """
    _require_room(pairs, row, form, split, whole=form.chat_template is not None)
    cut = [_cut(prompt, form.max_length - len(answer), tokenizer) for prompt, answer in pairs]
    _tell_cut(cut, pairs, form, split)
    ids = [[*prompt, *answer] for prompt, (_, answer) in zip(cut, pairs, strict=True)]
    unscored = [max(1, len(prompt)) for prompt in cut]  # the first follows nothing, so no model says how likely it is
    return {
        "input_ids": ids,
        "labels": [[IGNORED] * count + own[count:] for count, own in zip(unscored, ids, strict=True)],
        "length": [len(each) for each in ids],
        "row": row,
    }


def writer_of(tokenizer: Any, form: Form, chats: bool) -> Writer:
    """Return what writes a run's prompts and answers.

    Args:
        tokenizer: the model's.
        form: of the run.
        chats: whether the data holds chats of several turns.

    Raises:
        VxlabError: chats without a chat template.
    """
    template = read_template(form.chat_template, tokenizer)
    if chats and template is None:
        raise VxlabError(
            "chat_template is None, and the data holds chats; give chat_template='tokenizer', or a template file's path"
        )
    return Writer(tokenizer, template)


def collate_answers(tokenizer: Any, form: Form) -> Collate:
    """Return what pads a batch on the right, or with ``packing`` puts its rows one after the other in one.

    Padded: ``input_ids``, ``attention_mask`` and ``labels``, each (rows, tokens). Packed: ``input_ids``,
    ``position_ids``, which begin anew with every row and tell models of transformers where it begins, and ``labels``,
    each (1, all tokens).
    """

    def pad(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        ids, labels = (list(map(torch.tensor, [row[name] for row in rows])) for name in ("input_ids", "labels"))
        attended = [torch.ones_like(each) for each in ids]
        padded = torch.nn.utils.rnn.pad_sequence
        return {
            "input_ids": padded(ids, batch_first=True, padding_value=tokenizer.pad_token_id),
            "attention_mask": padded(attended, batch_first=True),
            "labels": padded(labels, batch_first=True, padding_value=IGNORED),
        }

    def pack(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        ids, labels = (torch.tensor([token for row in rows for token in row[name]]) for name in ("input_ids", "labels"))
        positions = torch.cat([torch.arange(len(row["input_ids"])) for row in rows])
        return {"input_ids": ids[None], "position_ids": positions[None], "labels": labels[None]}

    return pack if form.packing else pad


def _require_room(
    pairs: list[tuple[list[int], list[int]]], row: list[int], form: Form, split: str, whole: bool
) -> None:
    """Refuse answers that would have to be cut; with ``whole``, prompts too."""
    needed = [len(answer) + (len(prompt) if whole else 1) for prompt, answer in pairs]
    worst = max(range(len(needed)), key=needed.__getitem__)
    if needed[worst] > form.max_length:
        what = "chat with its answer" if whole else "answer"
        raise VxlabError(
            f"max_length={form.max_length}: the {what} in row {row[worst]} of the {split} split has {needed[worst]} "
            f"tokens, and none is cut; choose max_length={needed[worst]} or more, or leave such rows out"
        )


def _cut(prompt: list[int], room: int, tokenizer: Any) -> list[int]:
    """Cut a prompt on the left, but for a token that begins every text."""
    if len(prompt) <= room:
        return prompt
    begin = prompt[:1] if prompt[0] == tokenizer.bos_token_id else []
    rest = room - len(begin)
    return [*begin, *prompt[len(prompt) - rest :]] if rest > 0 else prompt[len(prompt) - room :]


def _tell_cut(cut: list[list[int]], pairs: list[tuple[list[int], list[int]]], form: Form, split: str) -> None:
    shorter = sum(len(kept) < len(prompt) for kept, (prompt, _) in zip(cut, pairs, strict=True))
    if shorter:
        warn_once(
            f"max_length={form.max_length}: {shorter} of {len(pairs)} prompts in the {split} split are longer, and are "
            f"cut on the left; the longest with its answer has {max(len(p) + len(a) for p, a in pairs)} tokens",
            DataWarning,
        )
