"""The advice explorer's four panels, before a budget is chosen."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import Measured
from vxlab.studies.advisor import ALLOCATION, UNIFORM, UNKNOWN
from vxlab.views.explorers import short, spread
from vxlab.views.explorers.advisor.words import measured_text
from vxlab.views.figures import RANKS, rank_cells, texts_in_colour
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    ON_HEAT,
    SCORES,
    SHARES,
    draws_text,
    error_bars,
    four_panels,
    head_panels,
    look,
)

LINE = "shapes[0]"
"""Where the layout has the line at the chosen budget among the scores."""
TITLES = {
    ALLOCATION: "Advised ranks",
    UNIFORM: "Advised: one rank for all",
    UNKNOWN: "One rank for all, as nothing else is known",
}
"""Of the map, by verdict."""
_MOST_BLOCKS = 12
"""Blocks up to which a map has its ranks written in, and every block its tick."""
_LOOKS = ((ALLOCATION, "allocation advised", COLOURS[0], "circle"),
          (UNIFORM, "one rank is as good", COLOURS[1], "square-open"),
          (UNKNOWN, "not told", GREY, "x-open"))  # fmt: skip


@draws_text
def advice_panels(layers: pd.DataFrame, budgets: pd.DataFrame, runs: Measured) -> go.Figure:
    """Return the four panels; of the traces the map (and its dashes) and the two rings are empty, in this order: map,
    dashes, captured by the allocation and by one rank, their ring, gains by verdict, their ring, measured scores with
    one rank and by layer. The only shape is the line at the chosen budget.

    Args:
        layers: of an advice, with the most ranks that any budget allocates in ``rank``.
        budgets: of the advice.
        runs: measured candidates of the advice's method.
    """
    figure = four_panels()
    _add_map(figure, layers)
    _add_energy(figure, budgets)
    _add_gain(figure, budgets)
    _add_scores(figure, runs)
    axis: dict[str, Any] = {"type": "log", "title": "trained parameters", "tickformat": "~s"}
    axis |= {"dtick": 1 if budgets["budget"].max() >= 100 * budgets["budget"].min() else "D2"}
    for place in ((1, 2), (2, 1), (2, 2)):
        figure.update_xaxes(**axis, row=place[0], col=place[1])
    figure.add_shape(
        type="line", xref="x4", yref="y4 domain", x0=1, x1=1, y0=0, y1=1, line={"color": INK, "dash": "dot"}
    )
    # Where nothing was measured, the axis would be of years around 2000.
    low, high = budgets["budget"].min(), budgets["budget"].max()
    still = {"marker": {"color": INK}, "showlegend": False, "hoverinfo": "skip"}
    figure.add_scatter(x=[low, high], y=[None, None], mode="markers", **still, row=2, col=2)
    head_panels(
        figure,
        (TITLES[ALLOCATION], "Gradient's energy captured", "Gain, on held-out batches",
         f"Measured test {in_words(runs.metric)}" if len(runs.table) else "Measured: nothing yet"),
    )  # fmt: skip
    return figure


def map_of(layers: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes to the map and to its dashes that show the ranks of one budget.

    Args:
        layers: of an advice, at that budget.
    """
    z, text = rank_cells(layers)
    bare = [(j, i, text[i][j]) for i, row in enumerate(z) for j, each in enumerate(row) if each is None]
    dashes = {"x": [x for x, _, _ in bare], "y": [y for _, y, _ in bare], "text": [said for _, _, said in bare]}
    return {"z": z, "text": texts_in_colour(z, text)}, dashes


def _add_map(figure: go.Figure, layers: pd.DataFrame) -> None:
    roles, blocks = list(dict.fromkeys(layers["role"])), sorted(layers["block"].unique())
    few = len(blocks) <= _MOST_BLOCKS
    most = max((each for row in rank_cells(layers)[0] for each in row if each is not None), default=1.0)
    figure.add_heatmap(
        x=list(range(len(blocks))), y=list(range(len(roles))), zmin=0, zmax=most, colorscale=RANKS, showscale=False,
        texttemplate="%{text}" if few else None, textfont={"size": 10, "color": ON_HEAT}, xgap=1, ygap=1,
        hovertemplate="rank %{text}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    font = {"color": INK, "size": 10}
    figure.add_scatter(mode="text" if few else "none", textfont=font, hoverinfo="skip", showlegend=False, row=1, col=1)
    places = spread(list(range(len(blocks))), _MOST_BLOCKS)
    figure.update_xaxes(
        title="block, from the input; – is left out", tickvals=places, ticktext=[str(blocks[i]) for i in places],
        range=[-0.5, len(blocks) - 0.5], showgrid=False, zeroline=False, row=1, col=1,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(roles))), ticktext=roles, range=[len(roles) - 0.5, -0.5], showgrid=False,
        zeroline=False, row=1, col=1,
    )  # fmt: skip


def _add_energy(figure: go.Figure, budgets: pd.DataFrame) -> None:
    place = {"legend": "legend2", "row": 1, "col": 2}
    for i, (column, name) in enumerate((("kept", "allocation"), ("kept_uniform", "one rank for all"))):
        style = look(i) | {"marker": look(i)["marker"] | {"size": 7}}
        figure.add_scatter(
            x=budgets["budget"], y=[short(each) for each in budgets[column]], mode="lines+markers", name=name, **style,
            hovertemplate=f"{name}, %{{x:,}} parameters: %{{y:.1%}}<extra></extra>", **place,
        )  # fmt: skip
    _add_ring(figure, place)
    figure.update_yaxes(title="share of all layers'", **SHARES, rangemode="tozero", row=1, col=2)


def _add_gain(figure: go.Figure, budgets: pd.DataFrame) -> None:
    place = {"legend": "legend3", "row": 2, "col": 1}
    for verdict, name, colour, symbol in _LOOKS:
        own = budgets[budgets["verdict"] == verdict]
        figure.add_scatter(
            x=own["budget"], y=own["gain"], mode="markers", name=name, showlegend=len(own) > 0,
            error_y=error_bars(own["gain"], own["low"], own["high"], colour, faint=True),
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate="%{x:,} parameters: %{y:+.1%}<extra></extra>", **place,
        )  # fmt: skip
    _add_ring(figure, place)
    figure.add_scatter(
        x=[budgets["budget"].min(), budgets["budget"].max()], y=[0, 0], mode="lines", showlegend=False,
        line={"color": INK, "width": 1}, hoverinfo="skip", **place,
    )  # fmt: skip
    figure.update_yaxes(title="less one rank's", **SHARES, row=2, col=1)


def _add_scores(figure: go.Figure, runs: Measured) -> None:
    place = {"legend": "legend4", "row": 2, "col": 2}
    one = runs.table["rank"].notna()
    for i, (name, own) in enumerate((("ranks by energy", runs.table[~one]), ("one rank for all", runs.table[one]))):
        own = own[own["n"] > 0].sort_values("backbone")
        figure.add_scatter(
            x=own["backbone"], y=own["mean"], mode="markers", name=name, showlegend=len(own) > 0,
            marker=look(i)["marker"] | {"size": 8},
            customdata=[measured_text(row, runs) for row in own.to_dict("records")],
            hovertemplate="%{customdata}<extra></extra>", **place,
        )  # fmt: skip
    some = len(runs.table) > 0
    figure.update_yaxes(title="mean over seeds" if some else "", showticklabels=some, **SCORES, row=2, col=2)


def _add_ring(figure: go.Figure, place: dict[str, Any]) -> None:
    ring = {"symbol": "circle-open", "size": 16, "color": INK, "line": {"width": 2}}
    figure.add_scatter(mode="markers", name="chosen", showlegend=False, marker=ring, hoverinfo="skip", **place)
