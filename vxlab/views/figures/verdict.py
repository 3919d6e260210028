"""Plotly figures of what beats what: fronts of score against costs, and the differences between candidates."""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import COUNTED, IN_POINTS, pareto_front, unit_of_difference
from vxlab.experiments.scoring import in_words
from vxlab.views.figures.cost_axes import COSTS, log_ticks
from vxlab.views.figures.sweep import hover_texts, possible, series
from vxlab.views.style import COLOURS, GREY, INK, SCORES, apply_style, draws_text, error_bars, look


@draws_text
def pareto_figures(summary: pd.DataFrame, runs: pd.DataFrame | None = None, *, metric: str) -> go.Figure:
    """Draw scores against four costs; of the two that are counted, what no other beats in both is filled and joined.

    Args:
        summary: one row a candidate; means place it, so neighbours on a front may be inside the noise.
        runs: of the same sweep: bars reach from the least to the largest time and memory of the reported ones.
        metric: whose scores they are.
    """
    table = summary.dropna(subset=["mean"])
    figure = make_subplots(rows=2, cols=2, shared_yaxes=True, vertical_spacing=0.16, horizontal_spacing=0.06)
    for panel, (column, title, unit, kind) in enumerate(COSTS.values()):
        place = {"row": panel // 2 + 1, "col": panel % 2 + 1}
        front = pareto_front(table, cost=column) if column in COUNTED else False
        shown = table.assign(x=table[column] * unit, front=front)
        figure.update_xaxes(title=title.removesuffix(" (the task head apart)"), **place)  # a panel is narrow
        if kind == "log":
            shown["x"], axis = _logarithmic(shown["x"].astype(float))
            figure.update_xaxes(**axis, **place)
        elif runs is not None:
            shown = _spread(shown, runs, column, unit)
        _add_panel(figure, shown.dropna(subset=["x"]), metric, panel == 0, place)
    figure.update_yaxes(title=f"test {in_words(metric)}, mean", col=1, **SCORES)
    figure.update_yaxes(autorangeoptions=possible(table["mean"], metric))
    return apply_style(figure, height=780, name="fronts")


@draws_text
def differences(pairs: pd.DataFrame, kind: str | None = None, *, metric: str) -> go.Figure:
    """Draw the difference of each pair with its 95 % interval; pairs that are told apart stand out.

    Args:
        pairs: one row a pair of candidates.
        kind: ``equal rank``, ``matched parameters`` or ``other``; None draws every pair.
        metric: whose scores they are; accuracy and F1 differ by points, hundredths of a score.
    """
    shown = pairs if kind is None else pairs[pairs["kind"] == kind]
    shown = shown.assign(pair=shown["a"] + " − " + shown["b"], seen=shown["seen"].astype(bool))
    shown[["difference", "low", "high"]] *= difference_unit(metric)[0]
    figure = go.Figure()
    _add_differences(figure, shown[shown["seen"]], "told apart (after Holm's correction)", COLOURS[1], "diamond")
    _add_differences(figure, shown[~shown["seen"]], "not told apart", GREY, "circle-open")
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    unit = f", {difference_unit(metric)[1]}" if difference_unit(metric)[1] else ""
    figure.update_xaxes(title=f"difference in test {in_words(metric)}{unit}, and its own 95 % interval")
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown["pair"])[::-1], dtick=1)
    figure.update_yaxes(range=[-0.7, len(shown) - 0.3])
    return apply_style(figure, height=150 + 24 * max(len(shown), 2), name=f"differences {kind or 'of all pairs'}")


def difference_unit(metric: str) -> tuple[int, str]:
    """Return by what a difference of scores is multiplied to be shown, and the name of that unit.

    >>> difference_unit("accuracy"), difference_unit("matthews"), difference_unit("log_likelihood")
    ((100, 'points'), (1, ''), (1, 'nats'))
    """
    return 100 if metric in IN_POINTS else 1, unit_of_difference(metric)


def _spread(shown: pd.DataFrame, runs: pd.DataFrame, column: str, unit: float) -> pd.DataFrame:
    """Return the candidates with the least and the largest cost of their reported runs."""
    own = runs[runs["stage"] == "report"].groupby("candidate")[column].agg(["min", "max"]) * unit
    places = own.reindex(shown["candidate"]).to_numpy(dtype=float)
    return shown.assign(least=places[:, 0], most=places[:, 1])


def _logarithmic(x: pd.Series) -> tuple[pd.Series, dict[str, Any]]:
    """Return values and a logarithmic axis for them, on which 0 has a place of its own at the left."""
    positive = x[x > 0]
    low, high = (math.log10(positive.min()), math.log10(positive.max())) if len(positive) else (0.0, 1.0)
    ticks = log_ticks(low - 0.25, high + 0.25)
    slot = 10 ** (low - max(0.5, (high - low) / 6))
    zero = bool((x == 0).any())
    axis: dict[str, Any] = {
        "type": "log", "tickmode": "array", "tickvals": [slot] * zero + list(ticks),
        "ticktext": ["0"] * zero + list(ticks.values()),
        "range": [(math.log10(slot) if zero else low) - 0.25, high + 0.25],
    }  # fmt: skip
    return x.where(x != 0, slot), axis


def _add_panel(figure: go.Figure, shown: pd.DataFrame, metric: str, legend: bool, place: dict[str, int]) -> None:
    front = shown[shown["front"]].sort_values("x")
    line = {"color": GREY, "width": 1.5, "shape": "hv"}
    figure.add_scatter(
        x=front["x"], y=front["mean"], mode="lines", line=line, name="front (filled), of what beats the trivial answer",
        legendgroup="front", showlegend=legend, hoverinfo="skip", **place,
    )  # fmt: skip
    for i, name, rows in series(shown):
        style = look(i)["marker"]
        symbols = [style["symbol"] + ("" if each else "-open") for each in rows["front"]]
        figure.add_scatter(
            x=rows["x"], y=rows["mean"], mode="markers", name=name, legendgroup=name, showlegend=legend,
            marker=style | {"symbol": symbols}, customdata=hover_texts(rows, metric), error_x=_reach(rows, i),
            hovertemplate="%{customdata}<extra></extra>", **place,
        )  # fmt: skip


def _reach(rows: pd.DataFrame, i: int) -> dict[str, Any] | None:
    if "least" not in rows:
        return None
    return error_bars(rows["x"], rows["least"], rows["most"], COLOURS[i % len(COLOURS)], faint=True)


def _add_differences(figure: go.Figure, rows: pd.DataFrame, name: str, colour: str, symbol: str) -> None:
    error = error_bars(rows["difference"], rows["low"], rows["high"], colour)
    figure.add_scatter(
        x=rows["difference"], y=rows["pair"], mode="markers", name=name, error_x=error,
        customdata=rows["sentence"], hovertemplate="%{customdata}<extra></extra>",
        marker={"color": colour, "symbol": symbol, "size": 9},
    )  # fmt: skip
