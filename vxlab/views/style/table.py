"""A table for a reader: chosen columns under headings of their own, numbers as written, what data hold as text."""

import numbers
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from vxlab.checks import require_known
from vxlab.views.style.plain import escape, escape_all
from vxlab.words import with_minus, write_number

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

Heading: TypeAlias = str | tuple[str, str | Callable[[Any], str]]
"""A column's heading, alone or with how its numbers are written."""

_LONG = 16
"""Characters of a text that is broken over lines, but not into a column of single words."""
_LEFT = "text-align: left; white-space: normal"


def show(
    table: pd.DataFrame, columns: Mapping[str, Heading] | None = None, *, precision: int = 3, missing: str = "–"
) -> None:
    """Show a table in a notebook.

    Texts stand to the left and break over lines, numbers to the right, with true minus signs. An index is shown where
    it has a name. Whatever the table holds is text: names with markup in them do nothing.

    Args:
        table: shown in the order of its rows; it is not changed.
        columns: which of its columns, in this order: {column: heading} or {column: (heading, format)}; without it, all
            under their own names. A format is what :func:`format` takes, or a function of a cell that returns its text:
            ``".3f"`` decimals, ``","`` thousands, ``".1%"`` percent, ``".2g"`` significant digits, ``".1e"`` powers of
            ten, ``"+.2f"`` a sign.
        precision: decimals of fractions whose column has no format.
        missing: what stands where a value is missing, NaN or None.

    Raises:
        VxlabError: the table has no such column.

    For example, ``show(summary, {"candidate": "method", "backbone": ("parameters", ","), "mean": ("score", ".3f")})``.
    """
    from IPython.display import display

    display(_style(table, columns, precision, missing))  # type: ignore[no-untyped-call]


def _style(table: pd.DataFrame, columns: Mapping[str, Heading] | None, precision: int, missing: str) -> "Styler":
    chosen = {name: (each, None) if isinstance(each, str) else each for name, each in (columns or {}).items()}
    require_known(chosen, table.columns, "columns: the table has no column", "it has")
    shown = escape_all(table[list(chosen)] if chosen else table)
    forms = {escape(name): form for name, (_, form) in chosen.items() if form}
    formats: dict[Any, Any] = {name: _writes(forms.get(name), precision) for name in shown.columns}
    styler = _align(shown).format(formats, na_rep=missing)
    if chosen:
        styler.relabel_index([escape(heading) for heading, _ in chosen.values()], axis="columns")
    return styler if any(table.index.names) else styler.hide(axis="index")


def _writes(form: str | Callable[[Any], str] | None, precision: int) -> Callable[[Any], Any]:
    """Return how a column's cells are written; without a format, fractions to the precision and the rest as it is."""
    if form is None:
        return lambda cell: write_number(cell, f".{precision}f") if _is_fraction(cell) else _with_minus(cell)
    return form if callable(form) else lambda cell: write_number(cell, form)


def _is_fraction(cell: Any) -> bool:
    return isinstance(cell, numbers.Real) and not isinstance(cell, numbers.Integral)


def _with_minus(cell: Any) -> Any:
    return with_minus(str(cell)) if isinstance(cell, numbers.Integral) and cell < 0 else cell


def _align(table: pd.DataFrame) -> "Styler":
    """Return a table's style with its texts, and their headings, to the left."""
    from pandas.api.types import infer_dtype

    left: dict[Any, Any] = {}
    for name, column in table.items():
        if infer_dtype(column, skipna=True) == "string":
            room = "; min-width: 9em" if column.dropna().map(len).max() > _LONG else ""
            left[name] = [{"selector": "", "props": _LEFT + room}]
    return table.style.set_table_styles(left)
