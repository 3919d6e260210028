"""Plotly figures of how alike trained updates are."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.studies.weight_similarity import MEASURES, by_kind, by_layer
from vxlab.views.style import (
    AXIS,
    COLOURS,
    DIVERGING,
    GREY,
    INK,
    ON_HEAT,
    SHADE,
    SYMBOLS,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
    look,
)
from vxlab.words import write_number

THOUSANDTHS = 1000
_NORMAL = 1.96
_ASIDE = 0.12
"""How far apart, in blocks, kinds of the same block stand."""


@draws_text
def cosine_by_layer(table: pd.DataFrame, panels: Sequence[Sequence[str]], published: float | None = None) -> go.Figure:
    """Draw the mean cosine by block, a line a kind: the form of VeRA's Figure 5, with intervals over seeds.

    The band holds 95 % of the cosines of two unrelated updates of these shapes, one pair in one layer; the mean of
    several pairs lies closer to 0.

    Args:
        table: from ``similarity_table``, of one role.
        panels: the kinds of each panel; panels have axes of their own, for a ceiling may be ten times higher.
        published: a mean to draw as a dashed line in the first panel.
    """
    layers = by_layer(table)
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.09)
    shown: list[str] = []
    for panel, kinds in enumerate(panels, start=1):
        _add_chance(figure, layers, panel)
        for kind in kinds:
            rows = layers[layers["kind"] == kind].sort_values("block")
            first = kind not in shown
            shown += [kind] if first else []
            aside = _ASIDE * (kinds.index(kind) - (len(kinds) - 1) / 2)  # or intervals would lie on each other
            _add_line(figure, rows.assign(x=rows["block"] + aside), kind, shown.index(kind), first, panel)
    if published is not None:
        value = THOUSANDTHS * published
        line = {"color": INK, "dash": "dash", "width": 1.5}
        _across(figure, layers, value, line, f"published mean: {value:g}e-3", panel=1)
    figure.update_xaxes(title="transformer block, from the input", dtick=_every(layers), zeroline=False)
    figure.update_yaxes(zeroline=True, zerolinecolor=AXIS)
    figure.update_yaxes(title="cosine of the updates, thousandths", col=1)
    return apply_style(figure, height=480, name="cosines by block")


@draws_text
def cosine_map(table: pd.DataFrame, kinds: Sequence[str]) -> go.Figure:
    """Draw the mean cosine of each kind and block as a map, in standard deviations of two unrelated updates.

    Args:
        table: from ``similarity_table``, of one role.
        kinds: the rows, from the top.
    """
    layers = by_layer(table)
    layers["units"] = layers["mean"] / layers["chance"]
    wide = layers.pivot_table(index="kind", columns="block", values="units").reindex(list(kinds))
    values = wide.to_numpy(dtype=float)
    most = math.sqrt(float(np.nanmax(np.abs([1.0, *values.ravel()]))))
    figure = go.Figure()
    # A square root keeps small values apart beside a ceiling that is far above them.
    figure.add_heatmap(
        z=np.sign(values) * np.sqrt(np.abs(values)), x=list(wide.columns), y=list(wide.index),
        text=[[_told(value) for value in row] for row in values],
        texttemplate="%{text}", textfont_color=ON_HEAT, colorscale=DIVERGING, zmid=0, zmin=-most, zmax=most,
        showscale=False, xgap=2, ygap=2, hovertemplate="%{y}<br>block %{x}: %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="transformer block, from the input", dtick=1, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return apply_style(figure, height=120 + 34 * len(kinds), legend=False, name="map of cosines")


@draws_text
def similarity_by_kind(table: pd.DataFrame, kinds: Sequence[str], measures: Sequence[str] | None = None) -> go.Figure:
    """Draw the mean of each measure over pairs and layers, a dot a kind, with its interval over seeds.

    A dashed tick is that kind's chance level; the measure without one is to be held against the kind with random
    updates.

    Args:
        table: from ``similarity_table``, of one role.
        kinds: the rows, from the top.
        measures: the panels; None takes all.
    """
    measures = list(MEASURES) if measures is None else list(measures)
    grid, places = lay_panels(len(measures))
    figure = make_subplots(**grid, shared_yaxes=True, horizontal_spacing=0.03, vertical_spacing=0.2)
    for measure, place in zip(measures, places, strict=True):
        means = by_kind(table[table["kind"].isin(list(kinds))], measure).set_index("kind").reindex(list(kinds))
        _add_dots(figure, means, place == places[0], place)
        if measure != "cosine" and means["chance"].notna().any():  # a cosine's is a spread and no mean
            _add_ticks(figure, means, place)
        figure.update_xaxes(title={"text": MEASURES[measure], "font": {"size": 12}}, **place)
    figure.update_xaxes(rangemode="tozero", zeroline=True, zerolinecolor=AXIS)
    figure.update_yaxes(categoryorder="array", categoryarray=list(kinds)[::-1], range=[-0.6, len(kinds) - 0.4])
    return apply_style(figure, height=110 + grid["rows"] * (80 + 26 * len(kinds)), name="similarity")


def _add_line(figure: go.Figure, rows: pd.DataFrame, kind: str, i: int, first: bool, panel: int) -> None:
    error = error_bars(rows["mean"], rows["low"], rows["high"], look(i)["line"]["color"], unit=THOUSANDTHS)
    figure.add_scatter(
        x=rows["x"], y=THOUSANDTHS * rows["mean"], mode="lines+markers", **look(i), name=kind, legendgroup=kind,
        showlegend=first, error_y=error, row=1, col=panel,
        customdata=rows["block"], hovertemplate="block %{customdata}: %{y:.2f}",
    )  # fmt: skip


def _add_chance(figure: go.Figure, layers: pd.DataFrame, panel: int) -> None:
    rows = layers.drop_duplicates("block").sort_values("block")
    half = list(THOUSANDTHS * _NORMAL * rows["chance"])
    x = [float(rows["block"].min()) - 0.4, *rows["block"], float(rows["block"].max()) + 0.4]
    half = [half[0], *half, half[-1]]
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*half, *(-each for each in half[::-1])], fill="toself", fillcolor=SHADE,
        mode="lines", line={"width": 0}, name="95 % of unrelated pairs", legendgroup="chance", legendrank=10**6,
        showlegend=panel == 1, hoverinfo="skip", row=1, col=panel,
    )  # fmt: skip


def _across(
    figure: go.Figure, layers: pd.DataFrame, value: float, line: dict[str, object], name: str, panel: int
) -> None:
    ends = [float(layers["block"].min()) - 0.4, float(layers["block"].max()) + 0.4]
    figure.add_scatter(x=ends, y=[value, value], mode="lines", line=line, name=name, legendrank=10**6, row=1, col=panel)


def _add_dots(figure: go.Figure, means: pd.DataFrame, first: bool, place: dict[str, int]) -> None:
    figure.add_scatter(
        x=means["mean"], y=list(means.index), mode="markers", name="mean, 95 % interval over seeds",
        marker={"color": COLOURS[0], "symbol": SYMBOLS[0], "size": 9}, showlegend=first,
        error_x=error_bars(means["mean"], means["low"], means["high"], COLOURS[0]), **place,
    )  # fmt: skip


def _add_ticks(figure: go.Figure, means: pd.DataFrame, place: dict[str, int]) -> None:
    named = all(trace.name != "chance level" for trace in figure.data)
    figure.add_scatter(
        x=means["chance"], y=list(means.index), mode="markers", name="chance level", showlegend=named,
        marker={"symbol": "line-ns-open", "size": 16, "color": GREY, "line": {"width": 2}}, **place,
    )  # fmt: skip


def _told(units: float) -> str:
    return "–" if math.isnan(units) else write_number(units, ".1f")


def _every(layers: pd.DataFrame) -> int:
    return math.ceil((int(layers["block"].max()) + 1) / 12)
