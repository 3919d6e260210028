"""Plotly figures of runs: scores, norms of updates, costs. Every function takes a table and returns a figure."""

import math

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments.scoring import in_words
from vxlab.views.style import COLOURS, GREY, INK, SYMBOLS, apply_style, draws_text, error_bars, look
from vxlab.words import write_number


@draws_text
def scores(table: pd.DataFrame, metric: str, tested: str) -> go.Figure:
    """Draw a score table: one bar an answer, its 95 % interval as a whisker, its value beside it.

    Args:
        table: from ``score_table``.
        metric: whose scores they are.
        tested: what they were tested on, such as ``400 test items in 87 films``.
    """
    shown = table[::-1]
    right, left = shown["high"].fillna(shown["score"]), shown["low"].fillna(shown["score"])
    error = error_bars(shown["score"], shown["low"], shown["high"], INK)
    colours = [GREY if pd.isna(low) else COLOURS[0] for low in shown["low"]]
    bar = {"color": [_pale(colour) for colour in colours], "line": {"color": colours, "width": 1.5}}
    figure = go.Figure()
    figure.add_bar(x=shown["score"], y=shown["answer"], orientation="h", marker=bar, error_x=error, width=0.6)
    for answer, score, x in zip(shown["answer"], shown["score"], right, strict=True):
        if pd.notna(score):
            figure.add_annotation(
                x=max(x, 0), y=answer, text=write_number(score, ".3f"), showarrow=False, xanchor="left", xshift=8
            )
    title = f"{in_words(metric)} on {tested}, with 95 % interval"
    figure.update_xaxes(title=title, range=_score_range(float(left.min()), float(right.max())), zeroline=True)
    return apply_style(figure, height=110 + 50 * len(table), legend=False, name=f"scores {metric}")


@draws_text
def layer_norms(table: pd.DataFrame, column: str, title: str, start: float | None = None) -> go.Figure:
    """Draw a norm by block, a line for each role; where it started, a dashed line says so.

    Args:
        table: from ``layer_updates``.
        column: ``relative_norm``, ``d_norm`` or ``b_norm``.
        title: of the y axis.
        start: the norm before training.
    """
    figure = go.Figure()
    for i, (role, rows) in enumerate(table.groupby("role", sort=False)):
        figure.add_scatter(x=rows["block"], y=rows[column], mode="lines+markers", name=str(role), **look(i))
    last = int(table["block"].max())
    if start is not None:
        line = {"color": GREY, "dash": "dash", "width": 1.5}
        ends = {"x": [-0.5, last + 0.5], "y": [start, start]}
        figure.add_scatter(**ends, mode="lines", line=line, name=f"before training: {start:.3g}")
    figure.update_xaxes(
        title="transformer block, from the input", dtick=math.ceil((last + 1) / 16), range=[-0.5, last + 0.5]
    )
    figure.update_yaxes(title=title, rangemode="tozero")
    return apply_style(figure, height=400, name=f"{column} by block")


@draws_text
def costs(table: pd.DataFrame) -> go.Figure:
    """Draw a cost table: trained parameters of each method on a logarithmic axis, backbone and head apart.

    Args:
        table: from ``cost_table``.
    """
    shown = table[::-1]
    figure = go.Figure()
    parts = (("backbone", "in the backbone", 0), ("head", "in the task head", 2))
    for column, name, i in parts:
        rows = shown[shown[column] > 0]
        # The head is the same in every row: its number stands once, in the legend.
        labelled = column == "backbone" or rows[column].nunique() > 1
        figure.add_scatter(
            x=rows[column], y=rows["method"], mode="markers+text" if labelled else "markers",
            name=name if labelled or rows.empty else f"{name}: {rows[column].iloc[0]:,}",
            text=[f"  {value:,}" for value in rows[column]], textposition="middle right", cliponaxis=False,
            marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 12},
        )  # fmt: skip
    values = [value for value in [*shown["backbone"], *shown["head"]] if value > 0] or [1]
    low, high = math.log10(min(values)), math.log10(max(values))
    figure.update_xaxes(
        type="log", title="trained parameters", tickformat="~s", dtick=1 if high - low > 1 else "D2",
        range=[low - 0.3, high + 0.6 + (high - low) / 6],
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["method"]))
    return apply_style(figure, height=130 + 45 * len(table), name="trained parameters")


def _pale(colour: str) -> str:
    """Return the same hue, thin enough for a whisker to be seen on it."""
    return f"rgba({','.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))},0.35)"


def _score_range(lowest: float, highest: float) -> list[float]:
    """Return an axis from 0 (or below, for negative scores) to 1, or less far where all scores are small."""
    bottom, top = min(0.0, lowest), 1.0 if highest > 0.3 else max(highest, 0.0)
    span = max(top - bottom, 0.1)
    return [bottom - 0.05 * span if bottom else 0.0, top + 0.15 * span]  # to the right of the bars stand the values
