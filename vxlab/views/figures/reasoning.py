"""Plotly figure of several sets: each candidate's score beside the untuned base's, and whether they are told apart."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vxlab.experiments.candidates import IN_POINTS, p_in_words, unit_of_difference, write_score
from vxlab.experiments.scoring import LEVEL, UNBOUNDED, in_words
from vxlab.views.style import COLOURS, GREY, INK, apply_style, draws_text, error_bars, lay_panels, name_once
from vxlab.words import number_of

_ABOVE, _BELOW = "shown above the base (after Holm's correction)", "shown below it"
_NEITHER, _ALONE = "not told apart from it", "without a base beside it"
_LOOKS = {
    _ABOVE: {"color": COLOURS[0], "symbol": "diamond"},
    _BELOW: {"color": COLOURS[1], "symbol": "square"},
    _NEITHER: {"color": GREY, "symbol": "circle-open"},
    _ALONE: {"color": GREY, "symbol": "circle"},
}
_BASE, _SIMPLEST = "untuned base", "simplest answer"


@draws_text
def scores_by_set(table: pd.DataFrame) -> go.Figure:
    """Draw each candidate's score, a panel for each set, with the base first and a line at its score.

    A candidate's bar is the 95 % interval of its gain, laid on at the base's score: one that crosses the base's line is
    not told apart from it, before any correction. It ends where no score can be. Small dots are single runs; the dashed
    line is the simplest answer.

    Args:
        table: rows of one metric a set from ``set_scores``.
    """
    sets = list(dict.fromkeys(zip(table["sweep"], table["set"], strict=True)))
    names = list(dict.fromkeys(table["candidate"]))
    rows, places = lay_panels(len(sets))
    panels = [table[(table["sweep"] == sweep) & (table["set"] == name)] for sweep, name in sets]
    figure = make_subplots(
        **rows, shared_yaxes=True, subplot_titles=[_title(own) for own in panels], horizontal_spacing=0.04,
        vertical_spacing=0.32 / rows["rows"],
    )  # fmt: skip
    for own, place in zip(panels, places, strict=True):
        _draw_panel(figure, own, place)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.7, len(names) - 0.3])
    name_once(figure)
    height = 190 + rows["rows"] * (110 + 30 * len(names))
    apply_style(figure, height=height, name=f"{'scores' if _in_percent(table) else 'likelihoods'} by set")
    return figure.update_layout(margin={"t": 120}, legend={"y": 1, "yref": "container", "yanchor": "top"})


def _in_percent(table: pd.DataFrame) -> bool:
    return bool(table["metric"].isin(IN_POINTS).all())


def _title(own: pd.DataFrame) -> str:
    first = own.iloc[0]
    told = f"{in_words(first['metric'])}, {number_of(int(first['items']), 'item')}"
    return f"<b>{first['set']}</b><br><span style='font-size:12px'>{told}</span>"


def _draw_panel(figure: go.Figure, own: pd.DataFrame, place: dict[str, int]) -> None:
    metric = str(own["metric"].iloc[0])
    unit = 100 if metric in IN_POINTS else 1
    trained, base = own[~own["base"]], own[own["base"]]
    several = trained[trained["n"] > 1].to_dict("records")
    single = [(unit * each, row["candidate"]) for row in several for each in row["scores"]]
    figure.add_scatter(
        x=[x for x, _ in single], y=[name for _, name in single], mode="markers", hoverinfo="skip",
        marker={"color": GREY, "size": 4, "opacity": 0.7}, name="a run", **place,
    )  # fmt: skip
    for name, part in _groups(trained):
        at = part["score"] - part["gain"]
        low, high = (_possible(at + part[end], metric) for end in ("gain_low", "gain_high"))
        bars = error_bars(part["score"], low, high, _LOOKS[name]["color"], unit=unit)
        figure.add_scatter(
            x=unit * part["score"], y=part["candidate"], mode="markers", error_x=bars, name=name,
            marker=_LOOKS[name] | {"size": 9}, text=[_hover(each, metric) for each in part.to_dict("records")],
            hoverinfo="text", **place,
        )  # fmt: skip
    figure.add_scatter(
        x=unit * base["score"], y=base["candidate"], mode="markers", name=_BASE, showlegend=False,
        marker={"color": INK, "symbol": "circle", "size": 9}, **place,
    )  # fmt: skip
    for number, (score, name, dash) in enumerate(_levels(own, base)):
        line: dict[str, Any] = {"color": GREY if number else INK, "width": 1.2, "dash": dash}
        figure.add_vline(x=unit * score, line=line, **place)
        figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name, **place)
    figure.update_xaxes(title=_axis(metric), **place)


def _axis(metric: str) -> str | None:
    if metric in IN_POINTS:
        return "% of items right"
    return f"{unit_of_difference(metric)} per token" if unit_of_difference(metric) else None


def _possible(scores: "pd.Series[float]", metric: str) -> "pd.Series[float]":
    """Return scores within what the metric may have: no share is below 0 or above 1."""
    return scores if metric in UNBOUNDED else scores.clip(0, 1)


def _levels(own: pd.DataFrame, base: pd.DataFrame) -> list[tuple[float, str, str]]:
    lines = [(float(score), _BASE, "solid") for score in base["score"].dropna()[:1]]
    return [*lines, (float(own["trivial"].iloc[0]), _SIMPLEST, "dash")]


def _groups(trained: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    seen, gain = trained["p_holm"] <= LEVEL, trained["gain"]
    parts = [
        (_ABOVE, seen & (gain > 0)), (_BELOW, seen & (gain < 0)), (_NEITHER, ~seen & gain.notna()),
        (_ALONE, gain.isna()),
    ]  # fmt: skip
    return [(name, trained[rows]) for name, rows in parts]


def _hover(row: Mapping[Any, Any], metric: str) -> str:
    score = f"<b>{row['candidate']}</b><br>{write_score(row['score'], metric)}"
    if math.isnan(row["gain"]):
        return score
    gain, low, high = (write_score(each, metric, "+") for each in (row["gain"], row["gain_low"], row["gain_high"]))
    told = f"{score}: {gain} over the base (95 % {low} to {high})"
    return f"{told}<br>p {p_in_words(row['p_holm'])} after Holm, {number_of(row['n'], 'run')}"
