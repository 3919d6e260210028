"""Plotly figures of rank advice: ranks by layer, energy by budget, the trial's regret, scores by rank kept."""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import IN_POINTS
from vxlab.experiments.scoring import in_words
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    ON_HEAT,
    SHARES,
    apply_style,
    draws_text,
    error_bars,
    look,
    name_once,
)

RANKS = ((0.0, "#f7f7f7"), (1.0, "#5aa0d0"))
"""Colours of ranks, from the lowest to the highest."""
LEFT_OUT = "–"
_HEAT = ((0.0, "#f7f7f7"), (1.0, "#f08a5d"))
_WRITTEN = 16
"""Blocks up to which the numbers are written into the maps; a map of more is read by its colours and by pointing."""
_SIZES = ("smallest budget", "middle budget", "largest budget")


@draws_text
def ranks_by_layer(layers: pd.DataFrame) -> go.Figure:
    """Draw the advised rank of each block and role, and beside it the share of all energy that the layer holds.

    A layer that is left out shows a dash and no colour. Layers of one role in one block, as in a decoder with two
    attentions, stand in one cell: ranks apart, energies together.

    Args:
        layers: of an :class:`~vxlab.studies.advisor.Advice`.
    """
    roles, blocks = list(dict.fromkeys(layers["role"])), sorted(layers["block"].unique())
    titles = ("<b>advised rank</b>", "<b>share of the gradient's energy</b>")
    # Under each other where there are many blocks: beside each other their cells would be too narrow to read.
    wide = len(blocks) > 8
    figure = make_subplots(
        rows=2 if wide else 1, cols=1 if wide else 2, subplot_titles=titles, horizontal_spacing=0.04,
        vertical_spacing=0.5 / (1 + len(roles)) + 0.1, shared_yaxes=not wide,
    )  # fmt: skip
    ranks, shares = rank_cells(layers), _share_cells(layers)
    written = len(blocks) <= _WRITTEN
    for i, (z, text, hover, colours) in enumerate((
        (*ranks, "%{y}, block %{x}: rank %{text}", RANKS), (*shares, "%{y}, block %{x}: %{text}", _HEAT),
    )):  # fmt: skip
        figure.add_heatmap(
            x=[str(block) for block in blocks], y=roles, z=z, text=text, texttemplate="%{text}" if written else None,
            textfont={"color": ON_HEAT, "size": 12}, colorscale=colours, zmin=0, xgap=1, ygap=1, showscale=False,
            hovertemplate=f"{hover}<extra></extra>", row=i + 1 if wide else 1, col=1 if wide else i + 1,
        )  # fmt: skip
    if written:
        _add_dashes(figure, [str(block) for block in blocks], roles, ranks[0], ranks[1])
    figure.update_xaxes(title="block, from the input", type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    apply_style(figure, height=(2 if wide else 1) * (110 + 34 * len(roles)) + 20, legend=False, name="ranks by layer")
    return figure


def rank_cells(layers: pd.DataFrame, column: str = "rank") -> tuple[list[list[float | None]], list[list[str]]]:
    """Return a map's numbers and texts by role and block: log₂ of 1 + the mean rank, None where a layer is left out.

    Args:
        layers: with ``role``, ``block`` and the column.
        column: ranks, 0 of a layer that is left out.
    """
    roles, blocks = list(dict.fromkeys(layers["role"])), sorted(layers["block"].unique())
    cells = {place: list(own[column].astype(int)) for place, own in layers.groupby(["role", "block"])}
    several = [[cells.get((role, block)) for block in blocks] for role in roles]
    z = [[_shade(each) for each in row] for row in several]
    return z, [[_ranks_in_words(each) for each in row] for row in several]


@draws_text
def energy_by_budget(budgets: pd.DataFrame, chosen: int | None = None) -> go.Figure:
    """Draw what the allocation and one uniform rank capture of the gradient's energy at each budget, and the gain.

    Args:
        budgets: of an :class:`~vxlab.studies.advisor.Advice`. The gain is that on held-out batches, with the 5th and
            95th percentile of resampled ones; what the left panel captures is of the batches that chose the ranks.
        chosen: the budget that was asked about, marked by a line.
    """
    titles = ("<b>energy captured</b>", "<b>gain on held-out batches</b>")
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.11)
    for i, (column, name) in enumerate((("kept", "allocation"), ("kept_uniform", "one rank for all"))):
        figure.add_scatter(
            x=budgets["budget"], y=budgets[column], mode="lines+markers", name=name, **look(i), row=1, col=1,
            customdata=budgets["uniform_rank"],
            hovertemplate=f"{name} at %{{x:,}} parameters (r=%{{customdata}}): %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    looks = (("allocation", "allocation advised", COLOURS[0], "circle"),
             ("uniform", "one rank is as good", COLOURS[1], "square-open"),
             ("unknown", "the batches do not tell", GREY, "x-open"))  # fmt: skip
    for verdict, name, colour, symbol in looks:
        own = budgets[budgets["verdict"] == verdict]
        bars = error_bars(own["gain"], own["low"], own["high"], colour)
        figure.add_scatter(
            x=own["budget"], y=own["gain"], mode="markers", name=name, error_y=bars, showlegend=len(own) > 0,
            marker={"color": colour, "symbol": symbol, "size": 9}, row=1, col=2,
            hovertemplate="%{x:,} parameters: %{y:+.1%}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1}, row=1, col=2)
    if chosen is not None:
        figure.add_vline(x=chosen, line={"color": INK, "dash": "dot", "width": 1.2}, layer="below")
    figure.update_xaxes(type="log", title="trained parameters", tickformat="~s", **_ticks(budgets["budget"]))
    figure.update_yaxes(title="share of all layers' energy", range=[0, 1.04], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title="allocation less uniform", **SHARES, row=1, col=2)
    apply_style(figure, height=420, name="energy by budget")
    return figure.update_layout(margin={"t": 90}, legend={"y": 1.1})


@draws_text
def regret_by_allocation(regret: pd.DataFrame) -> go.Figure:
    """Draw the regret of each kind of allocation, with its interval: a row of panels a method, a column a task.

    Regret is (best − score)/(best − worst) over the allocations of one task, method and budget: 0 chose the best.

    Args:
        regret: from ``regret_table``.
    """
    figure = _by_cell(regret, ("regret", "low", "high"), 1, "%{y}: regret %{x:.2f}")
    figure.update_xaxes(range=[*_reach(regret, "low", "high", least=(-0.04, 1.04))])
    return _entitled(figure, regret, "regret: 0 is the best, 1 the worst", "regret by allocation")


@draws_text
def differences_from_uniform(regret: pd.DataFrame, *, metric: str = "accuracy") -> go.Figure:
    """Draw each kind of allocation's test score less that of one rank for all, with its interval, panels as
    :func:`regret_by_allocation`.

    Args:
        regret: from ``regret_table``.
        metric: whose scores they are.
    """
    unit = 100 if metric in IN_POINTS else 1
    shown = regret[regret["kind"] != "uniform"]
    figure = _by_cell(shown, ("difference", "diff_low", "diff_high"), unit, "%{y}: %{x:+.1f}")
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    title = f"test score less uniform's{', points' if metric in IN_POINTS else ''}"
    return _entitled(figure, shown, title, "differences from uniform")


def _by_cell(table: pd.DataFrame, columns: tuple[str, str, str], unit: float, told: str) -> go.Figure:
    """Draw a panel for each task and method, a row of it a kind of allocation, a mark a budget."""
    tasks, methods, kinds = (list(dict.fromkeys(table[name])) for name in ("task", "method", "kind"))
    figure = make_subplots(
        rows=len(methods), cols=len(tasks), shared_yaxes=True, shared_xaxes=True, horizontal_spacing=0.03,
        vertical_spacing=0.06, column_titles=[f"<b>{task}</b>" for task in tasks],
    )  # fmt: skip
    for i, method in enumerate(methods):
        ranks = sorted(table.loc[table["method"] == method, "budget_rank"].unique())
        for j, task in enumerate(tasks):
            for k, rank in enumerate(ranks):
                here = (table["method"] == method) & (table["task"] == task) & (table["budget_rank"] == rank)
                own = table[here].dropna(subset=[columns[0]])
                name, style = _size_name(k, len(ranks)), look(k)["marker"] | {"size": 7}
                aside = 0.24 * (k - (len(ranks) - 1) / 2)
                value, low, high = (own[column] for column in columns)
                figure.add_scatter(
                    x=unit * value, y=[kinds.index(kind) + aside for kind in own["kind"]], mode="markers", name=name,
                    marker=style, error_x=error_bars(value, low, high, style["color"], unit=unit, faint=True),
                    customdata=[f"{kind}, {method} as many parameters as r={rank} on all" for kind in own["kind"]],
                    hovertemplate=told.replace("%{y}", "%{customdata}") + "<extra></extra>", row=i + 1, col=j + 1,
                )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(kinds))), ticktext=kinds, range=[len(kinds) - 0.5, -0.5], zeroline=False
    )
    for i, method in enumerate(methods):
        figure.update_yaxes(title=f"<b>{method}</b>", row=i + 1, col=1)
    return figure


def _entitled(figure: go.Figure, table: pd.DataFrame, title: str, name: str) -> go.Figure:
    methods, kinds = table["method"].nunique(), table["kind"].nunique()
    name_once(figure)
    figure.update_xaxes(title=title, row=methods)
    figure.update_xaxes(title_font_size=12)
    apply_style(figure, height=130 + methods * (30 + 34 * kinds), name=name)
    return figure.update_layout(margin={"t": 90}, legend={"y": 1, "yref": "container", "yanchor": "top"})


def _size_name(place: int, number: int) -> str:
    """Return what the budgets are called, from the smallest: a rank says another size of each method."""
    if number == len(_SIZES):
        return _SIZES[place]
    return f"budget {place + 1} of {number}, from the smallest" if number > 1 else "the budget"


def _reach(table: pd.DataFrame, low: str, high: str, least: tuple[float, float]) -> tuple[float, float]:
    lows, highs = table[low].dropna(), table[high].dropna()
    return min([least[0], *lows - 0.04]), max([least[1], *highs + 0.04])


def _share_cells(layers: pd.DataFrame) -> tuple[list[list[float | None]], list[list[str]]]:
    """Return each role and block's share of all layers' energy, in percent; what noise makes negative counts as 0."""
    roles, blocks = list(dict.fromkeys(layers["role"])), sorted(layers["block"].unique())
    energies = layers["energy_all"].clip(lower=0)
    whole = float(energies.sum())
    shares = (100 * energies / whole if whole else 0 * energies).groupby([layers["role"], layers["block"]]).sum()
    rows = [[shares.get((role, block), math.nan) for block in blocks] for role in roles]
    z = [[None if math.isnan(share) else round(float(share), 3) for share in row] for row in rows]
    return z, [["" if share is None else f"{share:.3g} %" if share >= 1 else "<1 %" for share in row] for row in z]


def _shade(ranks: list[int] | None) -> float | None:
    if not ranks or not any(ranks):
        return None
    return round(math.log2(1 + sum(ranks) / len(ranks)), 3)


def _ranks_in_words(ranks: list[int] | None) -> str:
    return "" if ranks is None else ", ".join(str(rank) if rank else LEFT_OUT for rank in ranks)


def _add_dashes(
    figure: go.Figure, blocks: list[str], roles: list[str], z: list[list[float | None]], text: list[list[str]]
) -> None:
    """Write into the cells without a colour, for a heat map writes nothing there."""
    bare = [
        (blocks[j], roles[i], text[i][j]) for i, row in enumerate(z) for j, each in enumerate(row) if each is None
    ]
    figure.add_scatter(
        x=[x for x, _, _ in bare], y=[y for _, y, _ in bare], text=[said for _, _, said in bare], mode="text",
        textfont={"color": INK, "size": 12}, hoverinfo="skip", row=1, col=1,
    )  # fmt: skip


def _ticks(budgets: "pd.Series[int]") -> dict[str, Any]:
    """Return the axis's step: powers of ten, or 1, 2 and 5 times them where the budgets lie close."""
    low, high = float(budgets.min()), float(budgets.max())
    return {"dtick": 1 if high / low >= 1000 else "D2"}
