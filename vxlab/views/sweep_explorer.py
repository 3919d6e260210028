"""The rank slider: one candidate of a sweep, its price, its neighbours and what tells them apart, at once.

Two faces over one table: widgets in a live notebook, and a plotly figure with its own controls, which works in an
exported page without a kernel.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.metrics import in_words
from vxlab.experiments.neighbours import neighbours
from vxlab.experiments.progress import in_live_notebook
from vxlab.views.figures import INK, styled
from vxlab.views.sweep_figures import score_against_parameters
from vxlab.views.verdict_figures import difference_unit

if TYPE_CHECKING:
    from vxlab.views.sweep_widget import SweepWidget

_WIDTHS = [1.2, 1.3, 1.55, 0.95, 0.9, 0.55, 0.65, 1.45, 1.25]
# Pixels, from the top down: the plot, its axis with the menu and the slider below it, the table's head and a row.
_PLOT, _CONTROLS, _HEAD, _ROW = 330, 150, 44, 44


def explore_sweep(
    summary: pd.DataFrame,
    pairs: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    metric: str,
    interactive: bool | None = None,
) -> "go.Figure | SweepWidget":
    """Show a sweep one candidate at a time: choose a method and a rank.

    Args:
        summary: one row a candidate.
        pairs: one row a pair of candidates.
        runs: with ``candidate`` and ``stage``; those of the report are faint dots.
        metric: whose scores they are.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.
    """
    if in_live_notebook() if interactive is None else interactive:
        from vxlab.views.sweep_widget import SweepWidget

        return SweepWidget(summary, pairs, runs, metric)
    return _figure(summary, pairs, runs, metric)


def choices(summary: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return what can be chosen: for each method its candidates by rank, as (what the slider says, candidate).

    >>> table = pd.DataFrame({"candidate": ["VeRA r=4", "VeRA r=1", "head only"], "rank": [4, 1, None],
    ...                       "method": ["VeRA", "VeRA", "head only"]}).astype({"rank": "Int64"})
    >>> choices(table)
    {'VeRA': [('r=1', 'VeRA r=1'), ('r=4', 'VeRA r=4')], 'head only': [('no rank', 'head only')]}
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for method, rows in summary.groupby("method", sort=False):
        rows = rows.sort_values("rank")
        alike = rows["rank"].duplicated(keep=False)
        found[str(method)] = [_choice(row, same) for row, same in zip(rows.itertuples(), alike, strict=True)]
    return found


def beside_neighbours(summary: pd.DataFrame, pairs: pd.DataFrame, candidate: str, metric: str) -> pd.DataFrame:
    """Return what the explorer shows of a candidate, in words: itself and its neighbours, one row each."""
    rows = neighbours(summary, pairs, candidate)
    scale, unit = difference_unit(metric)
    return pd.DataFrame(
        {
            "": rows["relation"],
            "candidate": rows["candidate"],
            f"test {in_words(metric)} (quartiles)": [_score(row) for row in rows.itertuples()],
            "parameters": [_number(value) for value in rows["backbone"]],
            "bytes": [_number(value) for value in rows["bytes_stored"]],
            "step, ms": [_number(1000 * value) for value in rows["step_seconds"]],
            "peak, MiB": [_number(value / 2**20) for value in rows["peak_memory"]],
            f"this − that{', ' + unit if unit else ''} (95 %)": [_difference(row, scale) for row in rows.itertuples()],
            "verdict": [_verdict(row) for row in rows.itertuples()],
        }
    )


def highlight(summary: pd.DataFrame, pairs: pd.DataFrame, candidate: str) -> dict[str, Any]:
    """Return a trace's points and markers: a thick ring round the candidate, thin ones round its neighbours."""
    rows = neighbours(summary, pairs, candidate)
    x = rows["backbone"].where(rows["backbone"] > 0)  # what trains nothing has no place on a logarithmic axis
    sizes, widths = [24] + [18] * (len(rows) - 1), [3] + [1.5] * (len(rows) - 1)
    marker = {"symbol": "circle-open", "color": INK, "size": sizes, "line": {"width": widths}}
    return {"x": x.astype(float).tolist(), "y": rows["median"].tolist(), "marker": marker}


def _choice(row: Any, alike: bool) -> tuple[str, str]:
    told = "no rank" if pd.isna(row.rank) else f"r={row.rank}"
    return row.candidate if alike else told, row.candidate


def _figure(summary: pd.DataFrame, pairs: pd.DataFrame, runs: pd.DataFrame | None, metric: str) -> go.Figure:
    above = score_against_parameters(summary, metric=metric, runs=runs)
    names = list(summary["candidate"])
    tables = {name: beside_neighbours(summary, pairs, name, metric) for name in names}
    figure, controls = _frame(max(len(table) for table in tables.values()))
    figure.add_traces(above.data, rows=1, cols=1)
    figure.update_xaxes(above.layout.xaxis).update_yaxes(above.layout.yaxis)
    first, methods = len(figure.data), choices(summary)
    shown_first = next(iter(methods.values()))[0][1]
    for name in names:
        rings = {"name": "chosen, and what it is beside", "hoverinfo": "skip", "mode": "markers"}
        figure.add_scatter(**highlight(summary, pairs, name), **rings, visible=name == shown_first, row=1, col=1)
        figure.add_trace(_table(tables[name]).update(visible=name == shown_first), row=2, col=1)
    shown = {name: [_only(names, name), {}, list(range(first, len(figure.data)))] for name in names}
    figure.update_layout(sliders=_sliders(methods, shown, controls), updatemenus=[_menu(methods, shown, controls)])
    return figure


def _frame(rows: int) -> tuple[go.Figure, float]:
    """Return an empty figure with a plot above a table of so many rows, and the height of the controls between."""
    table = _HEAD + _ROW * rows
    inner = _PLOT + _CONTROLS + table
    specs = [[{"type": "xy"}], [{"type": "table"}]]
    spacing = _CONTROLS / inner
    figure = make_subplots(rows=2, specs=specs, row_heights=[_PLOT, table], vertical_spacing=spacing)
    styled(figure, height=inner + 110)
    figure.update_layout(margin={"l": 60, "r": 20, "t": 90, "b": 20})
    return figure, (table + 75) / inner


def _only(names: list[str], name: str) -> dict[str, list[bool]]:
    """Return the change to the traces, two a candidate, that shows one candidate's."""
    return {"visible": [each == name for each in names for _ in ("rings", "table")]}


def _sliders(methods: dict[str, list[tuple[str, str]]], shown: dict[str, list[Any]], y: float) -> list[dict[str, Any]]:
    """Return a slider over each method's ranks, of which the menu shows one."""
    return [
        {
            "steps": [{"label": said, "method": "update", "args": shown[name]} for said, name in ranks],
            "active": 0, "visible": i == 0, "x": 0.24, "len": 0.76, "y": y, "yanchor": "top",
            "pad": {"t": 0}, "currentvalue": {"visible": False},
        }
        for i, ranks in enumerate(methods.values())
    ]  # fmt: skip


def _menu(methods: dict[str, list[tuple[str, str]]], shown: dict[str, list[Any]], y: float) -> dict[str, Any]:
    """Return the menu of methods; choosing one brings its slider, at its lowest rank."""
    buttons = []
    for i, (method, ranks) in enumerate(methods.items()):
        traces, _, places = shown[ranks[0][1]]
        sliders = {f"sliders[{j}].visible": i == j for j in range(len(methods))} | {f"sliders[{i}].active": 0}
        buttons.append({"label": method, "method": "update", "args": [traces, sliders, places]})
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": y, "yanchor": "top", "showactive": True}


def _table(rows: pd.DataFrame) -> go.Table:
    weights = [[f"<b>{value}</b>" if i == 0 else value for i, value in enumerate(rows[column])] for column in rows]
    fills = [["#e8f0f7" if i == 0 else "white" for i in range(len(rows))]] * len(rows.columns)
    return go.Table(
        columnwidth=_WIDTHS,
        header={"values": [f"<b>{column}</b>" for column in rows], "align": "left", "font_size": 12, "height": 40},
        cells={"values": weights, "align": "left", "font_size": 12, "height": 26, "fill_color": fills},
    )


def _score(row: Any) -> str:
    if pd.isna(row.median):
        return "none: no run finished"
    lost = f", {row.diverged} not finished" if row.diverged else ""
    return f"{row.median:.3f} ({row.q1:.3f}–{row.q3:.3f}){lost}"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.0f}"


def _difference(row: Any, scale: int) -> str:
    if pd.isna(row.difference):
        return ""
    told = [f"{scale * value:+.{1 if scale > 1 else 3}f}" for value in (row.difference, row.low, row.high)]
    return f"{told[0]} ({told[1]} to {told[2]})".replace("-", "−")


def _verdict(row: Any) -> str:
    if pd.isna(row.difference):
        return ""
    if not row.seen:
        return "no difference seen"
    return "this one is better" if row.difference > 0 else "this one is worse"
