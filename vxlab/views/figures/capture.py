"""Plotly figure of how much of the full gradient each method can follow, against its parameters."""

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.views.style import GREY, apply_style, draws_text, error_bars, lay_panels, look

_BOUNDS = (
    ("best", "dot", "dotted: the best that any update of that rank could follow"),
    ("chance", "dash", "dashed: chance, a gradient unrelated to the method's subspace"),
)


@draws_text
def capture_against_parameters(table: pd.DataFrame, by_role: bool = False) -> go.Figure:
    """Draw the captured share of the gradient's energy against trained parameters, both logarithmic, a line a family.

    A point is the mean over layers. Its whisker is the mean of the layers' 95 % intervals over batches, which is wider
    than the mean's own. Dotted lines are the best at the same rank, dashed ones chance, in the family's colour and
    with its symbols, small and hollow.

    Args:
        table: from ``capture_table``.
        by_role: a panel for each role of a layer, with the parameters of its layers alone; else one panel for all.
    """
    panels = list(table.groupby("role", sort=False)) if by_role else [("all adapted layers", table)]
    lowest = 1.0
    grid, places = lay_panels(len(panels))
    rows = grid["rows"]
    figure = make_subplots(**grid, shared_yaxes="all", horizontal_spacing=0.03, vertical_spacing=0.25 / rows)
    for (role, layers), place in zip(panels, places, strict=True):
        lowest = min(lowest, _add_panel(figure, layers, place == places[0], place))
        figure.update_xaxes(title=f"{role!s}: trained parameters", **place)
    for _, dash, name in _BOUNDS:
        figure.add_scatter(x=[None], y=[None], mode="lines", line={"color": GREY, "dash": dash}, name=name)
    figure.update_xaxes(type="log", dtick=1, tickformat="~s")
    figure.update_yaxes(type="log", dtick=1, tickformat="~%", range=[math.log10(lowest) - 0.4, 0.15])
    figure.update_yaxes(title="share of the gradient's energy", col=1)
    return apply_style(figure, height=170 + (430 if rows == 1 else 290 * rows), name="captured gradient")


def _add_panel(figure: go.Figure, layers: pd.DataFrame, legend: bool, place: dict[str, int]) -> float:
    """Draw the families of these layers, and return the lowest positive share or chance."""
    lowest = 1.0
    for i, (family, own) in enumerate(layers.groupby("family", sort=False)):
        points = _points(own)
        colour, symbol = look(i)["line"]["color"], look(i)["marker"]["symbol"]
        small = {"color": colour, "symbol": f"{symbol}-open", "size": 6}
        for bound, dash, _ in _BOUNDS:
            line = {"color": colour, "dash": dash, "width": 1.5}
            figure.add_scatter(
                x=points["parameters"], y=points[bound], mode="lines+markers", line=line, marker=small,
                legendgroup=family, showlegend=False, hoverinfo="skip", **place,
            )  # fmt: skip
        figure.add_scatter(
            x=points["parameters"], y=points["share"], mode="lines+markers", name=str(family), legendgroup=family,
            showlegend=legend, marker=look(i)["marker"], line={"color": colour},
            error_y=error_bars(points["share"], points["low"], points["high"], colour),
            customdata=points[["method", "least", "most"]],
            hovertemplate="%{customdata[0]}: %{y:.3%}<br>layers: %{customdata[1]:.3%} to %{customdata[2]:.3%}"
            "<extra></extra>", **place,
        )  # fmt: skip
        lowest = min([lowest, *(value for value in [*points["share"], *points["chance"]] if value > 0)])
    return lowest


def _points(own: pd.DataFrame) -> pd.DataFrame:
    """Return one row a method, by parameters: sums and means over layers, and the extremes of their shares."""
    groups = own.assign(least=own["share"], most=own["share"]).groupby("method", as_index=False)
    means = dict.fromkeys(("share", "low", "high", "best", "chance"), "mean")
    return groups.agg({"rank": "max", "parameters": "sum", "least": "min", "most": "max", **means}).sort_values(
        ["parameters", "rank"]
    )
