"""Sentences in Markdown, in which what comes from data makes no HTML and no link."""

import re
from typing import Any

from IPython.display import Markdown as _Markdown

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\](?=[(\[:])")
_GAP = "\N{ZERO WIDTH SPACE}"
"""Seen nowhere; a backslash or an entity would be seen in code."""


class Markdown(_Markdown):
    """Markdown for a notebook, whose sentences hold names of methods, tasks and runs: emphasis, lists and code work.

    >>> Markdown("**a** <img src=x> [b](javascript:c)").data.replace(chr(0x200B), "|")
    '**a** <|img src=x> [b]|(javascript:c)'
    """

    def __init__(self, text: str, **options: Any) -> None:
        super().__init__(_LINK.sub(f"]{_GAP}", _TAG.sub(f"<{_GAP}", text)), **options)  # type: ignore[no-untyped-call]
