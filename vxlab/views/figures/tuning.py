"""The plotly figure of the tuning stage: what each learning rate scored, and which was chosen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from vxlab.experiments import has_ranks_by_layer
from vxlab.experiments.scoring import in_words
from vxlab.views.figures.sweep import possible
from vxlab.views.style import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    RANKS,
    SCORES,
    SYMBOLS,
    apply_style,
    bar_look,
    draws_text,
    error_bars,
    lay_panels,
    name_once,
    tick_labels,
)
from vxlab.words import with_minus

_CHOSEN = {
    "": ("chosen", "circle-open", INK),
    "low": ("chosen, the lowest tried: a better one may be lower", "triangle-left-open", COLOURS[1]),
    "high": ("chosen, the highest tried: a better one may be higher", "triangle-right-open", COLOURS[1]),
}
_LOST = {"symbol": "x-thin", "size": 10, "color": COLOURS[1], "line": {"width": 2, "color": COLOURS[1]}}
_NO_RANK = 0


@draws_text
def tuning_curves(tuning: pd.DataFrame, *, metric: str) -> go.Figure:
    """Draw validation scores against the learning rate, a panel a method and a line a rank: median, range over seeds.

    A ring is round the chosen rate, or a triangle that points out of the range where its end was chosen. Crosses at
    the bottom are rates at which a seed diverged. Lines are drawn at the chosen learning rate of the head; small hollow
    marks are the other ones that were tried. Where tuning runs took a share of their steps, it is the validation loss
    that is drawn, with the lowest at the top.

    Args:
        tuning: one row a candidate and pair of learning rates.
        metric: whose scores they are.
    """
    table = tuning.assign(rate=tuning["learning_rate"].fillna(tuning["head_learning_rate"]))
    table["rank"] = table["rank"].fillna(_NO_RANK).astype(int)
    methods, looks = list(table["method"].unique()), _looks(sorted(table["rank"].unique()))
    grid, places = lay_panels(len(methods))
    by_loss = ended_early(table)
    spacing = {"horizontal_spacing": 0.09 if by_loss else 0.04, "vertical_spacing": 0.3 / grid["rows"]}
    figure = make_subplots(**grid, shared_yaxes="all", **spacing)
    for method, place in zip(methods, places, strict=True):
        own = table[table["method"] == method]
        for _, candidate in own.groupby("candidate", sort=False):
            _add_candidate(figure, candidate.sort_values("rate"), looks, place)
        _add_marks(figure, own, _worst(own if by_loss else table), place)
        rates = sorted(own["rate"].unique())
        ticks = {"tickvals": rates, "ticktext": tick_labels(rates), "tickfont_size": 12}
        figure.update_xaxes(type="log", title=f"{method}<br>learning rate", **ticks, **place)
    figure.update_yaxes(title=name_tuned(tuning, metric), col=1)
    if by_loss:  # each panel by itself: of one method the losses differ by thousandths, of another by factors
        own_axes = {"matches": None, "showticklabels": True, "tickformat": ".4~r", "nticks": 6}
        figure.update_yaxes(type="log", autorange="reversed", **own_axes)
    else:
        figure.update_yaxes(**SCORES, autorangeoptions=possible(tuning["low"], metric))
    name_once(figure)
    return apply_style(figure, height=150 + 290 * grid["rows"])


def ended_early(tuning: pd.DataFrame) -> bool:
    """Say whether tuning runs took a share of their steps, so that their loss chose."""
    return bool((tuning["ends_after"] < 1).any())


def name_tuned(tuning: pd.DataFrame, metric: str) -> str:
    """Return what the numbers of a tuning table are, of whose candidates all ran as long.

    Args:
        tuning: the table.
        metric: of the task, by which whole runs choose.
    """
    if not ended_early(tuning):
        return f"validation {in_words(metric)}"
    return f"validation loss after {tuning['ends_after'].min():.3g} of the steps"


def add_tuning(figure: go.Figure, **place: Any) -> None:
    """Add four traces without data, of one candidate's tuning: its line, other rates, the chosen one, those lost.

    Args:
        figure: to which they are added.
        place: the axes, as a trace names them.
    """
    shown = {"hovertemplate": "%{customdata}<extra></extra>", "showlegend": False, **place}
    bars = bar_look() | {"symmetric": False}
    figure.add_scatter(mode="lines+markers", marker={"size": 7}, error_y=bars, **shown)
    figure.add_scatter(mode="markers", marker={"size": 7, "color": GREY, "symbol": "circle-open"}, **shown)
    ring = {"size": 17, "line": {"width": 2}}
    figure.add_scatter(
        mode="markers", marker=ring, cliponaxis=False, **shown | {"hoverinfo": "skip", "hovertemplate": None}
    )
    figure.add_scatter(mode="markers", marker=_LOST, **shown)


def tuning_of(tuning: pd.DataFrame, colour: str) -> list[dict[str, Any]]:
    """Return one candidate's changes to the traces of :func:`add_tuning`.

    Args:
        tuning: its rows.
        colour: of its line.
    """
    rows: list[Any] = sorted(tuning.itertuples(index=False), key=_rate)
    at_head_rate = _at_chosen_head_rate(rows)
    scored = [(row, own) for row, own in zip(rows, at_head_rate, strict=True) if pd.notna(row.median)]
    line, others = ([row for row, own in scored if own is which] for which in (True, False))
    bars = {
        "error_y.array": [round(row.high - row.median, 4) for row in line],
        "error_y.arrayminus": [round(row.median - row.low, 4) for row in line],
    }
    chosen = [row for row in rows if row.chosen and pd.notna(row.median)]
    lost = [row for row in rows if row.diverged + row.failed]
    marks = [_CHOSEN[row.edge] for row in chosen]
    ring = {"marker.symbol": [symbol for _, symbol, _ in marks], "marker.color": [colour for *_, colour in marks]}
    worst = round(_worst(tuning), 4)
    return [
        {**_points(line), **bars, "line.color": colour, "marker.color": colour},
        _points(others),
        {**_points(chosen), **ring},
        {**_points(lost), "y": [worst] * len(lost)},
    ]


def _rate(row: Any) -> float:
    return float(row.head_learning_rate if pd.isna(row.learning_rate) else row.learning_rate)


def _points(rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {
        "x": [_rate(row) for row in rows], "y": [round(row.median, 4) for row in rows],
        "customdata": [_told(row) for row in rows],
    }  # fmt: skip


def _at_chosen_head_rate(rows: Sequence[Any]) -> list[bool]:
    """Mark a candidate's rows at the head's chosen rate.

    One point a rate is one line: the head alone is tuned by its own rate; where all diverged, none was chosen.
    """
    chosen = [row.head_learning_rate for row in rows if row.chosen]
    alone = not chosen or len({_rate(row) for row in rows}) == len(rows)
    return [alone or row.head_learning_rate in chosen for row in rows]


def _looks(ranks: list[int]) -> dict[int, dict[str, Any]]:
    """Return a line and a marker for each rank, violet for the lowest to orange for the highest; no rank is grey."""
    ordered = [rank for rank in ranks if rank != _NO_RANK]
    shades = sample_colorscale([*RANKS], [i / max(len(ordered) - 1, 1) for i in range(len(ordered))])
    colours = {_NO_RANK: GREY} | dict(zip(ordered, shades, strict=True))
    return {
        rank: {
            "line": {"color": colours[rank], "dash": DASHES[i % len(DASHES)]},
            "marker": {"color": colours[rank], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
        }
        for i, rank in enumerate(ranks)
    }


def _add_candidate(figure: go.Figure, rows: pd.DataFrame, looks: dict[int, Any], place: dict[str, int]) -> None:
    rank = rows["rank"].iloc[0]
    at_head_rate = np.array(_at_chosen_head_rate(list(rows.itertuples())))
    for own, other in ((rows[at_head_rate], False), (rows[~at_head_rate], True)):
        if own.empty:
            continue
        error = error_bars(own["median"], own["low"], own["high"], looks[rank]["line"]["color"])
        drawn = looks[rank]["marker"]
        marker = drawn | {"symbol": f"{drawn['symbol']}-open", "size": 6} if other else drawn
        figure.add_scatter(
            x=own["rate"], y=own["median"], line=looks[rank]["line"], marker=marker, name=_rank_words(rows),
            legendrank=rank, mode="markers" if other else "lines+markers", error_y=None if other else error,
            customdata=[_told(row) for row in own.itertuples()], hovertemplate="%{customdata}<extra></extra>", **place,
        )  # fmt: skip


def _rank_words(rows: pd.DataFrame) -> str:
    if rank := rows["rank"].iloc[0]:
        return f"r={rank}"
    return "ranks by layer" if has_ranks_by_layer(rows["method"].iloc[0]) else "no rank"


def _told(row: Any) -> str:
    lost = row.diverged + row.failed
    rates = f"learning rate {row.learning_rate:g}"
    if row.head_learning_rate:  # a model that writes has no head
        rates += f", head {row.head_learning_rate:g}"
    what = "median" if row.ends_after == 1 else f"after {row.ends_after:.3g} of the steps, median loss"
    score = with_minus(f"{what} {row.median:.3f} ({row.low:.3f} to {row.high:.3f})")
    return f"<b>{row.candidate}</b><br>{rates}<br>{score}; {row.n} runs finished, {lost} did not"


def _add_marks(figure: go.Figure, rows: pd.DataFrame, worst: float, place: dict[str, int]) -> None:
    """Ring the chosen rates, and put a cross at the worst end where runs diverged."""
    chosen = rows[rows["chosen"]]
    for edge, (name, symbol, colour) in _CHOSEN.items():
        own = chosen[chosen["edge"] == edge]
        marker = {"symbol": symbol, "size": 18, "color": colour, "line": {"width": 2}}
        figure.add_scatter(
            x=own["rate"], y=own["median"], mode="markers", marker=marker, name=name, legendrank=10**7,
            hoverinfo="skip", **place,
        )  # fmt: skip
    lost = rows[rows["diverged"] > 0]
    told = [_told(row) for row in lost.itertuples()]
    figure.add_scatter(
        x=lost["rate"], y=[worst] * len(lost), mode="markers", name="a seed diverged", legendrank=10**7,
        marker=_LOST, customdata=told, hovertemplate="%{customdata}<extra></extra>", **place,
    )  # fmt: skip


def _worst(table: pd.DataFrame) -> float:
    """Return a number a little worse than every one there: a lower score, or a higher loss."""
    low, high = table["low"].min(), table["high"].max()
    if pd.isna(low):
        return 0.0
    beyond = 0.08 * max(high - low, 0.01)
    return float(high + beyond if ended_early(table) else low - beyond)
