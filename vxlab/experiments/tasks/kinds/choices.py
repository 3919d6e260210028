"""Encode questions with each answer that may be chosen, as lm-eval does, so that choices are the same."""

from typing import Any

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.kinds.answers import label_answers, writer_of
from vxlab.experiments.tasks.kinds.kind import Form, Rows

_Pair = tuple[list[int], list[int]]


def encode_choices(rows: Rows, tokenizer: Any, form: Form, split: str) -> dict[str, list[Any]]:
    """Return ``input_ids``, ``labels``, ``length`` and ``row`` of prompts with answers, and which of these are right.

    Of the training split the right answers alone, of the others every answer, a row each, with ``choice`` (its place
    among the row's), ``right`` (bool) and ``characters`` (of the answer). Prompt and answer are tokenised in one, with
    a space between them unless the prompt ends in white space; the tokens that the whole has beyond the prompt's own,
    without white space at its end, are the answer's. No token ends an answer. By a chat template the prompt is the
    user's turn and the answer the model's.

    Args:
        rows: with ``text``, ``choices``, ``label`` and perhaps ``contexts``.
        tokenizer: the model's.
        form: of the run.
        split: its name.

    Raises:
        VxlabError: an answer of no token, a prompt of none, or an answer longer than ``max_length``.

    Source:
        Gao et al., A framework for few-shot language model evaluation (lm-evaluation-harness), 0.4.13,
        ``TemplateLM._encode_pair``.
    """
    asked = [
        (row, choice)
        for row, (choices, label) in enumerate(zip(rows["choices"], rows["label"], strict=True))
        for choice in ([label] if split == "train" else range(len(choices)))
    ]
    texts = [_prompt(rows, row, choice) for row, choice in asked]
    answers = [rows["choices"][row][choice] for row, choice in asked]
    pairs = _pairs(texts, answers, tokenizer, form)
    numbers = [row for row, _ in asked]
    _require_tokens(pairs, numbers, split)
    return {
        **label_answers(pairs, numbers, tokenizer, form, split),
        "choice": [choice for _, choice in asked],
        "right": [choice == rows["label"][row] for row, choice in asked],
        "characters": list(map(len, answers)),
    }


def _prompt(rows: Rows, row: int, choice: int) -> str:
    text: str = rows["contexts"][row][choice] if "contexts" in rows else rows["text"][row]
    return text


def _pairs(texts: list[str], answers: list[str], tokenizer: Any, form: Form) -> list[_Pair]:
    """Return the tokens of every prompt and of the answer after it."""
    writer = writer_of(tokenizer, form, chats=False)
    if writer.template is not None:
        ended = writer.answers(texts, answers)
        return [(prompt, answer[:-1]) for prompt, answer in zip(writer.prompts(texts), ended, strict=True)]
    joined = [
        f"{text}{'' if text[-1:].isspace() else ' '}{answer}" for text, answer in zip(texts, answers, strict=True)
    ]
    prompts, wholes = writer.prompts([text.rstrip() for text in texts]), writer.prompts(joined)
    return [(prompt, whole[len(prompt) :]) for prompt, whole in zip(prompts, wholes, strict=True)]


def _require_tokens(pairs: list[_Pair], numbers: list[int], split: str) -> None:
    for (prompt, answer), row in zip(pairs, numbers, strict=True):
        if not prompt or not answer:
            what = "an answer" if prompt else "a prompt"
            raise VxlabError(
                f"row {row} of the {split} split has {what} in which the tokenizer sees no token, so that no model "
                "says how likely an answer is; take it out"
            )
