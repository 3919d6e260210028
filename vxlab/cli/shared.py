"""What the commands of the command line share."""

import argparse
import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from vxlab.errors import VxlabError, VxlabWarning
from vxlab.redact import redact


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a store of runs."""
    told = "an SQLite file, a folder or a database's URL (default: reports/runs.db)"
    parser.add_argument("--store", metavar="WHERE", help=told)


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the option that names modules of methods."""
    about = "import a module, or a .py file, that registers methods of your own; may be repeated"
    parser.add_argument("--import", action="append", metavar="MODULE", dest="imports", help=about)


def split_pair(text: str) -> tuple[str, str]:
    """Return the name and the value of ``KEY=VALUE``; what argparse calls for each such option."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is a name without a value; write KEY VALUE or KEY=VALUE")
    return name, value


def read_pairs(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return values by name; raise VxlabError where a name is given twice."""
    texts: dict[str, str] = {}
    for name, text in pairs:
        if name in texts:
            raise VxlabError(f"parameter {name} is given twice; give it once")
        texts[name] = text
    return texts


def read_value(text: str) -> Any:
    """Read an option's value as JSON: a number, true, false or null; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def need(extra: str, *packages: str) -> None:
    """Refuse to go on where a package is missing that an extra of vxlab brings."""
    missing = next((package for package in packages if find_spec(package) is None), None)
    if missing:
        raise VxlabError(f"{missing} is not installed; run: pip install 'vxlab[{extra}]'")


def print_columns(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows in aligned columns, headed by their keys."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print what vxlab warns of as it prints its errors; a line of code would tell a user of the terminal nothing."""
    usual = warnings.formatwarning

    def formatted(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
        if issubclass(category, VxlabWarning):
            return f"vxlab: {redact(str(message))}\n"
        return usual(message, category, *where, **line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual
