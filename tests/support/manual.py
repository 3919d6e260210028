"""The manual and the README as text: their pages, and the blocks of code in them."""

import re
from pathlib import Path
from typing import NamedTuple

from places import ROOT

DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code as a page has it."""

    language: str
    text: str


def pages() -> list[Path]:
    """Return what people wrote: the README and the manual's pages, and not what is made of other files."""
    made = {DOCS / "README.md", DOCS / "data.md"}
    return [ROOT / "README.md", *sorted({*DOCS.glob("*.md"), *DOCS.glob("extending/*.md")} - made)]


def name_of(page: Path) -> str:
    """Return a page's name, from the checkout's top."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of some languages in a page, without the indentation that they stand in."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [
        Block(language, "\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n")
        for indent, language, text in found
        if language in languages
    ]
