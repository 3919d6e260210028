"""Plotly figures of rank advice: ranks by layer, energy by budget, the trial's regret, scores by rank kept."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments import family_name
from vxlab.experiments.candidates import IN_POINTS
from vxlab.experiments.scoring import in_words
from vxlab.studies.advisor import ALLOCATION, EVERY_CELL, UNIFORM, UNKNOWN
from vxlab.views.style import (
    COLOURS,
    GREY,
    INK,
    ON_HEAT,
    SHARES,
    apply_style,
    draws_text,
    error_bars,
    lay_panels,
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
        (ranks[0], texts_in_colour(*ranks), "%{y}, block %{x}: rank %{text}", RANKS),
        (*shares, "%{y}, block %{x}: %{text}", _HEAT),
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


def texts_in_colour(z: list[list[float | None]], text: list[list[str]]) -> list[list[str]]:
    """Return a map's texts but those of cells without a colour: there it would write in the colour for a pale ground.

    Args:
        z: its numbers, None where a cell has no colour.
        text: of every cell.
    """
    pairs = [zip(*rows, strict=True) for rows in zip(z, text, strict=True)]
    return [["" if each is None else said for each, said in row] for row in pairs]


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
    looks = ((ALLOCATION, "allocation advised", COLOURS[0], "circle"),
             (UNIFORM, "one rank is as good", COLOURS[1], "square-open"),
             (UNKNOWN, "the batches do not tell", GREY, "x-open"))  # fmt: skip
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
    figure.update_yaxes(title="share of all layers' energy", rangemode="tozero", **SHARES, row=1, col=1)
    figure.update_yaxes(title="allocation less uniform", **SHARES, row=1, col=2)
    apply_style(figure, height=420, name="energy by budget")
    return figure.update_layout(margin={"t": 90}, legend={"y": 1.1})


@draws_text
def regret_by_allocation(regret: pd.DataFrame) -> go.Figure:
    """Draw the regret of each kind of allocation with its 95 % interval over cells: over all, by task and by method.

    Regret is what was missed of the way from the worst allocation to the best: 0 chose the best every time.

    Args:
        regret: from ``regret_table``.
    """
    figure = _by_group(regret, ("regret", "low", "high"), 1, "%{y}: regret %{x:.2f}")
    ends = regret[["regret", "low", "high"]]
    figure.update_xaxes(range=[min(-0.04, ends.min().min() - 0.04), max(1.04, ends.max().max() + 0.04)])
    return _entitle(figure, regret, "regret (0: the best)", "regret by allocation")


@draws_text
def differences_from_uniform(regret: pd.DataFrame, *, metric: str = "accuracy") -> go.Figure:
    """Draw each kind of allocation's test score less that of one rank for all, with its 95 % interval over cells.

    Args:
        regret: from ``regret_table``.
        metric: whose scores they are.
    """
    points = metric in IN_POINTS
    shown = regret[regret["kind"] != "uniform"]
    columns = ("difference", "diff_low", "diff_high")
    figure = _by_group(shown, columns, 100 if points else 1, "%{y} less uniform: %{x:+.1f}")
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    return _entitle(figure, shown, f"less uniform{', points' if points else ''}", "differences from uniform")


@draws_text
def differences_by_cell(cells: pd.DataFrame, *, metric: str = "accuracy") -> go.Figure:
    """Draw each kind of allocation's test score less that of one rank for all in every cell of the trial.

    A panel is a task and a method, a mark a budget. Marks have no intervals here: each is of a few runs.

    Args:
        cells: from ``cell_scores``.
        metric: whose scores they are.
    """
    points = metric in IN_POINTS
    shown = cells[cells["kind"] != "uniform"]
    figure = _by_cell(shown, 100 if points else 1)
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    name_once(figure)
    methods, kinds = shown["method"].nunique(), shown["kind"].nunique()
    figure.update_xaxes(title=f"less uniform{', points' if points else ''}", row=methods)
    apply_style(figure, height=150 + methods * (30 + 34 * kinds), name="differences by cell")
    return figure.update_layout(margin={"t": 90}, legend={"y": 1, "yref": "container", "yanchor": "top"})


@draws_text
def score_by_rank_kept(kept: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw each trained run's score against the mean rank that is kept of its update, with no training in between.

    A thin line is a run, a thick one the candidate's mean over runs at each share of the energy; the rightmost marks
    are the whole updates.

    Args:
        kept: from ``rank_kept_table``.
        metric: whose scores they are.
    """
    figure, unit = go.Figure(), 100 if metric in IN_POINTS else 1
    for i, (candidate, own) in enumerate(kept.groupby("candidate", sort=False)):
        thin = look(i)["line"] | {"width": 1}
        for _, run in own.groupby("seed"):
            run = run.sort_values("share")
            figure.add_scatter(
                x=run["rank"], y=unit * run["score"], mode="lines", line=thin, opacity=0.4, showlegend=False,
                hoverinfo="skip", legendgroup=candidate,
            )  # fmt: skip
        mean = own.groupby("share", as_index=False)[["rank", "score"]].mean()
        figure.add_scatter(
            x=mean["rank"], y=unit * mean["score"], mode="lines+markers", name=str(candidate), **look(i),
            legendgroup=candidate, customdata=mean["share"],
            hovertemplate=f"{candidate}: %{{customdata:.0%}} of the energy, mean rank %{{x:.3g}}: %{{y:.3g}}"
            "<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="mean rank that is kept, of the adapted layers", type="log", dtick="D2", tickformat="~g")
    figure.update_yaxes(title=f"test {in_words(metric)}{', %' if metric in IN_POINTS else ''}")
    return apply_style(figure, height=440, name="score by rank kept")


def _by_group(table: pd.DataFrame, columns: tuple[str, str, str], unit: float, told: str) -> go.Figure:
    """Draw a panel for all cells, for each task's and for each method's, a row of it a kind of allocation."""
    groups = table[["task", "method"]].drop_duplicates().to_dict("records")
    kinds = list(dict.fromkeys(table["kind"]))
    grid, places = lay_panels(len(groups), columns=4)
    figure = make_subplots(
        **grid, shared_yaxes=True, shared_xaxes="all", horizontal_spacing=0.03, vertical_spacing=0.26,
        subplot_titles=[f"<b>{_group_name(each)}</b>" for each in groups],
    )  # fmt: skip
    for group, place in zip(groups, places, strict=True):
        own = table[(table["task"] == group["task"]) & (table["method"] == group["method"])]
        for kind, rows in own.groupby("kind", sort=False):
            value, low, high = (rows[column] for column in columns)
            colour, symbol = (COLOURS[1], "diamond") if kind == "advised" else (COLOURS[0], "circle")
            figure.add_scatter(
                x=unit * value, y=rows["kind"], mode="markers", showlegend=False, **place,
                marker={"color": colour, "symbol": symbol, "size": 8},
                error_x=error_bars(value, low, high, colour, unit=unit),
                hovertemplate=f"{told}<extra></extra>",
            )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=kinds[::-1], range=[-0.6, len(kinds) - 0.4])
    figure.update_xaxes(showticklabels=True)
    return figure


def _group_name(group: Mapping[Any, Any]) -> str:
    if group["method"] != EVERY_CELL:
        return family_name({"name": group["method"]})
    return "all cells" if group["task"] == EVERY_CELL else str(group["task"])


def _entitle(figure: go.Figure, table: pd.DataFrame, title: str, name: str) -> go.Figure:
    groups = len(table[["task", "method"]].drop_duplicates())
    rows = lay_panels(groups, columns=4)[0]["rows"]
    figure.update_xaxes(title={"text": title, "font": {"size": 12}})
    return apply_style(figure, height=60 + rows * (120 + 24 * table["kind"].nunique()), legend=False, name=name)


def _by_cell(table: pd.DataFrame, unit: float) -> go.Figure:
    """Draw a panel for each task and method, a row of it a kind of allocation, a mark a budget."""
    tasks, methods, kinds = (list(dict.fromkeys(table[name])) for name in ("task", "method", "kind"))
    figure = make_subplots(
        rows=len(methods), cols=len(tasks), shared_yaxes=True, shared_xaxes="all", horizontal_spacing=0.03,
        vertical_spacing=0.06, column_titles=[f"<b>{task}</b>" for task in tasks],
    )  # fmt: skip
    for i, method in enumerate(methods):
        ranks = sorted(table.loc[table["method"] == method, "budget_rank"].unique())
        for j, task in enumerate(tasks):
            for k, rank in enumerate(ranks):
                here = (table["method"] == method) & (table["task"] == task) & (table["budget_rank"] == rank)
                own = table[here].dropna(subset=["difference"])
                aside = 0.24 * (k - (len(ranks) - 1) / 2)  # or marks of one kind would lie on each other
                figure.add_scatter(
                    x=unit * own["difference"], y=[kinds.index(kind) + aside for kind in own["kind"]], mode="markers",
                    name=_size_name(k, len(ranks)), marker=look(k)["marker"] | {"size": 7},
                    customdata=[f"{kind}, of the size of r={rank} on all" for kind in own["kind"]],
                    hovertemplate="%{customdata}: %{x:+.1f}<extra></extra>", row=i + 1, col=j + 1,
                )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(kinds))), ticktext=kinds, range=[len(kinds) - 0.5, -0.5], zeroline=False
    )
    for i, method in enumerate(methods):
        figure.update_yaxes(title=f"<b>{family_name({'name': method})}</b>", row=i + 1, col=1)
    return figure


def _size_name(place: int, number: int) -> str:
    """Return what the budgets are called, from the smallest: a rank says another size of each method."""
    if number == len(_SIZES):
        return _SIZES[place]
    return f"budget {place + 1} of {number}, from the smallest" if number > 1 else "the budget"


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
    """Write into the cells without a colour, in the page's own."""
    bare = [(blocks[j], roles[i], text[i][j]) for i, row in enumerate(z) for j, each in enumerate(row) if each is None]
    figure.add_scatter(
        x=[x for x, _, _ in bare], y=[y for _, y, _ in bare], text=[said for _, _, said in bare], mode="text",
        textfont={"color": INK, "size": 12}, hoverinfo="skip", row=1, col=1,
    )  # fmt: skip


def _ticks(budgets: "pd.Series[int]") -> dict[str, Any]:
    """Return the axis's step: powers of ten, or 1, 2 and 5 times them where the budgets lie close."""
    low, high = float(budgets.min()), float(budgets.max())
    return {"dtick": 1 if high / low >= 1000 else "D2"}
