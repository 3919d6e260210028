"""Notebook files: where they lie and what they say of themselves."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.errors import VxlabError
from vxlab.paths import shipped_path
from vxlab.redact import redact
from vxlab.words import first_line, nearest

if TYPE_CHECKING:
    from nbformat import NotebookNode


def names() -> list[str]:
    """Return the shipped notebooks' names, without ``.ipynb``, in order."""
    return sorted(path.stem for path in shipped_path("notebooks").glob("*.ipynb"))


def find(name: str | Path) -> Path:
    """Return the absolute path of a notebook.

    Args:
        name: a shipped notebook with or without ``.ipynb``, or else the path of a notebook of your own.

    Raises:
        VxlabError: no such notebook; the nearest shipped names are given.
    """
    own = Path(name).expanduser()
    stem = own.stem if own.suffix == ".ipynb" else own.name
    if len(own.parts) == 1 and stem in names():
        return shipped_path("notebooks", stem + ".ipynb")
    if own.is_file():
        return own.absolute()
    hint = nearest(stem, names(), "shipped")
    raise VxlabError(f"there is no notebook {str(name)!r}{hint}. A notebook of your own is named by its path.")


def load(path: Path) -> "NotebookNode":
    """Read a notebook file.

    Raises:
        VxlabError: the file is not a Jupyter notebook.
    """
    nbformat = import_nbformat()
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError, TypeError) as error:
        # nbformat takes other JSON for one of its old formats, and then stumbles over what it lacks.
        raise VxlabError(f"{path} is not a Jupyter notebook: {first_line(error)[:120]}") from error
    return notebook


def import_nbformat() -> Any:
    """Import nbformat, but not the grammar of web addresses that jsonschema would compile for it: two seconds."""
    grammar = "rfc3987_syntax"
    if grammar not in sys.modules:
        sys.modules[grammar] = None  # type: ignore[assignment] # Python's way to say that it is not there
        try:
            import_module("jsonschema")
        finally:
            del sys.modules[grammar]
    return import_module("nbformat")


def redact_notebook(notebook: "NotebookNode", folder: Path) -> None:
    """Take out of a notebook what is nobody's business: passwords, tokens, and where on this machine it was made.

    Args:
        notebook: sources, outputs and metadata are changed.
        folder: of the reports; files in it are named from there. Your home folder becomes ``~``.
    """
    places = {f"{folder}{os.sep}": "", f"{Path.home()}{os.sep}": f"~{os.sep}"}
    for name in list(notebook):
        notebook[name] = _redacted(notebook[name], {place: short for place, short in places.items() if len(place) > 2})


def heading(notebook: "NotebookNode") -> str:
    """Return the first Markdown heading as plain text, or an empty string."""
    return next((found for cell in notebook.cells if (found := cell_heading(cell))), "")


def cell_heading(cell: "NotebookNode") -> str:
    """Return a Markdown cell's first heading as plain text, or an empty string.

    >>> from nbformat.v4 import new_markdown_cell
    >>> cell_heading(new_markdown_cell("Some text\\n## What *rank* buys"))
    'What rank buys'
    """
    if cell.cell_type != "markdown":
        return ""
    found = re.search(r"^#{1,6}\s+(.+?)\s*#*$", cell.source, flags=re.MULTILINE)
    return _plain(found[1]) if found else ""


def question(notebook: "NotebookNode") -> str:
    """Return the first paragraph that is no heading, as one line of plain text: what the notebook asks."""
    return next(_paragraphs(notebook), "")


def section_start(notebook: "NotebookNode", title: str) -> int:
    """Return the index of the cell that begins the section of that title; the number of cells where there is none."""
    headings = (cell_heading(cell).lower() for cell in notebook.cells)
    return next((i for i, found in enumerate(headings) if found == title.lower()), len(notebook.cells))


def section(notebook: "NotebookNode", title: str) -> "list[NotebookNode]":
    """Return the cells under the heading of that title, its own included, up to the next heading of its level."""
    start = section_start(notebook, title)
    taken = notebook.cells[start : start + 1]
    for cell in notebook.cells[start + 1 :]:
        if cell_heading(cell) and _level(cell) <= _level(taken[0]):
            break
        taken.append(cell)
    return list(taken)


def _redacted(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for place, short in places.items():
            value = value.replace(place, short)
        return redact(value)
    if isinstance(value, dict):
        for name in value:
            value[name] = _redacted(value[name], places)
    if isinstance(value, list):
        value[:] = (_redacted(each, places) for each in value)
    return value


def _level(cell: "NotebookNode") -> int:
    found = re.search(r"^(#{1,6})\s", cell.source, flags=re.MULTILINE)
    return len(found[1]) if found else 7


def _paragraphs(notebook: "NotebookNode") -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            without_headings = re.sub(r"^#{1,6}\s.*$", "", cell.source, flags=re.MULTILINE)
            yield from (_plain(block) for block in re.split(r"\n\s*\n", without_headings) if block.strip())


def _plain(markdown: str) -> str:
    linked = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`]", "", linked).split())
