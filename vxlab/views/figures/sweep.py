"""Plotly figures of a sweep: scores against trained parameters. Every function takes tables and returns a figure."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments import NO_LAYERS, family_name, has_ranks_by_layer, layers_in_words
from vxlab.experiments.candidates import HeldOut, deviation, gain_per_thousand, seeds_in_words
from vxlab.experiments.scoring import UNBOUNDED, in_words
from vxlab.views.figures.cost_axes import PARAMETERS
from vxlab.views.style import DASHES, GREY, SCORES, apply_style, bar_look, draws_text, label_font, look
from vxlab.words import write_number

_FAMILIES = ("LoRA", "VeRA", "LoRA-XS")
"""The three that keep their look in every figure; what else a sweep holds takes the looks after theirs."""
_NOT_OURS = {"lora_fa": "LoRA-FA"}
"""Methods of the papers that vxlab does not have."""
FAR = 10
"""Times the largest count at a rank: beyond, a line says the score, or all the rest would share a corner."""
RUNS_MARK = {"color": GREY, "size": 5, "opacity": 0.5}
"""Of a single run, in its candidate's colour and shape where that is known."""


@draws_text
def score_against_parameters(
    summary: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    metric: str,
    runs: pd.DataFrame | None = None,
    held_out: HeldOut | None = None,
) -> go.Figure:
    """Draw test scores against trained parameters, a line a method: means over seeds or draws, with bars of one
    standard deviation where there are five or more.

    Args:
        summary: one row a candidate.
        published: rows of a published table of scores, hollow, shown where a reader chooses them in the legend: of
            other models and tasks, they would squeeze what was measured into a strip. What was not looked up says so.
        metric: whose scores they are.
        runs: with ``candidate`` and ``stage``; those of the report are faint dots.
        held_out: the test split, whose trivial answer is a line.

    Source: the form of Figure 2 of VeRA (Kopiczko et al. 2023, arXiv 2310.11454).
    """
    figure = go.Figure()
    points, levels = _points_and_levels(summary)
    if runs is not None:
        _add_runs(figure, points, runs, luck_of(summary))
    for i, name, rows in series(points):
        figure.add_scatter(
            x=rows["backbone"], y=rows["mean"], mode="lines+markers+text", name=name, legendgroup=name,
            text=end_ranks(rows), textposition=place_beside(i), textfont=label_font(i), **look(i),
            error_y=bar_look(look(i)["line"]["color"]) | {"array": [deviation(scores) for scores in rows["scores"]]},
            hovertemplate="%{customdata}<extra></extra>",
            customdata=hover_texts(rows, metric),
        )  # fmt: skip
    if published is not None:
        _add_published(figure, published.dropna(subset=["parameters", "fraction"]), [n for _, n, _ in series(points)])
    _add_levels(figure, levels, held_out)
    figure.update_xaxes(type="log", title=PARAMETERS, dtick=1, tickformat="~s")
    title = f"test {in_words(metric)}, mean over {luck_of(summary)}s"
    figure.update_yaxes(title=title, **SCORES, autorangeoptions=possible(summary["mean"], metric))
    apply_style(figure, height=560 if published is None else 600, name="scores by parameters")
    return figure if published is None else figure.update_layout(margin_b=90)


@draws_text
def gain_per_parameter(summary: pd.DataFrame, floor: float, *, metric: str) -> go.Figure:
    """Draw the score relative to the floor's, in percent, for each thousand trained parameters.

    By construction it favours few parameters: at the same score, half of them has twice the gain.

    Args:
        summary: one row a candidate.
        floor: score of what trains nothing in the backbone, 0 to 1.
        metric: whose scores they are.

    Source: Figure 4 of VeRA (Kopiczko et al. 2023, arXiv 2310.11454), where the floor is the head alone.
    """
    points, _ = _points_and_levels(summary)
    points = points.assign(gain=gain_per_thousand(points, floor))
    figure = go.Figure()
    for i, name, rows in series(points):
        figure.add_scatter(
            x=rows["backbone"], y=rows["gain"], mode="lines+markers+text", name=name, text=end_ranks(rows), **look(i),
            textposition="bottom left" if i == 2 else "top right", textfont=label_font(i),
            cliponaxis=False, hovertemplate="%{customdata}<br>%{y:.3g} % a thousand parameters<extra></extra>",
            customdata=hover_texts(rows, metric),
        )  # fmt: skip
    figure.update_xaxes(type="log", title=PARAMETERS, dtick=1, tickformat="~s")
    title = f"test {in_words(metric)} ÷ the floor's,<br>% a thousand parameters"
    figure.update_yaxes(type="log", title=title, dtick=1)
    return apply_style(figure, height=440, name="gain per parameter")


def series(table: pd.DataFrame) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """Yield the number of its look, the name and the rows, by parameters, of each method on each target set."""
    names = series_names(table)
    for name, i in looks_of(names).items():
        if len(rows := table[names == name]):
            yield i, name, rows.sort_values("backbone")


def series_names(table: pd.DataFrame) -> "pd.Series[str]":
    """Return of each candidate the name of its line: its method, and its targets where they differ in the table.

    Of ranks by layer, each has other layers, which its own name tells apart.
    """
    if "targets" not in table:
        return table["method"]
    adapted = table["targets"] != NO_LAYERS
    several = table.loc[adapted, "targets"].nunique() > 1
    places = table["targets"].map(layers_in_words)
    allocated = table["method"].map(has_ranks_by_layer).astype(bool) & (places != table["targets"])
    return (table["method"] + ", " + places).where(adapted & several & ~allocated, table["method"])


def looks_of(names: Iterable[str]) -> dict[str, int]:
    """Return the number of each line's look: the three families' own first, then the others in their order."""
    return {str(name): i for i, name in enumerate(dict.fromkeys([*_FAMILIES, *names]))}


def possible(lowest: Iterable[float], metric: str) -> dict[str, float]:
    """Return the ends that an axis of scores may have: plotly gives equal scores a wide one, beyond what there is."""
    if metric in UNBOUNDED:
        return {}
    return {"clipmin": -1.02 if any(each < 0 for each in lowest) else -0.02, "clipmax": 1.02}


def end_ranks(rows: pd.DataFrame) -> list[str]:
    """Return the lowest and the highest rank as text; the others stand too near each other, and show on hovering."""
    known = rows["rank"].dropna()
    ends = {known.min(), known.max()} if len(known) else set()
    return [f"r={rank}" if rank in ends else "" for rank in rows["rank"].fillna(0)]


def level_line(i: int) -> dict[str, Any]:
    """Return the look of the i-th score that is a level line: no two have the same dashes."""
    return {"color": GREY, "dash": DASHES[(i + 1) % len(DASHES)], "width": 1.5}


def hover_texts(rows: pd.DataFrame, metric: str) -> list[str]:
    """Return what hovering over each candidate shows."""
    return [_told(row, metric) for row in rows.itertuples()]


def _told(row: Any, metric: str) -> str:
    score = f"{in_words(metric)} {write_number(row.mean, '.3f')} ({seeds_in_words(row.scores, draws=draws_of(row))})"
    counts = f"{row.n} runs finished, {row.diverged} did not<br>{row.backbone:,} parameters, {row.head:,} in the head"
    return f"<b>{row.candidate}</b><br>{score}<br>{counts}"


def luck_of(summary: pd.DataFrame) -> str:
    """Return of what a summary's means are: draws, each with its seed, where a candidate ran on several; else seeds."""
    return "draw" if "draws" in summary and (summary["draws"] > 1).any() else "seed"


def draws_of(row: Any) -> int:
    """Return on how many draws of shots a candidate of a summary's row ran; 0 of a table of before."""
    return int(getattr(row, "draws", 0))


def run_names(runs: pd.DataFrame) -> list[str]:
    """Return each run's candidate with its seed, and its draw where it learned from shots."""
    draws = runs["draw"] if "draw" in runs else [pd.NA] * len(runs)
    return [
        f"{name}, seed {seed}" + ("" if pd.isna(draw) else f", draw {draw}")
        for name, seed, draw in zip(runs["candidate"], runs["seed"], draws, strict=True)
    ]


def place_beside(i: int) -> str:
    """Return where a rank stands beside a point of the i-th series: lines that end near each other differ in it."""
    return {0: "bottom right", 1: "bottom center", 2: "top left"}.get(i, "top center")


def _points_and_levels(summary: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the candidates that have a place on the axis of parameters from those that are a level line."""
    table = summary.dropna(subset=["mean"])
    ranked = table.loc[table["rank"].notna(), "backbone"]
    far = FAR * int(ranked.max()) if len(ranked) else math.inf
    level = (table["backbone"] == 0) | (table["rank"].isna() & (table["backbone"] > far))
    return table[~level], table[level]


def _add_runs(figure: go.Figure, points: pd.DataFrame, runs: pd.DataFrame, luck: str) -> None:
    name = f"one {luck}'s run"
    figure.add_scatter(x=[None], y=[None], mode="markers", marker=RUNS_MARK, name=name, legendrank=1001)
    reported = runs[runs["stage"] == "report"].dropna(subset=["test"])
    for i, name, rows in series(points):
        own = reported[reported["candidate"].isin(rows["candidate"])]
        figure.add_scatter(
            x=own["backbone"], y=own["test"], mode="markers", name=name, legendgroup=name, showlegend=False,
            marker=RUNS_MARK | look(i)["marker"] | {"size": 5},
            customdata=run_names(own), hovertemplate="%{customdata}: %{y:.3f}<extra></extra>",
        )  # fmt: skip


def _add_published(figure: go.Figure, rows: pd.DataFrame, measured: list[str]) -> None:
    """Draw the papers' points in the colour and shape that the method has here, hollow; others after those."""
    names = rows["method"].map(published_name)
    looks = looks_of([*measured, *names])
    for (name, mark), own in rows.groupby([names, "mark"], sort=False):
        figure.add_scatter(
            x=own["parameters"], y=own["fraction"], mode="markers", marker=hollow(looks[str(name)]),
            visible="legendonly",
            name=f"{name}, published" + (f" [{mark}]" if mark else ""),
            customdata=[cite_point(row) for row in own.itertuples()], hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.add_annotation(
        text=f"{published_caption(rows)} A click in the legend shows them.", showarrow=False,
        x=0, xref="paper", xanchor="left", y=0, yref="paper", yanchor="top", yshift=-58, font={"size": 12},
    )  # fmt: skip


def hollow(i: int) -> dict[str, Any]:
    """Return the marker of a published point of the i-th series."""
    style: dict[str, Any] = look(i)["marker"]
    return style | {"symbol": f"{style['symbol']}-open", "size": 11, "line": {"width": 2}}


def published_caption(rows: pd.DataFrame) -> str:
    """Say what the hollow points are of."""
    where = f"{', '.join(rows['model'].unique())}; {', '.join(rows['task'].unique())}"
    return f"Hollow: as published ({where}). Of another model or task, heights do not compare."


def published_name(slug: str) -> str:
    """Return how a method of a published table is called here.

    >>> published_name("lora_xs"), published_name("lora_fa")
    ('LoRA-XS', 'LoRA-FA')
    """
    return _NOT_OURS.get(slug) or family_name({"name": slug})


def cite_point(row: Any) -> str:
    """Return what hovering over a published point shows: whose, its score, how certain, its source."""
    rank = "" if pd.isna(row.rank) else f" r={row.rank}"
    score = f"{row.model}, {row.task}: {in_words(row.metric)} {row.fraction:.3f}"
    lines = [f"<b>{published_name(row.method)}{rank}, published</b>", score, row.statistic, row.note]
    mark = f" [{row.mark}]" if row.mark else ""
    return "<br>".join(line for line in [*lines, f"{row.parameters:,} parameters", f"{row.source}{mark}"] if line)


def _add_levels(figure: go.Figure, levels: pd.DataFrame, held_out: HeldOut | None) -> None:
    scores = list(zip(levels["candidate"], levels["mean"], strict=True))
    if held_out is not None:
        scores.append((held_out.trivial_name, held_out.trivial))
    rows = [(f"{name}: {write_number(score, '.3f')}", score) for name, score in scores]
    xs = [x for trace in figure.data for x in trace.x if x]
    edges = [min(xs) / 1.5, max(xs) * 1.5] if xs else [1, 10]
    for i, (name, score) in enumerate(rows):
        figure.add_scatter(x=edges, y=[score, score], mode="lines", line=level_line(i), name=name)
    figure.update_xaxes(range=[math.log10(edges[0]), math.log10(edges[1])])
