"""Write prompts and answers as tokens: plainly, or by a chat template."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError

OWN_TEMPLATE = "tokenizer"
"""The chat template that a tokenizer brings."""
_PROBE = "vxlab answer"
_DAY = {"%d": "26", "%m": "07", "%b": "Jul", "%B": "July", "%Y": "2024", "%y": "24", "%a": "Fri", "%A": "Friday",
        "%H": "00", "%M": "00", "%S": "00"}  # fmt: skip
"""Today, to templates that write the day, as Llama's do: a run of tomorrow is the same run."""


@dataclass(frozen=True)
class Writer:
    """Write a model's prompts and the answers to them.

    Args:
        tokenizer: the model's.
        template: a chat template's text, or None for prompts as they are.
    """

    tokenizer: Any
    template: str | None

    def prompts(self, texts: Sequence[str], messages: Sequence[str] | None = None) -> list[list[int]]:
        """Return the tokens that an answer follows, with those that begin every text of the model.

        Args:
            texts: plain prompts.
            messages: the turns before the answer as JSON, in a chat; None where the text is the user's only turn.
        """
        if self.template is None:
            return [self._begun(ids) for ids in self._ids(list(texts), specials=True)]
        return self._ids([self._before(turns) for turns in self._turns(texts, messages)])

    def answers(
        self, texts: Sequence[str], answers: Sequence[str], messages: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Return the tokens of answers, each with the token that ends it.

        What a chat template writes after them is kept up to that token, and left out where it writes no special token.
        """
        if self.template is None:
            end = self.end
            return [[*ids, end] for ids in self._ids(list(answers))]
        turned = zip(self._turns(texts, messages), answers, strict=True)
        written, end, tail = [self._rest(turns, answer) for turns, answer in turned], self.end, self._tail
        if self._written_end is None:
            return [[*ids, end] for ids in self._ids([rest.removesuffix(tail) for rest in written])]
        return [_until(end, ids) for ids in self._ids(written)]

    @property
    def end(self) -> int:
        """The token that ends an answer: of a chat template the one that it writes there, else the end of a text.

        Raises:
            VxlabError: the tokenizer has none.
        """
        if (written := self._written_end) is not None:
            return written
        if self.tokenizer.eos_token_id is None:
            raise VxlabError(
                "the tokenizer has no end-of-text token, by which a model ends its answer; name one of its tokens as "
                "eos_token in tokenizer_config.json"
            )
        return int(self.tokenizer.eos_token_id)

    @property
    def _written_end(self) -> int | None:
        """The special token that a chat template writes first after an answer; None where it writes none."""
        if self.template is None:
            return None
        return next((token for token in self._ids([self._tail])[0] if token in self.tokenizer.all_special_ids), None)

    @property
    def _tail(self) -> str:
        """What a chat template writes after an answer."""
        return self._rest([{"role": "user", "content": "?"}], _PROBE).partition(_PROBE)[2]

    def _ids(self, texts: list[str], specials: bool = False) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=specials)["input_ids"]
        return found

    def _begun(self, ids: list[int]) -> list[int]:
        """Take away what the tokenizer writes after a whole text: an answer follows."""
        return ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids

    def _turns(self, texts: Sequence[str], messages: Sequence[str] | None) -> list[list[dict[str, str]]]:
        if messages is None:
            return [[{"role": "user", "content": text}] for text in texts]
        return [json.loads(turns) for turns in messages]

    def _before(self, turns: list[dict[str, str]]) -> str:
        """Return what the template writes before every answer.

        That is the prompt for one, and what may stand between them, such as the turn's role where a template knows no
        prompt for an answer, or an empty thought: a model is to be asked for the answer alone.
        """
        prompt, whole = self._chat(turns, None), self._chat(turns, _PROBE)
        before, probe, _ = whole.rpartition(_PROBE)
        if not probe or not before.startswith(prompt):
            raise _not_apart()
        return before

    def _rest(self, turns: list[dict[str, str]], answer: str) -> str:
        """Return what the template writes of an answer, and after it."""
        before, whole = self._before(turns), self._chat(turns, answer)
        rest = whole.removeprefix(before)
        if not whole.startswith(before) or answer.strip() not in rest:
            raise _not_apart()
        return rest

    def _chat(self, turns: list[dict[str, str]], answer: str | None) -> str:
        more = [] if answer is None else [{"role": "assistant", "content": answer}]
        try:
            text: str = self.tokenizer.apply_chat_template(
                [*turns, *more],
                chat_template=with_fixed_day(self.template),
                tokenize=False,
                add_generation_prompt=answer is None,
            )
        except Exception as error:  # whatever a template raises
            raise VxlabError(f"chat_template fails on a chat of {len(turns)} turn(s): {error}") from error
        return text


def read_template(name: str | None, tokenizer: Any) -> str | None:
    """Return a chat template's text.

    Args:
        name: ``tokenizer`` for the tokenizer's own, a file's path, or None for none.
        tokenizer: the model's.

    Raises:
        VxlabError: the tokenizer brings none, or the file cannot be read.
    """
    if name is None:
        return None
    if name == OWN_TEMPLATE:
        if not isinstance(tokenizer.chat_template, str):
            raise VxlabError(
                "chat_template='tokenizer': the model's tokenizer brings no chat template; leave chat_template out, or "
                "give a template file's path"
            )
        return tokenizer.chat_template
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise VxlabError(
            f"chat_template={name!r} is neither 'tokenizer' nor a template file that can be read ({error})"
        ) from error


def _not_apart() -> VxlabError:
    return VxlabError(
        "chat_template: with the answer it writes other words before it than without, so the answer cannot be told "
        "from its prompt; give a template file that only adds to what went before"
    )


def with_fixed_day(template: str | None) -> str | None:
    """Return a chat template to which every day is the same."""
    if template is None or "strftime_now" not in template:
        return template
    form = "form" + "".join(f".replace('{code}', '{text}')" for code, text in _DAY.items())
    return f"{{% macro strftime_now(form) %}}{{{{ {form} }}}}{{% endmacro %}}{template}"


def _until(end: int, ids: list[int]) -> list[int]:
    """Cut what a template writes after an answer's end, the last, for an answer may hold it; where none is, add it."""
    return ids[: len(ids) - ids[::-1].index(end)] if end in ids else [*ids, end]
