"""Plotly figures of measured costs. Every function takes the table of ``rank_costs`` and returns a figure."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments.costs import FROZEN, FULL, HEAD
from vxlab.studies.cost import measured_rows
from vxlab.views.style import COLOURS, GREY, INK, PAPER, apply_style, draws_text, error_bars, label_font, look

PARTS = (
    ("adapter", "adapter, frozen parts too"),
    ("gradients", "gradients"),
    ("optimizer", "optimizer"),
    ("activations", "activations"),
    ("temporary", "temporary"),
)
_PATTERNS = ("", "/", "x", ".", "\\")
_FAMILIES = ("LoRA", "VeRA", "LoRA-XS")


@draws_text
def step_time_by_rank(table: pd.DataFrame) -> go.Figure:
    """Draw step time over the frozen model's against rank: bars for 95 % intervals; lines where no rank is."""
    rows = measured_rows(table)
    figure = go.Figure()
    for i, own, line in _lines(rows):
        figure.add_scatter(x=own["rank"], mode="lines+markers", **line, **look(i))
    ranks = [int(rank) for rank in rows["rank"].dropna()] or [1]
    for name, dash in ((FULL, "dash"), (FROZEN, "solid"), (HEAD, "dot")):
        for row in rows[rows["method"] == name].to_dict("records"):
            figure.add_scatter(
                x=[min(ranks) / 1.5, max(ranks) * 1.5], y=[row["ratio"]] * 2, mode="lines",
                line={"color": GREY, "dash": dash, "width": 1.5}, name=f"{name}: {row['ratio']:.2f}",
            )  # fmt: skip
    powers = range(math.floor(math.log2(min(ranks))), math.ceil(math.log2(max(ranks))) + 1)
    ticks = {"tickmode": "array", "tickvals": [2**power for power in powers]}
    edges = [math.log10(min(ranks) / 1.5), math.log10(max(ranks) * 1.5)]
    figure.update_xaxes(type="log", title="rank (each tick doubles it)", range=edges, **ticks)
    figure.update_yaxes(title="step time ÷ the frozen model's<br>forward and backward pass", rangemode="tozero")
    return apply_style(figure, height=470, name="step time")


@draws_text
def memory_by_category(table: pd.DataFrame) -> go.Figure:
    """Draw what a step holds beside the model's weights: one bar a method and rank, a diamond at the step's peak."""
    rows = measured_rows(table)[::-1]
    figure = go.Figure()
    for i, (column, name) in enumerate(PARTS):
        figure.add_bar(
            x=rows[column] / 2**20, y=rows["label"], orientation="h", name=name, width=0.7,
            marker={"color": COLOURS[i], "pattern": {"shape": _PATTERNS[i], "fgcolor": PAPER, "size": 5}},
        )  # fmt: skip
    beyond = (rows["peak"] - rows["weights"]) / 2**20
    diamond = {"color": INK, "symbol": "diamond", "size": 9, "line": {"color": PAPER, "width": 1}}
    figure.add_scatter(x=beyond, y=rows["label"], mode="markers", marker=diamond, name="peak of them together")
    weights = rows["weights"].iloc[0] / 2**20
    figure.update_xaxes(title=f"MiB beside the model's own {weights:,.0f} MiB of weights, which are the same for all")
    figure.update_yaxes(categoryorder="array", categoryarray=list(rows["label"]))
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    return apply_style(figure, height=150 + 26 * len(rows), name="memory")


@draws_text
def storage_against_time(table: pd.DataFrame) -> go.Figure:
    """Draw the trade: bytes of a saved adapter against step time, a line for each method, its end ranks beside it."""
    rows = measured_rows(table)
    figure = go.Figure()
    for i, own, line in _lines(rows):
        place = ("bottom right", "top left", "top left")[i]
        figure.add_scatter(
            x=own["bytes"], mode="lines+markers+text", text=_ranks(own), textposition=place, textfont=label_font(i),
            hovertext=own["label"], cliponaxis=False, **line, **look(i),
        )  # fmt: skip
    for name, symbol in ((HEAD, "x"), (FULL, "star")):
        own = rows[rows["method"] == name]
        marker = {"color": GREY, "symbol": symbol, "size": 11}
        figure.add_scatter(x=own["bytes"], y=own["ratio"], mode="markers", marker=marker, name=name)
    stored = rows[rows["bytes"] > 0]["bytes"]
    edges = [math.log10(stored.min()) - 0.3, math.log10(stored.max()) + 0.3]
    figure.update_xaxes(type="log", title="bytes of a saved adapter, with its head and settings", range=edges, dtick=1)
    figure.update_xaxes(tickformat=".0s", ticksuffix="B", exponentformat="SI")
    figure.update_yaxes(title="step time ÷ the frozen model's<br>forward and backward pass", rangemode="tozero")
    return apply_style(figure, height=470, name="storage and time")


def _lines(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame, dict[str, Any]]]:
    """Yield the number, the rows by rank, and the step times of each method that has some."""
    for i, method in enumerate(_FAMILIES):
        if len(own := rows[rows["method"] == method].sort_values("rank")):
            bars = error_bars(own["ratio"], own["ratio_low"], own["ratio_high"], COLOURS[i])
            yield i, own, {"y": own["ratio"], "name": method, "error_y": bars}


def _ranks(rows: pd.DataFrame) -> list[str]:
    """Return the lowest and the highest rank as text; the others stand too near each other, and show on hovering."""
    ends = (rows["rank"].min(), rows["rank"].max())
    return [f" r={rank} " if rank in ends else "" for rank in rows["rank"]]
