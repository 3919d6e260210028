"""What the commands of the command line share."""

import argparse
import contextlib
import json
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vxlab.errors import VxlabError, VxlabWarning
from vxlab.redact import redact

if TYPE_CHECKING:
    from vxlab.adapters import Method
    from vxlab.experiments import RunRecord, RunSpec
    from vxlab.experiments.store import Store
    from vxlab.experiments.sweeps import FairSweep

_SHORTEST = 6
"""digits of a key that are taken for one: a model may be called beef"""


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


def read_method(name: str, *settings: str) -> "Method":
    """Return the method of ``--method NAME SETTING=VALUE ...``."""
    from vxlab.adapters import method_from_name

    try:
        pairs = read_pairs([split_pair(text) for text in settings])
    except argparse.ArgumentTypeError as error:
        raise VxlabError(f"--method {name}: {error}") from error
    return method_from_name(name, **{key: read_value(text) for key, text in pairs.items()})


def read_with_advice(path: str, where: str | None, only: Sequence[str] = ()) -> "dict[str, FairSweep | list[RunSpec]]":
    """Read the sweeps of a file by name; where one asks for advised ranks, they are asked for, and kept in a store."""
    from vxlab.experiments.store import open_store
    from vxlab.experiments.sweeps import read_sweeps

    def advise_kept(**asked: Any) -> Any:
        from vxlab.studies.advisor import advise

        with open_store(where) as store:
            return advise(**asked, store=store)

    return read_sweeps(path, advise_kept, only)


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


def run_or_model(name: str, store: "Store") -> "RunRecord | str":
    """Return the run with a key that begins so, or the model's name as it is."""
    from vxlab.experiments.store import full_key

    if len(name) < _SHORTEST or not set(name.lower()) <= set(string.hexdigits):
        return name
    key = full_key(store, name)
    if (record := store.record(key)) is None:
        raise VxlabError(
            f"run {key[:12]} has not ended, so there is nothing to look at; see vxlab runs show {key[:12]}"
        )
    return record


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
