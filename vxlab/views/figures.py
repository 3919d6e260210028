"""Plotly figures of runs, one look for all of them. Every function takes a table and returns a figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from vxlab.experiments.record import RunRecord

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
"""Okabe and Ito's palette, told apart by colour-blind readers; symbols and dashes differ too."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
GREY = "#555555"


def learning_curves(records: Mapping[str, "RunRecord"]) -> go.Figure:
    """Draw training loss by step, and the validation score by epoch with the chosen checkpoint ringed."""
    task = next(iter(records.values())).task
    metric = task["metrics"][0]
    figure = make_subplots(cols=2, subplot_titles=("Training loss", f"Validation {_words(metric)}"))
    for i, (name, record) in enumerate(records.items()):
        look = {"line": {"color": COLOURS[i], "dash": DASHES[i]}, "name": name, "legendgroup": name}
        curve = record.curve_table()
        figure.add_scatter(x=curve["step"], y=curve["loss"], mode="lines", **look, row=1, col=1)
        table = record.metrics_table().query("split == 'validation' and metric == @metric")
        marker = {"symbol": SYMBOLS[i], "size": 9, "color": COLOURS[i]}
        figure.add_scatter(
            x=table["epoch"],
            y=table["value"],
            mode="lines+markers",
            marker=marker,
            **look,
            showlegend=False,
            row=1,
            col=2,
        )
        best = table[table["epoch"] == record.best_epoch]
        ring = {"symbol": "circle-open", "size": 18, "color": COLOURS[i], "line": {"width": 2}}
        figure.add_scatter(
            x=best["epoch"], y=best["value"], mode="markers", marker=ring, name="chosen checkpoint",
            legendgroup="chosen", showlegend=i == 0, row=1, col=2,
        )  # fmt: skip
    figure.update_xaxes(title="optimizer step", row=1, col=1)
    figure.update_yaxes(title="cross-entropy" if task["num_labels"] > 1 else "squared error", row=1, col=1)
    figure.update_xaxes(
        title="epoch", dtick=max(1, max(r.spec["epochs"] for r in records.values()) // 10), row=1, col=2
    )
    figure.update_yaxes(title=_words(metric), row=1, col=2)
    return _styled(figure, height=380)


def scores(table: pd.DataFrame, metric: str, items: int) -> go.Figure:
    """Draw a score table: one bar an answer, its 95 % interval as a whisker, its value beside it."""
    figure = go.Figure()
    shown = table[::-1]
    error = {
        "type": "data", "symmetric": False, "thickness": 1.5, "color": "#222222",
        "array": (shown["high"] - shown["score"]).fillna(0), "arrayminus": (shown["score"] - shown["low"]).fillna(0),
    }  # fmt: skip
    colours = [GREY if pd.isna(low) else COLOURS[0] for low in shown["low"]]
    figure.add_bar(x=shown["score"], y=shown["answer"], orientation="h", marker_color=colours, error_x=error, width=0.6)
    right = shown["high"].fillna(shown["score"])
    for answer, score, x in zip(shown["answer"], shown["score"], right, strict=True):
        if pd.notna(score):
            figure.add_annotation(x=x, y=answer, text=f"{score:.3f}", showarrow=False, xanchor="left", xshift=8)
    top = max(1.0, float(right.max())) if right.max() > 0.3 else float(right.max()) * 1.3
    figure.update_xaxes(
        title=f"{_words(metric)} on {items:,} test items, with 95 % interval", range=[min(0, right.min()), top * 1.08]
    )
    return _styled(figure, height=120 + 55 * len(table), legend=False)


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
        marker = {"symbol": SYMBOLS[i % 7], "size": 9, "color": COLOURS[i % 7]}
        line = {"color": COLOURS[i % 7], "dash": DASHES[i % 7]}
        figure.add_scatter(
            x=rows["block"], y=rows[column], mode="lines+markers", name=str(role), marker=marker, line=line
        )
    if start is not None:
        figure.add_hline(y=start, line={"color": GREY, "dash": "dash"})
        text = f"start {start:.3g}"
        figure.add_annotation(
            x=1, xref="paper", y=start, text=text, showarrow=False, xanchor="right", yanchor="bottom", font_color=GREY
        )
    figure.update_xaxes(title="transformer block, from the input", dtick=1 if table["block"].max() < 16 else None)
    figure.update_yaxes(title=title, rangemode="tozero")
    return _styled(figure, height=380)


def costs(table: pd.DataFrame) -> go.Figure:
    """Draw a cost table: trained parameters of each method on a logarithmic axis, adapter and head apart."""
    shown = table[::-1]
    figure = go.Figure()
    parts = (("backbone", "in the backbone", COLOURS[0], "circle"), ("head", "in the task head", COLOURS[1], "diamond"))
    for column, name, colour, symbol in parts:
        rows = shown[shown[column] > 0]
        marker = {"color": colour, "symbol": symbol, "size": 12}
        text = [f"{value:,}" for value in rows[column]] if column == "backbone" else None
        figure.add_scatter(
            x=rows[column], y=rows["method"], mode="markers+text" if text else "markers", name=name, marker=marker,
            text=text, textposition="middle right",
        )  # fmt: skip
    low, high = shown[["backbone", "head"]].replace(0, pd.NA).min().min(), shown["backbone"].max()
    figure.update_xaxes(type="log", title="trained parameters", range=[_log10(low) - 0.4, _log10(high) + 1.0], dtick=1)
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["method"]))
    return _styled(figure, height=130 + 45 * len(table))


def _styled(figure: go.Figure, height: int, legend: bool = True) -> go.Figure:
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 70, "r": 30, "t": 50, "b": 60}, showlegend=legend,
        legend={"orientation": "h", "y": -0.25, "x": 0}, font={"size": 14, "color": "#222222"},
    )  # fmt: skip
    figure.update_xaxes(automargin=True, showline=True, linecolor="#999999")
    figure.update_yaxes(automargin=True, showline=True, linecolor="#999999")
    return figure


def _words(metric: str) -> str:
    return {"f1": "F1", "f1_macro": "macro F1", "matthews": "Matthews correlation", "pearson": "Pearson correlation",
            "spearman": "Spearman correlation"}.get(metric, metric)  # fmt: skip


def _log10(value: float) -> float:
    from math import log10

    return log10(max(float(value), 1.0))
