"""What the commands of the command line share."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec

from vxlab.errors import VxlabError, VxlabWarning
from vxlab.redact import redact


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

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, VxlabWarning):
            return f"vxlab: {redact(str(message))}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual
