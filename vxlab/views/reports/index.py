"""The index of a folder of reports: a card for each, made from the executed notebooks alone."""

import html
import re
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError
from vxlab.files import write_whole
from vxlab.views.reports import notebooks, provenance
from vxlab.views.reports.headline import picture
from vxlab.words import number_of

if TYPE_CHECKING:
    from nbformat import NotebookNode

NAME = "index.html"
_TITLE = "What the notebooks found"
_ROOM = 5_500_000  # characters of pictures: with all else the page stays under 8 MB
_SHOWN = 700  # characters of a conclusion that are not folded
_SCHEMES = ("http", "https", "mailto", "data")  # the page's own policy lets data be pictures alone
_LONGEST = 60_000  # characters of a card's conclusion, or of its tables


@dataclass(frozen=True)
class Card:
    """What the index says of a report. ``conclusion``, ``more`` of it and ``tables`` are HTML, all else is text."""

    page: str
    title: str
    question: str
    failure: str
    changed: dict[str, str]
    picture: str
    conclusion: str
    more: str
    tables: str
    made: str
    picture_left_out: bool = False


def write_index(folder: Path) -> Path:
    """Write ``index.html`` anew from the reports in a folder, and return its path.

    A report is an executed notebook with its page beside it; any other file is left out. Failed runs are shown as
    such. The page asks the network for nothing and holds no script.
    """
    from jinja2 import Environment, FileSystemLoader

    found = cards(folder)
    failed = sum(bool(card.failure) for card in found)
    summary = number_of(len(found), "report") + (f", {failed} of them failed" if failed else "")
    summary += ". Each was computed on the machine and date it names."
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    text = templates.get_template("cards.html.j2").render(title=_TITLE, summary=summary, cards=found)
    with write_whole(folder / NAME) as new:
        new.write_text(text, encoding="utf-8")
    return folder / NAME


def is_report(path: Path) -> bool:
    """Tell an executed notebook that a report was written to from somebody's own file."""
    return _executed(path) is not None


def is_index(path: Path) -> bool:
    """Tell an index that was written here from somebody's own page."""
    return _TITLE in path.read_text(encoding="utf-8", errors="replace")


def cards(folder: Path) -> list[Card]:
    """Return a card for each report of a folder, by name; pictures as far as they fit the page."""
    found = [card for path in sorted(folder.glob("*.ipynb")) if (card := _card(path))]
    taken = accumulate(len(card.picture) for card in found)
    return [
        card if size <= _ROOM else replace(card, picture="", picture_left_out=bool(card.picture))
        for card, size in zip(found, taken, strict=True)
    ]


def _card(path: Path) -> Card | None:
    page = path.with_suffix(".html")
    executed = _executed(path) if page.is_file() else None
    if executed is None:
        return None
    words, tables = _conclusion(executed)
    first, more = _opening(words)
    made = [provenance.finished_at(executed), provenance.duration(executed), provenance.version_line(executed)]
    return Card(
        page=page.name,
        title=notebooks.heading(executed) or path.stem,
        question=notebooks.question(executed),
        failure=provenance.note(executed).get("failure", ""),
        changed=provenance.changed_parameters(executed),
        picture=picture(executed),
        conclusion=first,
        more=more,
        tables=tables,
        made=" · ".join(part for part in made if part),
    )


def _executed(path: Path) -> "NotebookNode | None":
    try:
        notebook = notebooks.load(path)
    except (VxlabError, OSError):  # somebody's own file, or one that another report just replaced
        return None
    return notebook if "papermill" in notebook.metadata else None


def _conclusion(executed: "NotebookNode") -> tuple[str, str]:
    """Return what the cells under the heading "Conclusion" put out, as HTML: words, and tables."""
    from nbconvert.filters.markdown import markdown2html

    words, tables = [], []
    for cell in notebooks.section(executed, "Conclusion"):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                words.append(_balanced(markdown2html(data["text/markdown"])))
            elif "text/html" in data:
                tables.append(_balanced(data["text/html"]))
            elif text := output.get("text", "") or data.get("text/plain", ""):
                words.append(f"<pre>{html.escape(text)}</pre>")
    return _short(words), _short(tables)


def _short(parts: list[str]) -> str:
    sizes = accumulate(map(len, parts))
    return "\n".join(part for part, size in zip(parts, sizes, strict=True) if size <= _LONGEST)


def _opening(html: str) -> tuple[str, str]:
    """Cut a conclusion after a few hundred characters, between blocks: what a card shows, and what it folds."""
    from bs4 import BeautifulSoup

    blocks = [block for block in BeautifulSoup(html, "html.parser").contents if str(block).strip()]
    ends = list(accumulate(len(block.get_text()) for block in blocks))
    shown = max(1, sum(end <= _SHOWN for end in ends))
    return "\n".join(map(str, blocks[:shown])), "\n".join(map(str, blocks[shown:]))


def _balanced(html: str) -> str:
    """Close what is left open, so that a card's HTML stays in its card, and drop what no card may do: act, or lead off
    to anything but pages."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(["script", "iframe", "object", "embed", "link", "meta", "base", "form"]):
        tag.decompose()
    for tag in soup(True):
        tag.attrs = {name: value for name, value in tag.attrs.items() if not _acts(name, str(value))}
    return str(soup)


def _acts(name: str, value: str) -> bool:
    """Say whether an attribute runs a script, or may: a handler, or an address of another kind than a page's."""
    scheme = re.match(r"[\s\x00-\x20]*([a-zA-Z][\w+.-]*)\s*:", value)
    leads = name.lower() in ("href", "src", "action", "formaction", "xlink:href", "srcset", "data", "poster")
    return name.lower().startswith("on") or bool(leads and scheme and scheme[1].lower() not in _SCHEMES)
