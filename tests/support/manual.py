"""The manual and the README as text: their pages, and the blocks of code in them."""

import re
from pathlib import Path
from typing import NamedTuple

from places import ROOT

DOCS = ROOT / "docs"
_FENCE = re.compile(r"^( *)```([\w{}-]*)")


class Block(NamedTuple):
    """A block of code as a page has it."""

    language: str
    text: str


def pages() -> list[Path]:
    """Return what people wrote: the README and the manual's pages, and not what is made of other files."""
    made = {DOCS / "README.md", DOCS / "data.md", DOCS / "atlas.md"}
    return [ROOT / "README.md", *sorted({*DOCS.glob("*.md"), *DOCS.glob("extending/*.md")} - made)]


def name_of(page: Path) -> str:
    """Return a page's name, from the checkout's top."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of some languages in a page ("" where none is named), without the indentation they stand in."""
    found: list[Block] = []
    open_block: tuple[str, str, list[str]] | None = None
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence and open_block is None:
            open_block = fence[1], fence[2], []
        elif fence and open_block:
            found.append(Block(open_block[1], "".join(f"{each}\n" for each in open_block[2])))
            open_block = None
        elif open_block:
            open_block[2].append(line.removeprefix(open_block[0]))
    assert open_block is None, f"{page}: a block is not closed"
    return [block for block in found if block.language in languages]
