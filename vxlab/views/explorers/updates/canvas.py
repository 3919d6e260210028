"""The update explorer's four panels, before a layer is chosen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
import plotly.graph_objects as go

from vxlab.studies.updates import CELLS, LEADING, THRESHOLD
from vxlab.views.explorers import short
from vxlab.views.style import BLUE_ORANGE, COLOURS, DASHES, GREY, INK, SYMBOLS, draws_text, four_panels, head_panels

Lines = Mapping[tuple[str, str], tuple[list[float], list[float]]]
"""The points of every line, by layer and what it shows."""
_KINDS = (("R",), ("d", "b"), ("d",), ("b",), ("outputs", "inputs"))
_NAMES = {"d": "|d|", "b": "|b|", "outputs": "rows (outputs)", "inputs": "columns (inputs)"}
_SHARE = "share of the entries, largest first"


def own_panel_kind(points: Lines) -> tuple[str, ...]:
    """Return which lines a run's own panel shows: R's map, VeRA's vectors, or how ΔW is spread over its units."""
    there = {what for _, what in points}
    return next((kind for kind in _KINDS if there.issuperset(kind)), _KINDS[-1])


def titles(names: Sequence[str], kinds: Sequence[tuple[str, ...]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the panels' titles for a chosen layer.

    Args:
        names: of the runs.
        kinds: what their own panels show.
        rows: the layer's, of each run.
    """
    own = [_own_title(kind, row) for kind, row in zip(kinds, rows, strict=True)]
    if len(names) == 1:
        lower = [own[0], "Are W + ΔW's directions W's own?"]
    else:
        lower = [f"{name}: {title}" for name, title in zip(names, own, strict=True)]
    return ["How far W moved: ‖ΔW‖ / ‖W‖", "ΔW's singular values in this layer", *lower]


@draws_text
def update_panels(
    names: Sequence[str], layers: Sequence[pd.DataFrame], points: Sequence[Lines], kinds: Sequence[tuple[str, ...]]
) -> go.Figure:
    """Return the four panels, with a line a role and run; then the rings, spectra and details that a layer fills.

    Args:
        names: of the runs, one or two.
        layers: the runs' tables.
        points: the runs' lines.
        kinds: what their own panels show.
    """
    figure = four_panels()
    _add_norms(figure, names, layers)
    _add_spectra(figure, names, points)
    for i, kind in enumerate(kinds):
        _add_map(figure, int(layers[i]["core_rank"].max()), i) if kind == ("R",) else _add_lines(figure, kind, i)
    if len(names) == 1:
        _add_similarity(figure)
    head_panels(figure, titles(names, kinds, [cast("Mapping[str, Any]", table.iloc[0].to_dict()) for table in layers]))
    # Inside its panel, where a falling spectrum leaves room: the roles' names beside it take the width above.
    inside = {"orientation": "v", "x": 1, "y": 1, "xanchor": "right", "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"}
    return figure.update_layout(legend2=inside)


def _own_title(kind: tuple[str, ...], row: Mapping[str, Any]) -> str:
    if kind == ("R",):
        return f"R (±{row['core_largest']:.2g})"
    return {"outputs": "ΔW's rows and columns"}.get(kind[0], " and ".join(_NAMES[what] for what in kind))


def _add_norms(figure: go.Figure, names: Sequence[str], layers: Sequence[pd.DataFrame]) -> None:
    roles = list(layers[0]["role"].unique())
    for i, (name, table) in enumerate(zip(names, layers, strict=True)):
        for j, role in enumerate(roles):
            own = table[table["role"] == role].sort_values("block")
            colour, symbol = COLOURS[j % len(COLOURS)], SYMBOLS[j % len(SYMBOLS)]
            figure.add_scatter(
                x=own["block"].tolist(), y=list(map(short, own["relative_norm"])), legend="legend",
                mode="lines+markers", name=role, legendgroup=role, showlegend=i == 0,
                line={"color": colour, "dash": DASHES[i], "width": 1.5}, row=1, col=1,
                marker={"symbol": symbol + "-open" * i, "color": colour, "size": 7}, hovertemplate=_hover(name, role),
            )  # fmt: skip
    for _ in names:
        ring = {"symbol": "circle-open", "size": 17, "color": INK, "line": {"width": 2.5}}
        figure.add_scatter(mode="markers", marker=ring, hoverinfo="skip", showlegend=False, row=1, col=1)
    every = math.ceil((int(layers[0]["block"].max()) + 1) / 12)
    figure.update_xaxes(title="transformer block, from the input", dtick=every, row=1, col=1)
    figure.update_yaxes(
        title="‖ΔW‖ / ‖W‖", **_scale(pd.concat([table["relative_norm"] for table in layers])), row=1, col=1
    )


def _hover(name: str, role: str) -> str:
    return f"{name}<br>{role}, block %{{x}}: %{{y:.4g}}<extra></extra>"


def _scale(values: "pd.Series[float]") -> dict[str, Any]:
    """Return a logarithmic axis where sizes differ by orders, and one from zero where they do not."""
    if values.min() > 0 and values.max() > 8 * values.min():
        return {"type": "log", "dtick": 1, "minor": {"showgrid": True, "dtick": "D1"}}
    return {"rangemode": "tozero"}


def _add_spectra(figure: go.Figure, names: Sequence[str], points: Sequence[Lines]) -> None:
    for i, name in enumerate(names):
        figure.add_scatter(
            mode="lines+markers", name=name, line={"color": COLOURS[i], "dash": DASHES[i], "width": 2},
            marker={"symbol": SYMBOLS[i], "size": 5, "color": COLOURS[i]}, legend="legend2", showlegend=len(names) > 1,
            row=1, col=2,
        )  # fmt: skip
    values = [max(y) for lines in points for (_, what), (_, y) in lines.items() if what == "spectrum" and y]
    top = math.log10(max(values)) if values else 0.0
    least = [min(y) for lines in points for (_, what), (_, y) in lines.items() if what == "spectrum" and y]
    low = max(math.log10(min(least)), top - 5) if least else -1.0
    figure.update_xaxes(title="number, the largest first", rangemode="tozero", row=1, col=2)
    figure.update_yaxes(
        title="singular value", type="log", range=[low - 0.2, top + 0.2], dtick=1, exponentformat="power", row=1, col=2
    )


def _add_lines(figure: go.Figure, kind: tuple[str, ...], i: int) -> None:
    for j, what in enumerate(kind):
        look = {"line": {"color": COLOURS[2 + j], "dash": DASHES[j], "width": 2}, "legend": f"legend{3 + i}"}
        figure.add_scatter(mode="lines", name=_NAMES[what], **look, row=2, col=1 + i)
    spread = kind[0] == "outputs"
    title = "norm, in units of an even spread" if spread else "magnitude"
    figure.update_xaxes(title=_SHARE.replace("entries", "rows or columns") if spread else _SHARE, row=2, col=1 + i)
    figure.update_xaxes(tickformat=".0%", range=[0, 1.01], row=2, col=1 + i)
    figure.update_yaxes(title=title, rangemode="tozero", row=2, col=1 + i)


def _add_map(figure: go.Figure, rank: int, i: int) -> None:
    numbers = list(range(1, rank + 1, math.ceil(rank / CELLS)))
    # A widget forgets the places of a map that it first meets without values.
    figure.add_heatmap(
        x=numbers, y=numbers, z=[[0.0] * len(numbers)] * len(numbers), zmin=-1, zmax=1, colorscale=BLUE_ORANGE,
        showscale=False, row=2, col=1 + i,
        hovertemplate="output %{y}, input %{x}: %{z} of the largest<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="input direction; blue: −, orange: +", showgrid=False, zeroline=False, row=2, col=1 + i)
    figure.update_yaxes(
        title="output direction", autorange="reversed", showgrid=False, zeroline=False, row=2, col=1 + i
    )


def _add_similarity(figure: go.Figure) -> None:
    place = {"legend": "legend4", "row": 2, "col": 2}
    marker = {"symbol": SYMBOLS[0], "size": 8, "color": COLOURS[0]}
    figure.add_scatter(mode="lines+markers", name="cosine", marker=marker, line_color=COLOURS[0], **place)
    figure.add_scatter(mode="lines", name="chance", line={"color": GREY, "dash": "dot", "width": 1.5}, **place)
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    figure.add_scatter(
        x=[1, LEADING], y=[THRESHOLD] * 2, mode="lines", name=f"threshold {THRESHOLD}", line=line, **place
    )
    figure.update_xaxes(title="left singular vector of W + ΔW", dtick=1, row=2, col=2)
    figure.update_yaxes(title="cosine with the nearest of W", range=[0, 1.05], row=2, col=2)
