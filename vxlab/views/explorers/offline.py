"""An explorer as one plotly figure, every choice computed before, for pages without a kernel."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.views.explorers.explorer import Choice, Explorer, View, same
from vxlab.views.style import CHOSEN, PAPER, escape, escape_all

# Pixels, from the top down: menu and slider, a line of words, the canvas, and the table's head and its cells' lines.
_CONTROLS, _LINE, _HEAD, _TEXT = 84, 20, 44, 18
_CELL = 14
"""Characters of a cell's line, of which a row has two or more."""
_WIDEST = 112
"""Characters of a line of words that a page of 900 pixels has room for."""
_Step = tuple[str, list[Any]]
"""What a stop says, and the changes to the traces and to the layout that show it."""


def explorer_figure(explorer: Explorer) -> go.Figure:
    """Return the explorer's canvas with a menu, a slider, words, and a table below where its views have one."""
    views = {
        choice: [(said, explorer.view(choice, stop)) for said, stop in stops]
        for choice, stops in explorer.offered().items()
    }
    every = [view for several in views.values() for _, view in several]
    figure = explorer.canvas()
    tables = [view.table for view in every if view.table is not None]
    if any(map(len, tables)):
        _add_table(figure, max(map(len, tables)), _widths(tables), _row(tables))
    top = _add_words(figure, max(len(_lines(view.words)) for view in every))
    change = _Changes(figure, every)
    steps = {choice: [(said, change.of(view)) for said, view in several] for choice, several in views.items()}
    change.apply(next(iter(views.values()))[0][1])
    figure.update_layout(sliders=_sliders(explorer.slider, steps, top))
    if explorer.menus:
        figure.update_layout(updatemenus=[_menu(steps, top)])
    return figure


class _Changes:
    """Turn views into plotly's ``update`` calls, which set one list of values, a trace each, for every property.

    What is the same in all views is not in the calls: it is set once.
    """

    def __init__(self, figure: go.Figure, views: Sequence[View]) -> None:
        self._figure, self._has_table = figure, any(view.table is not None for view in views)
        first, *others = [self._traces(view) for view in views]
        keys = {
            key for other in others for trace, own in zip(first, other, strict=True) for key in own
            if not same(trace[key], own[key])
        }  # fmt: skip
        self._initial = {key: [_property(trace, key) for trace in figure.data] for key in sorted(keys)}

    def of(self, view: View) -> list[Any]:
        own = self._traces(view)
        traces = {
            key: [trace.get(key, value) for trace, value in zip(own, initial, strict=True)]
            for key, initial in self._initial.items()
        }
        return [traces, self._layout(view)]

    def apply(self, view: View) -> None:
        for trace, changes in zip(self._figure.data, self._traces(view), strict=True):
            for path, value in changes.items():
                trace[path] = value
        for path, value in self._layout(view).items():
            self._figure.layout[path] = value

    def _traces(self, view: View) -> list[Mapping[str, Any]]:
        return [*view.traces, *([_cells(view.table)] if self._has_table else [])]

    def _layout(self, view: View) -> dict[str, Any]:
        words = len(self._figure.layout.annotations) - 1  # they were added last
        return dict(view.layout) | {f"annotations[{words}].text": "<br>".join(_lines(view.words))}


def _lines(words: Sequence[str]) -> list[str]:
    """Break what is too long for a line between its words; tags take no room."""
    lines: list[str] = []
    for sentence in words:
        room = 0
        for word in sentence.split(" "):
            size = len(re.sub(r"<[^>]*>", "", word)) + 1
            if size <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
                room = _WIDEST
            room -= size
    return lines


def _property(trace: Any, path: str) -> Any:
    """Return a trace's property, or None where it is of a kind that has none such."""
    known = path in trace  # plotly's traces have no get()
    return trace[path] if known else None


def _cells(table: pd.DataFrame | None) -> dict[str, Any]:
    if table is None:
        return {"header.values": [], "cells.values": []}
    table = escape_all(table)
    bold = [[f"<b>{value}</b>" if i == 0 else value for i, value in enumerate(table[column])] for column in table]
    return {"header.values": [f"<b>{column}</b>" for column in table], "cells.values": bold}


def _add_words(figure: go.Figure, lines: int) -> float:
    """Make room above the canvas, put the words' annotation there, and return the height of the room's top."""
    layout, room = figure.layout, _CONTROLS + _LINE * lines
    top = layout.margin.t
    inner: float = layout.height - top - layout.margin.b
    figure.update_layout(height=layout.height + room, margin_t=top + room)
    figure.add_annotation(
        x=0, y=1 + top / inner, xref="paper", yref="paper", xanchor="left", yanchor="bottom", align="left",
        showarrow=False, text="", font_size=13,
    )  # fmt: skip
    return float(1 + (top + room - 4) / inner)


def _widths(tables: Sequence[pd.DataFrame]) -> list[int]:
    """Return the columns' shares of the width, by the longest cells and words of their heads; long cells break."""
    cells = [
        [max(map(len, [*str(column).split(), *map(str, table[column])]), default=0) for column in table]
        for table in tables
    ]
    return [3 + min(max(lengths), _CELL) for lengths in zip(*cells, strict=False)]


def _row(tables: Sequence[pd.DataFrame]) -> int:
    """Return the height of the highest row: one too low would hide the last ones, the floor's among them."""
    longest = max((len(str(cell)) for table in tables for cell in table.to_numpy().flat), default=0)
    return 8 + _TEXT * max(2, math.ceil(longest / _CELL))


def _add_table(figure: go.Figure, rows: int, widths: Sequence[int], row: int) -> None:
    """Lengthen the figure by a table: what stands by shares of the plot's height is moved up."""
    layout, table = figure.layout, _HEAD + row * rows
    inner = layout.height - layout.margin.t - layout.margin.b
    room = layout.margin.b + table
    whole = inner + room

    def moved(y: float) -> float:
        return float((y * inner + room) / whole)

    for axis in figure.select_yaxes():
        axis.domain = [moved(end) for end in axis.domain or (0, 1)]
    for each in (*layout.annotations, layout.legend):
        if each is layout.legend or each.yref == "paper":
            each.y = moved(1.0 if each.y is None else each.y)
    for shape in layout.shapes:
        if shape.yref == "paper":
            shape.update(y0=moved(shape.y0), y1=moved(shape.y1))
    for bar in (trace.colorbar for trace in figure.data if "colorbar" in trace and trace.showscale is not False):
        bar.update(y=moved(0.5 if bar.y is None else bar.y), len=(1 if bar.len is None else bar.len) * inner / whole)
    figure.update_layout(height=layout.height + table + 10, margin_b=10)
    fills = [[CHOSEN] + [PAPER] * (rows - 1)] * len(widths)
    figure.add_table(
        domain={"x": [0, 1], "y": [0, table / whole]},
        columnwidth=widths,
        header={"align": "left", "font_size": 12, "height": 40},
        cells={"align": "left", "font_size": 12, "height": 26, "fill_color": fills},
    )


def _sliders(name: str, steps: Mapping[Choice, Sequence[_Step]], y: float) -> list[dict[str, Any]]:
    """Return a slider over each choice's stops, of which the menu shows one."""
    return [
        {
            "steps": [{"label": escape(said), "method": "update", "args": change} for said, change in several],
            "active": 0, "visible": i == 0, "x": 0.3 if len(steps) > 1 else 0, "len": 0.7 if len(steps) > 1 else 1,
            "currentvalue": {"prefix": f"{name}: ", "font": {"size": 13}, "offset": 6}, "pad": {"t": 0, "b": 0},
            "y": y, "yanchor": "top",
        }
        for i, several in enumerate(steps.values())
    ]  # fmt: skip


def _menu(steps: Mapping[Choice, Sequence[_Step]], y: float) -> dict[str, Any]:
    """Return the menu of choices; choosing one brings its slider, at its first stop."""
    buttons = []
    for i, (choice, several) in enumerate(steps.items()):
        traces, layout = several[0][1]
        sliders = {f"sliders[{j}].visible": i == j for j in range(len(steps))} | {f"sliders[{i}].active": 0}
        buttons.append({"label": escape(", ".join(choice)), "method": "update", "args": [traces, layout | sliders]})
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": y, "yanchor": "top", "direction": "down"}
