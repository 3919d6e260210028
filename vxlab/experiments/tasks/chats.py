"""Read chats: the last turn is the answer, and the turns before it are the prompt."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Rows, is_damaged, list_names

ROLES = ("system", "user", "assistant")
Turn = dict[str, str]


@dataclass(frozen=True)
class Chats:
    """Read the column ``messages``: in each row a list of turns, ``{"role": ..., "content": ...}``."""

    answer: ClassVar[str] = "messages"
    columns: ClassVar[tuple[str, ...]] = ()

    def write(self, rows: Rows) -> tuple[dict[str, list[str]], tuple[str, ...]]:
        """Return ``text``, ``messages`` and ``answer``, and what the user should know of the turns.

        ``messages`` holds the turns before the answer as JSON, and ``text`` the same for people to read, as lines
        ``role: content``.

        Raises:
            VxlabError: no list of turns, an unknown role, an empty turn, no last turn of the assistant, or none before
                it. The message names file and row.
        """
        chats = [_read_chat(turns, rows.where(row)) for row, turns in enumerate(rows.frame["messages"].tolist())]
        columns = {
            "text": ["\n".join(f"{turn['role']}: {turn['content']}" for turn in turns[:-1]) for turns in chats],
            "messages": [json.dumps(turns[:-1], ensure_ascii=False) for turns in chats],
            "answer": [turns[-1]["content"] for turns in chats],
        }
        return columns, _tell_unused(rows)


def is_chat(value: Any) -> bool:
    """Say whether a value looks like the turns of a chat.

    >>> is_chat([{"role": "user", "content": "Hello"}]), is_chat("user: Hello")
    (True, False)
    """
    return isinstance(value, list | np.ndarray) and len(value) > 0 and isinstance(value[0], Mapping)


def _read_chat(turns: Any, where: str) -> list[Turn]:
    if not is_chat(turns):
        raise VxlabError(
            f'{where}: messages is {quote(turns)}; it must be a list of turns, {{"role": ..., "content": ...}}'
        )
    read = [_read_turn(turn, f"{where}, turn {number}") for number, turn in enumerate(turns, start=1)]
    if read[-1]["role"] != "assistant":
        raise VxlabError(
            f"{where}: the last turn is of the {read[-1]['role']}; a turn of the assistant, which is the answer, must "
            "end it"
        )
    if len(read) == 1:
        raise VxlabError(f"{where}: the answer is the only turn; a turn that it answers must come before it")
    return read


def _read_turn(turn: Any, where: str) -> Turn:
    role, content = (turn.get(key) if isinstance(turn, Mapping) else None for key in ("role", "content"))
    if role not in ROLES:
        raise VxlabError(f"{where}: the role is {quote(role)}; it must be {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    if not isinstance(content, str):
        raise VxlabError(f"{where}: the content is {quote(content)}; it must be a string")
    if is_damaged(content):
        raise VxlabError(f"{where}: the content holds half of a character (a lone surrogate)")
    if role != "system" and not content.strip():
        raise VxlabError(f"{where}: the turn of the {role} is empty; write it, or leave the row out")
    return {"role": role, "content": content}


def _tell_unused(rows: Rows) -> tuple[str, ...]:
    """Say what else the turns hold, such as calls of tools."""
    turns = (turn for turns in rows.frame["messages"].tolist() for turn in turns)
    more = sorted({key for turn in turns for key, value in turn.items() if value is not None} - {"role", "content"})
    return (f"{rows.place}: turns hold more than role and content, which is not used: {list_names(more)}",) * bool(more)
