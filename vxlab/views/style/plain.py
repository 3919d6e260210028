"""What comes from data is text: names, targets and errors of a shared store are markup nowhere.

Plotly takes the texts of a figure for HTML of its own, and pages and widgets take theirs for HTML. All of it is escaped
here, once: in a figure's tables by :func:`draws_text`, in an explorer's views and in tables by :func:`escape_all`.
"""

import functools
import html
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import pandas as pd

Given = ParamSpec("Given")
Result = TypeVar("Result")
Shown = TypeVar("Shown")

_TEXTS = ["object", "string", "category"]
"""Kinds of columns that may hold texts."""


def escape(text: str) -> str:
    """Return a text that HTML, plotly's as well as a page's, shows as it is; plotly's templates, too.

    >>> escape("<b>R&D</b> %{y}")
    '&lt;b&gt;R&amp;D&lt;/b&gt; %&#123;y}'
    """
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def escape_all(value: Shown) -> Shown:
    """Return a value with every text in it escaped: of a table the cells, the index and the columns' names.

    >>> escape_all(["<i>", 3]), escape_all(pd.DataFrame({"a<b": ["<i>"]})).to_dict("list")
    (['&lt;i&gt;', 3], {'a&lt;b': ['&lt;i&gt;']})
    """
    if isinstance(value, pd.DataFrame):
        table = _with_cells(value)
        table.index, table.columns = _of_axis(table.index), _of_axis(table.columns)
        return cast(Shown, table)
    return cast(Shown, _each(value))


def draws_text(draw: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function that draws take what its arguments hold as text: tables' cells, names, and keys of mappings.

    A ``title`` is the house's own, and may hold markup.
    """
    parameters = inspect.signature(draw)

    @functools.wraps(draw)
    def drawing(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        given = parameters.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            if name != "title":
                given.arguments[name] = _each(value)
        return draw(*given.args, **given.kwargs)

    return drawing


def _each(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, pd.DataFrame):
        return _with_cells(value)
    if isinstance(value, list):
        return [_each(each) for each in value]
    if type(value) is tuple:
        return tuple(_each(each) for each in value)
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {escape(name): _each(each) for name, each in value.items()}
    return value


def _of_axis(axis: "pd.Index[Any]") -> "pd.Index[Any]":
    return axis.map(_each).set_names(_each(list(axis.names)))


def _with_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its cells escaped; its columns keep their names, by which they are found."""
    shown = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if kind in _TEXTS or isinstance(kind, pd.CategoricalDtype | pd.StringDtype):
            shown.isetitem(place, table.iloc[:, place].map(_each).to_numpy(dtype=object))
    return shown
