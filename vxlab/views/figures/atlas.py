"""Plotly figures of what holds across tasks: ranks, pooled differences, rates and rules of thumb."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments import NO_LAYERS
from vxlab.views.figures.cost_axes import PARAMETERS
from vxlab.views.figures.sweep import end_ranks, level_line, looks_of, series
from vxlab.views.style import (
    COLOURS,
    DIVERGING,
    GREY,
    INK,
    ON_HEAT,
    SYMBOLS,
    LabelPlaces,
    apply_style,
    bar_look,
    draws_text,
    error_bars,
    label_font,
    look,
    tick_labels,
)
from vxlab.words import write_number

_ROW = 24
"""pixels a candidate"""
_UPRIGHT = 5
"""tasks whose names have room beside each other; those of more are turned"""


@draws_text
def ranks_over_tasks(table: pd.DataFrame, critical: float, tasks: tuple[str, ...]) -> go.Figure:
    """Draw each candidate's mean rank, with its ranks on the single tasks as faint marks.

    A bar is half the critical difference to each side: two candidates differ where their bars do not meet.

    Args:
        table: of :class:`vxlab.studies.atlas.MeanRanks`.
        critical: its critical difference.
        tasks: its tasks, in the order of each candidate's ranks.
    """
    figure = go.Figure()
    for i, task in enumerate(tasks):
        figure.add_scatter(
            x=[ranks[i] for ranks in table["ranks"]], y=table["candidate"], mode="markers", name=task,
            marker=_faint(i), hovertemplate=f"%{{y}}: rank %{{x}} on {task}<extra></extra>",
        )  # fmt: skip
    for name, alike, colour in (("not told from the first", True, COLOURS[0]), ("told from the first", False, GREY)):
        own = table[table["alike"].astype(bool) == alike]
        figure.add_scatter(
            x=own["mean_rank"], y=own["candidate"], mode="markers", name=name,
            marker={"color": colour, "symbol": "diamond" if alike else "square", "size": 10},
            error_x=bar_look(colour) | {"array": [critical / 2] * len(own)},
            hovertemplate="%{y}: mean rank %{x:.2f}<extra></extra>",
        )  # fmt: skip
    title = "rank, 1 the highest score; bars of half the critical difference to each side"
    figure.update_xaxes(title=title, range=[0, len(table) + 1])
    return _rows(figure, list(table["candidate"]), "mean ranks")


@draws_text
def differences_over_tasks(pooled: pd.DataFrame, *, unit: str) -> go.Figure:
    """Draw each candidate's difference from one reference, pooled over tasks, with those on the single tasks.

    Args:
        pooled: from ``pooled_differences`` with a reference.
        unit: of the differences.
    """
    figure = go.Figure()
    tasks = list(dict.fromkeys(task for by_task in pooled["by_task"] for task in by_task))
    for i, task in enumerate(tasks):
        here = [(by_task[task], name) for by_task, name in zip(pooled["by_task"], pooled["a"], strict=True)
                if task in by_task]  # fmt: skip
        figure.add_scatter(
            x=[x for x, _ in here], y=[name for _, name in here], mode="markers", name=task, marker=_faint(i),
            hovertemplate=f"%{{y}}: %{{x:+.1f}} {unit} on {task}<extra></extra>",
        )  # fmt: skip
    for name, seen, colour in (("told apart (after Holm)", True, COLOURS[1]), ("not told apart", False, INK)):
        own = pooled[pooled["seen"].astype(bool) == seen]
        figure.add_scatter(
            x=own["difference"], y=own["a"], mode="markers", name=name,
            marker={"color": colour, "symbol": "diamond" if seen else "circle-open", "size": 10},
            error_x=error_bars(own["difference"], own["low"], own["high"], colour),
            customdata=_told(own, unit), hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    reference = pooled["b"].iloc[0] if len(pooled) else "the reference"
    figure.update_xaxes(title=f"difference from {reference}, {unit}, with the 95 % interval over tasks")
    return _rows(figure, list(pooled["a"]), "differences over tasks")


@draws_text
def differences_against_parameters(pooled: pd.DataFrame, candidates: pd.DataFrame, *, unit: str) -> go.Figure:
    """Draw the pooled difference from one reference against trained parameters, a line a family and its layers.

    Args:
        pooled: from ``pooled_differences`` with a reference.
        candidates: the scores of an ``AcrossTasks``.
        unit: of the differences.
    """
    columns = ["candidate", "family", "rank", "targets", "backbone"]
    each = candidates.drop_duplicates("candidate")[columns].rename(columns={"family": "method"})
    table = each.merge(pooled.rename(columns={"a": "candidate"}), on="candidate").dropna(subset=["difference"])
    level = (table["backbone"] == 0) | ((table["targets"] == NO_LAYERS) & (table["backbone"] > 10**7))
    figure = go.Figure()
    points = table[~level]
    labels = LabelPlaces(np.log10(points["backbone"].astype(float)), points["difference"], points[["low", "high"]])
    for i, name, style, rows in _by_family(points):
        texts = end_ranks(rows) if len(rows) > 1 else [""] * len(rows)
        figure.add_scatter(
            x=rows["backbone"], y=rows["difference"], mode="lines+markers+text", name=name, **style,
            text=texts, textposition=_places(labels, rows, texts), textfont=label_font(i),
            error_y=error_bars(rows["difference"], rows["low"], rows["high"], style["line"]["color"], faint=True),
            cliponaxis=False, customdata=_told(rows.rename(columns={"candidate": "a"}), unit),
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    ends = [points["backbone"].min() / 1.5, points["backbone"].max() * 1.5] if len(points) else [1, 10]
    reference = pooled["b"].iloc[0] if len(pooled) else "the reference"
    levels = [(reference, 0.0), *zip(table.loc[level, "candidate"], table.loc[level, "difference"], strict=True)]
    for i, (name, height) in enumerate(levels):
        told = name if not height else f"{name}: {write_number(height, '+.1f')}"
        figure.add_scatter(x=ends, y=[height, height], mode="lines", line=level_line(i), name=told)
    figure.update_xaxes(type="log", title=PARAMETERS, dtick=1, tickformat="~s")
    figure.update_yaxes(title=f"difference from {reference},<br>{unit}, over tasks")
    return apply_style(figure, height=580, name="differences by parameters")


@draws_text
def scores_by_task(candidates: pd.DataFrame, pooled: pd.DataFrame, *, unit: str) -> go.Figure:
    """Draw the difference of each candidate's mean score from a reference's, a column a task; blank where it lacks.

    Args:
        candidates: the scores of an ``AcrossTasks``.
        pooled: from ``pooled_differences`` with a reference: whose rows' order is kept.
        unit: of the differences.
    """
    tasks, names = list(dict.fromkeys(candidates["task"])), list(pooled["a"])
    values = np.array([[by_task.get(task, np.nan) for task in tasks] for by_task in pooled["by_task"]], dtype=float)
    values = values.reshape(len(names), len(tasks))
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    figure = go.Figure()
    figure.add_heatmap(
        z=values, x=tasks, y=names, colorscale=[list(each) for each in DIVERGING], zmin=-most, zmax=most, xgap=1,
        ygap=1, text=[["" if np.isnan(v) else write_number(v, "+.1f") for v in row] for row in values],
        texttemplate="%{text}", textfont={"color": ON_HEAT, "size": 11}, colorbar={"title": unit},
        hovertemplate=f"%{{y}} on %{{x}}: %{{z:+.1f}} {unit}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(side="top", tickangle=-30 if len(tasks) > _UPRIGHT else None)
    return _rows(figure, names, "differences by task", legend=False)


@draws_text
def pairs_over_tasks(pooled: pd.DataFrame, names: list[str], *, unit: str) -> go.Figure:
    """Draw the pooled difference of every pair, row less column; a dot where the two are told apart.

    Args:
        pooled: every pair, from ``pooled_differences``.
        names: the candidates, in the order that is drawn.
        unit: of the differences.
    """
    place = {name: i for i, name in enumerate(names)}
    values, marks = np.full((len(names),) * 2, np.nan), np.full((len(names),) * 2, "", dtype=object)
    for row in pooled.to_dict("records"):
        i, j = place[row["a"]], place[row["b"]]
        values[i, j], values[j, i] = row["difference"], -row["difference"]
        marks[i, j] = marks[j, i] = "●" if row["seen"] else ""
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    figure = go.Figure()
    figure.add_heatmap(
        z=values, x=names, y=names, colorscale=[list(each) for each in DIVERGING], zmin=-most, zmax=most, xgap=1,
        ygap=1, text=marks, texttemplate="%{text}", textfont={"color": ON_HEAT}, colorbar={"title": unit},
        hovertemplate=f"%{{y}} less %{{x}}: %{{z:+.1f}} {unit}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(tickangle=-60, side="bottom", dtick=1)
    figure = _rows(figure, names, "pairs over tasks", legend=False)
    return figure.update_layout(height=260 + _ROW * len(names))


@draws_text
def rates_by_rank(candidates: pd.DataFrame) -> go.Figure:
    """Draw the learning rates that validation chose by rank: faint marks on single tasks, lines through their means.

    Args:
        candidates: the scores of an ``AcrossTasks``.
    """
    rows = candidates[(candidates["learning_rate"] > 0) & (candidates["step"] > 1)].rename(columns={"family": "method"})
    figure = go.Figure()
    for _, name, style, own in _by_family(rows[rows["rank"].notna()]):
        means = own.groupby("rank")["learning_rate"].apply(lambda rates: float(np.exp(np.log(rates).mean())))
        figure.add_scatter(
            x=own["rank"], y=own["learning_rate"], mode="markers", name=name, legendgroup=name, showlegend=False,
            marker=style["marker"] | {"size": 5, "opacity": 0.5},
            customdata=own["candidate"] + " on " + own["task"], hovertemplate="%{customdata}: %{y:.2g}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=list(means.index), y=list(means), mode="lines+markers", name=name, legendgroup=name, **style,
            hovertemplate=f"{name} r=%{{x}}: %{{y:.2g}}, mean over tasks<extra></extra>",
        )  # fmt: skip
    others = rows[rows["rank"].isna() & (rows["backbone"] > 0)]  # the head alone has a rate of another kind
    for i, (method, own) in enumerate(others.groupby("method", sort=False)):
        mean = float(np.exp(np.log(own["learning_rate"]).mean()))
        ranks = rows["rank"].dropna()
        ends = [int(ranks.min()), int(ranks.max())] if len(ranks) else [1, 2]
        figure.add_scatter(x=ends, y=[mean, mean], mode="lines", line=level_line(i), name=f"{method}: {mean:.2g}")
    figure.update_xaxes(type="log", title="rank", dtick=np.log10(2))
    tried = sorted(rows["learning_rate"].unique())
    figure.update_yaxes(type="log", title="learning rate that validation chose")
    if tried:
        low, high = (math.floor(math.log10(rate)) for rate in (tried[0], tried[-1]))
        ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in (1, 3)]
        figure.update_yaxes(tickvals=ticks, ticktext=tick_labels(ticks))
        figure.update_yaxes(range=[np.log10(tried[0]) - 0.3, np.log10(tried[-1]) + 0.3])
    return apply_style(figure, height=520, name="rates by rank")


@draws_text
def missed_by_rule(rules: pd.DataFrame, *, unit: str) -> go.Figure:
    """Draw what each rule misses of the best adapter, with its interval over tasks.

    Args:
        rules: from ``rules_of_thumb``.
        unit: of what is missed.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=rules["missed"], y=rules["rule"], mode="markers", marker={"color": COLOURS[0], "size": 10},
        error_x=error_bars(rules["missed"], rules["low"], rules["high"], COLOURS[0]),
        customdata=rules["chosen"], hovertemplate="%{y}: %{x:.1f}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title=f"missed of the adapter that validation puts first, {unit}, with the 95 % interval")
    return _rows(figure, list(rules["rule"]), "missed by rule", legend=False)


def _by_family(table: pd.DataFrame) -> Iterator[tuple[int, str, dict[str, Any], pd.DataFrame]]:
    """Yield each line's number, name, look and rows: a family has one colour, and its other layers are hollow."""
    families = looks_of(table["method"])
    seen: dict[str, int] = {}
    for _, name, rows in series(table):
        family = str(rows["method"].iloc[0])
        seen[family] = seen.get(family, -1) + 1
        style = look(families[family])
        if seen[family]:
            symbol = f"{style['marker']['symbol']}-open"
            style = {"line": style["line"] | {"width": 1}, "marker": style["marker"] | {"symbol": symbol}}
        yield families[family], name, style, rows


def _places(labels: LabelPlaces, rows: pd.DataFrame, texts: Sequence[str]) -> list[str]:
    """Return where a line's ranks stand: the highest to the right of it, the others to the left."""
    sides = np.where(rows["backbone"] == rows["backbone"].max(), 1, -1)
    ends = zip(np.log10(rows["backbone"].astype(float)), rows["difference"], sides, texts, strict=True)
    return [labels.place(count, height, side) if text else "middle right" for count, height, side, text in ends]


def _told(rows: pd.DataFrame, unit: str) -> list[str]:
    return [
        f"<b>{row['a']}</b><br>{write_number(row['difference'], '+.2f')} {unit} "
        f"({write_number(row['low'], '+.2f')} to {write_number(row['high'], '+.2f')}, {row['n']} tasks)<br>"
        f"{write_number(row['between'], '.2f')} from task to task"
        for row in rows.to_dict("records")
    ]


def _faint(i: int) -> Mapping[str, Any]:
    dotted = "-dot" * (i // len(SYMBOLS) % 2)  # no two of twice as many tasks have the same mark
    return {"color": GREY, "symbol": f"{SYMBOLS[i % len(SYMBOLS)]}-open{dotted}", "size": 6, "opacity": 0.6}


def _rows(figure: go.Figure, names: list[str], name: str, legend: bool = True) -> go.Figure:
    """Give a figure of a row a candidate the house's look, the first at the top."""
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], dtick=1, range=[-0.7, len(names) - 0.3])
    return apply_style(figure, height=170 + _ROW * max(len(names), 3), legend=legend, name=name)
