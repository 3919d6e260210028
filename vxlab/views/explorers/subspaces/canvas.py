"""The subspace explorer's four panels, before anything is chosen."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vxlab.studies.subspaces import SIDES
from vxlab.views.style import BLUE_ORANGE, COLOURS, DASHES, INK, SHARES, SYMBOLS, draws_text, four_panels, head_panels

MEASURED = (
    ("weight", "W"),
    ("output", "outputs"),
    ("input", "inputs"),
    ("both", "both"),
)
"""Columns of the energies, and what their lines are called."""
CHANCE = (("chance_output", 1), ("chance_input", 2), ("chance_both", 3))
"""Columns of what chance would put there, and the place among the measured of what it is chance for."""
BAND, BLOCK, LAYERS = "shapes[0]", "shapes[1]", "shapes[2]"
"""Where the layout has the canvas's shapes: the band's shade, the chosen block, the chosen layers of the map."""
_MOST = 4
"""log₂ of the ratios at the ends of the colours: 16 times chance, and a 16th. A narrow page has no room for a bar."""
_SHADE = {"fillcolor": COLOURS[4], "opacity": 0.25, "line_width": 0, "layer": "below"}


@draws_text
def subspace_panels(roles: Sequence[str], blocks: Sequence[int]) -> go.Figure:
    """Return the four panels with empty lines, in the order: spectra, angles (area, chance, angle a side), energies
    and their chance, map; and the shapes: the band's shade, the chosen block, the chosen layers of the map.

    Args:
        roles: of the map's rows, from the top.
        blocks: of the map's columns.
    """
    figure = four_panels()
    _add_spectra(figure)
    _add_angles(figure)
    _add_energies(figure, len(blocks))
    _add_map(figure, roles, blocks)
    figure.add_shape(type="rect", xref="x", x0=0, x1=0, yref="y domain", y0=0, y1=1, **_SHADE)
    figure.add_shape(
        type="line", xref="x3", yref="y3 domain", x0=0, x1=0, y0=0, y1=1, line={"color": INK, "dash": "dot"}
    )
    figure.add_shape(type="rect", xref="x4", yref="y4", x0=0, x1=0, y0=0, y1=0, line={"color": INK, "width": 3})
    head_panels(
        figure,
        (
            "The band in the spectra",
            "ΔW's angles to the band",
            "Energy in it (dotted: chance)",
            "Both, in multiples of chance",
        ),
    )
    # Inside its panel: angles are seldom small, and a row above would not hold it in a narrow window.
    x, y = figure.layout.xaxis2.domain[1], figure.layout.yaxis2.domain[0]
    inside = {"orientation": "v", "x": x, "y": y, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}
    return figure.update_layout(legend2=inside)


def colours(ratios: np.ndarray[Any, Any]) -> list[list[float | None]]:
    """Return the map's numbers: log₂ of multiples of chance, within the colours' ends; None where there is no layer."""
    with np.errstate(divide="ignore"):
        scaled = np.clip(np.log2(ratios), -_MOST, _MOST)
    return [[None if np.isnan(value) else round(float(value), 2) for value in row] for row in scaled]


def _add_spectra(figure: go.Figure) -> None:
    for i, name in ((0, "W"), (3, "ΔW")):
        line = {"color": COLOURS[i], "dash": DASHES[min(i, 1)], "width": 2.5}
        figure.add_scatter(mode="lines", name=name, line=line, legend="legend", row=1, col=1)
    figure.update_xaxes(title="share of the triplets, largest first", tickformat=".0%", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title="share of the energy", tickformat=".0%", range=[0, 1.02], row=1, col=1)


def _add_angles(figure: go.Figure) -> None:
    place = {"legend": "legend2", "row": 1, "col": 2}
    for i, side in enumerate(SIDES, 1):
        figure.add_scatter(
            fill="toself", fillcolor="rgba(120,120,120,0.25)", line_width=0, mode="lines", hoverinfo="skip",
            name="95 % of chance", showlegend=i == 1, **place,
        )  # fmt: skip
        figure.add_scatter(name=f"chance, {side}s", **_of_chance(i), **place)
        figure.add_scatter(mode="lines+markers", name=f"{side}s", marker=_mark(i), line_color=COLOURS[i], **place)
    figure.update_xaxes(title="principal angle, smallest first", dtick=1, row=1, col=2)
    figure.update_yaxes(title="degrees", range=[0, 92], dtick=30, row=1, col=2)


def _of_chance(i: int) -> dict[str, Any]:
    """Return the look of what chance would give in place of a series: dotted, with the series' own mark, small."""
    line = {"color": COLOURS[i], "dash": "dot", "width": 1.5}
    return {"mode": "lines+markers", "line": line, "marker": _mark(i) | {"size": 4}, "showlegend": False}


def _add_energies(figure: go.Figure, blocks: int) -> None:
    place = {"legend": "legend3", "row": 2, "col": 1}
    for i, (_, name) in enumerate(MEASURED):
        figure.add_scatter(mode="lines+markers", name=name, marker=_mark(i), line_color=COLOURS[i], **place)
    for column, i in CHANCE:
        figure.add_scatter(name=column.replace("_", ", "), **_of_chance(i), **place)
    every = math.ceil(blocks / 12)
    figure.update_xaxes(title="transformer block, from the input", dtick=every, row=2, col=1)
    figure.update_yaxes(title="share of the energy", rangemode="tozero", **SHARES, row=2, col=1)


def _add_map(figure: go.Figure, roles: Sequence[str], blocks: Sequence[int]) -> None:
    few = len(blocks) <= 12
    figure.add_heatmap(
        x=list(range(len(blocks))), y=list(range(len(roles))), zmin=-_MOST, zmax=_MOST, colorscale=BLUE_ORANGE,
        texttemplate="%{text}" if few else None, textfont={"size": 10, "color": "#000"}, xgap=1, ygap=1,
        hovertemplate="%{text} times chance<extra></extra>", row=2, col=2, showscale=False,
    )  # fmt: skip
    every = math.ceil(len(blocks) / 12)
    places = list(range(0, len(blocks), every))
    figure.update_xaxes(
        title="block; blue: below chance, orange: above",
        tickvals=places,
        ticktext=[str(blocks[i]) for i in places],
        showgrid=False,
        row=2,
        col=2,
    )
    figure.update_yaxes(
        tickvals=list(range(len(roles))), ticktext=list(roles), autorange="reversed", showgrid=False, row=2, col=2
    )


def _mark(i: int) -> dict[str, Any]:
    return {"symbol": SYMBOLS[i], "size": 7, "color": COLOURS[i]}
