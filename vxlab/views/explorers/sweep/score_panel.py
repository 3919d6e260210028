"""The sweep explorer's large panel: scores against a cost, the front, the papers' points, the rings."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments import has_ranks_by_layer
from vxlab.experiments.candidates import COUNTED, deviation, pareto_front
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import SweepTables
from vxlab.views.explorers import short
from vxlab.views.figures import (
    AXES,
    FAR,
    RUNS_MARK,
    SHOTS,
    Cost,
    cite_point,
    end_ranks,
    hollow,
    hover_texts,
    level_line,
    log_ticks,
    looks_of,
    luck_of,
    place_beside,
    published_name,
    run_names,
)
from vxlab.views.style import GREY, INK, bar_look, escape, escape_all, label_font, look
from vxlab.words import write_number

_NO_PAPERS = pd.DataFrame(columns=["parameters", "fraction", "mark", "method"])
_TRIVIAL = "the trivial answer"
_FRONT = "front: nothing scores as high for less"


class Drawn(NamedTuple):
    """What the panel shows of one sweep at one cost."""

    traces: list[dict[str, Any]]
    """changes to each of the panel's traces but the rings, which are last"""
    layout: dict[str, Any]
    names: list[list[str]]
    """of each trace's points, the candidates"""
    places: dict[str, tuple[float, float]]
    """by candidate: where it stands; a level at the right end of its line"""
    front: set[str]
    """the candidates that nothing shown beats"""


class ScorePanel:
    """The traces of the large panel, the same for every sweep: what a sweep lacks is empty.

    Args:
        sweeps: all that may be shown, the summaries with their ``series`` (:func:`series_names`).
        published: by the sweeps' names, the papers' rows to lay over each.
    """

    def __init__(self, sweeps: Sequence[SweepTables], published: Mapping[str, pd.DataFrame]) -> None:
        self._published = published
        self._names = list(dict.fromkeys(name for sweep in sweeps for name in sweep.summary["series"]))
        papers = [published_name(method) for rows in published.values() for method in rows["method"]]
        self.looks = looks_of([*self._names, *papers])
        rankless = (sweep.summary.loc[_is_rankless(sweep.summary), "candidate"] for sweep in sweeps)
        lucks = {luck_of(sweep.summary) for sweep in sweeps}
        self._one_run = "one seed's run" if "draw" not in lucks else "one draw's run"
        self._levels = list(dict.fromkeys(name for names in rankless for name in names))
        self._marks = list(dict.fromkeys(mark for rows in published.values() for mark in rows["mark"]))

    def names(self) -> list[str]:
        """Return what the legend says at most."""
        papers = [_paper_name(mark) for mark in self._marks]
        levels = [f"{name}: 0.000" for name in [*self._levels, _TRIVIAL]]
        return [*self._names, self._one_run, _FRONT, *levels, *papers, "chosen"]

    def add_to(self, figure: go.Figure) -> None:
        """Add the panel's traces, without data."""
        steps = {"color": GREY, "width": 2, "shape": "hv"}
        figure.add_scatter(mode="lines", line=steps, name=_FRONT, hoverinfo="skip", legendrank=1001)
        for name in self._names:
            i = self.looks[name]
            figure.add_scatter(
                mode="lines+markers+text", name=escape(name), legendgroup=name, textposition=place_beside(i),
                cliponaxis=False, textfont=label_font(i), hovertemplate="%{hovertext}<extra></extra>", **look(i),
                error_y=bar_look(),
            )  # fmt: skip
            figure.add_scatter(
                mode="markers", name=escape(name), legendgroup=name, showlegend=False,
                marker=RUNS_MARK | look(i)["marker"] | {"size": 5},
                hovertemplate="%{hovertext}: %{y:.3f}<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=RUNS_MARK, name=self._one_run)
        for i, name in enumerate([*self._levels, _TRIVIAL]):
            shown = {"name": escape(name), "hovertemplate": "%{fullData.name}<extra></extra>"}
            figure.add_scatter(mode="lines", line=level_line(i), legendrank=1002, **shown)
        for mark in self._marks:
            name = _paper_name(mark)
            shown = {"name": name, "legendgroup": name, "hovertemplate": "%{hovertext}<extra></extra>"}
            figure.add_scatter(mode="markers", marker={"size": 11}, legendrank=1003, **shown)
        ring = {"symbol": "circle-open", "color": INK, "size": 18}
        chosen = {"name": "chosen, and what it is beside", "hoverinfo": "skip", "cliponaxis": False}
        figure.add_scatter(mode="markers", marker=ring, legendrank=1004, **chosen)

    def drawn(self, sweep: SweepTables, said: str) -> Drawn:
        """Return what the panel shows of a sweep at a cost or against shots, by its name in :data:`AXES`."""
        cost = AXES[said]
        table = _placed(_across_shots(sweep.summary) if said == SHOTS else sweep.summary, cost)
        papers = self._published.get(sweep.name, _NO_PAPERS)
        placed = papers if said == "parameters" else papers.iloc[:0]  # of their other costs nothing is known
        (left, right), axis = _axis([*table.loc[~table["level"], "x"], *placed["parameters"]], cost)
        reported = sweep.runs[sweep.runs["stage"] == "report"].dropna(subset=["test"])
        traces, names = [_front(table, left, right)], cast("list[list[str]]", [[]])
        for name in self._names:
            rows = table[table["series"] == name].sort_values("x" if said == SHOTS else "backbone")
            own = reported[reported["candidate"].isin(rows["candidate"])]
            lines = _lines(rows, name, said)
            joined, candidates = _joined(
                [_line(line, sweep.metric) for line in lines], [list(line["candidate"]) for line in lines]
            )
            traces += [joined | {"name": escape(_without_shots(name) if said == SHOTS else name)}, _dots(rows, own)]
            names += [candidates, list(own["candidate"])]
        scores = dict(zip(table["candidate"], table["mean"], strict=True)) | {_TRIVIAL: sweep.held_out.trivial}
        levels = {*table.loc[table["level"], "candidate"], _TRIVIAL}
        traces += [{}]
        for name in [*self._levels, _TRIVIAL]:
            said = sweep.held_out.trivial_name if name == _TRIVIAL else name
            traces.append(_level(said, scores.get(name), (left, right) if name in levels else ()))
        traces += [_paper(papers[papers["mark"] == mark], self.looks, bool(len(placed))) for mark in self._marks]
        shown = [*table["mean"], *placed["fraction"], sweep.held_out.trivial]
        shown += list(reported.loc[reported["candidate"].isin(table["candidate"]), "test"])
        whose = ", of the atlas" if sweep.origin else ""
        title = f"test {in_words(sweep.metric)}, mean{whose}"
        layout = axis | {"yaxis.range": span(shown), "yaxis.title.text": title}
        xs = table["x"].mask(table["level"], right)
        places = {name: (x, y) for name, x, y in zip(table["candidate"], xs, table["mean"], strict=True)}
        return Drawn(traces, layout, names, places, set(table.loc[table["front"], "candidate"]))


def rings(names: Sequence[str], places: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Return the rings' changes: a thick one round the first candidate, thin ones round its neighbours.

    Args:
        names: the candidate and its neighbours.
        places: from :class:`Drawn`.
    """
    there = [places.get(name, (math.nan, math.nan)) for name in names]
    sizes, widths = [24] + [18] * (len(names) - 1), [3] + [1.5] * (len(names) - 1)
    points = {"x": [short(x, 5) for x, _ in there], "y": [short(y, 4) for _, y in there]}
    return points | {"marker.size": sizes, "marker.line.width": widths}


def _placed(summary: pd.DataFrame, cost: Cost) -> pd.DataFrame:
    """Return the candidates with a score, where they stand (``x``), and whether they are a line at their ``level``."""
    front = pareto_front(summary, cost=cost.column) if cost.column in COUNTED else False
    table = summary.assign(front=front).dropna(subset=["mean"])
    table = table.assign(x=table[cost.column].astype(float) * cost.unit)
    rankless = _is_rankless(table)
    ranked = table.loc[~rankless, "x"]
    far = FAR * ranked.max() if len(ranked) and cost.axis == "log" else math.inf
    beyond = (table["x"] > far) & rankless & (cost.column != SHOTS)
    return table.assign(level=((table["x"] == 0) & (cost.axis == "log")) | beyond).dropna(subset=["x"])


def _is_rankless(summary: pd.DataFrame) -> "pd.Series[bool]":
    """Say which candidates have no rank at all, such as the head alone; ranks by layer are ranks."""
    return summary["rank"].isna() & ~summary["method"].map(has_ranks_by_layer).astype(bool)


def _lines(rows: pd.DataFrame, series: str, said: str) -> list[pd.DataFrame]:
    """Return what is joined by a line each: a method's ranks; its allocations of ranks to layers stand alone."""
    if said == SHOTS:
        return [line for _, line in rows.groupby("line", sort=False)]
    if has_ranks_by_layer(series) and len(rows):
        return [rows.iloc[[i]] for i in range(len(rows))]
    return [rows]


def _without_shots(name: str) -> str:
    """Return a line's or a candidate's name without its shots, as the sweeps of a store write them."""
    return re.sub(r", shots=\d+", "", name)


def _across_shots(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates with shots: one at several is one ``line``, in the look of its first ``series``."""
    table = summary[summary["shots"].notna()].sort_values("shots")
    lines, series = table["candidate"].map(_without_shots), table["series"].map(_without_shots)
    return table.assign(line=lines, series=table.groupby(series, sort=False)["series"].transform("first"))


def _joined(lines: Sequence[dict[str, Any]], names: Sequence[list[str]]) -> tuple[dict[str, Any], list[str]]:
    """Return several lines as one trace with a gap between each two, and the candidates of its points."""
    if len(lines) == 1:
        return lines[0], names[0]
    gaps = {"x": None, "y": None, "text": "", "error_y.array": None, "hovertext": ""}
    joined = {
        key: [value for i, line in enumerate(lines) for value in [*([gap] if i else []), *line[key]]]
        for key, gap in gaps.items()
    }
    return joined, [name for i, own in enumerate(names) for name in [*([""] if i else []), *own]]


def _axis(xs: Sequence[Any], cost: Cost) -> tuple[tuple[float, float], dict[str, Any]]:
    """Return the ends of the axis of costs, and the layout that has them."""
    known = [float(x) for x in xs if pd.notna(x) and (x > 0 or cost.axis == "linear")] or [1.0]
    if cost.axis == "linear":
        low, high = min(known), max(known)
        pad = max(0.1 * (high - low), 0.05 * high)
        ticks: dict[str, Any] = {"xaxis.tickmode": "auto", "xaxis.tickvals": None, "xaxis.ticktext": None}
        ends = low - pad, high + pad
    else:
        low, high = math.log10(min(known)), math.log10(max(known))
        pad = 0.2 + 0.05 * (high - low)
        marks = log_ticks(low - pad, high + pad)
        said = {"xaxis.tickvals": list(marks), "xaxis.ticktext": list(marks.values())}
        ticks = {"xaxis.tickmode": "array", **said}
        ends = 10 ** (low - pad), 10 ** (high + pad)
    span = [low - pad, high + pad]
    rounded = [short(end, 5) for end in span]
    return ends, {"xaxis.type": cost.axis, "xaxis.range": rounded, "xaxis.title.text": cost.title, **ticks}


def span(scores: Sequence[Any]) -> list[float]:
    """Return the ends of an axis that has these scores a little inside; 0 to 1 where there is none."""
    known = [float(score) for score in scores if pd.notna(score)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = max(0.08 * (high - low), 0.01)
    return [round(low - pad, 4), round(high + pad, 4)]


def _line(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Return a method's candidates, by parameters whatever the cost is; what is a level has no point."""
    return {
        "x": _xs(rows["x"].mask(rows["level"])), "y": [short(y, 4) for y in rows["mean"]], "text": end_ranks(rows),
        "error_y.array": [short(deviation(scores), 3) for scores in rows["scores"]],
        "hovertext": hover_texts(escape_all(rows), metric),
    }  # fmt: skip


def _dots(rows: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """Return the runs, each above its candidate's cost."""
    places = rows.set_index("candidate")["x"].mask(rows["level"].to_numpy())
    named = [escape(name) for name in run_names(runs)]
    x = _xs(runs["candidate"].map(places))
    return {"x": x, "y": [short(y, 4) for y in runs["test"]], "hovertext": named}


def _xs(values: "pd.Series[float]") -> list[float | None]:
    """Return the points' places: of a trace without any none, which takes it out of the legend."""
    return [short(x, 5) for x in values] if values.notna().any() else []


def _front(table: pd.DataFrame, left: float, right: float) -> dict[str, Any]:
    """Return the front as steps, from what costs nothing to the highest score."""
    front = table[table["front"]].sort_values("x")
    near = front[front["x"] <= right]
    if near.empty:
        return {"x": [], "y": []}
    xs, ys = [max(x, left) for x in near["x"]], list(near["mean"])
    return {"x": [short(x, 5) for x in [*xs, right]], "y": [short(y, 4) for y in [*ys, ys[-1]]]}


def _level(name: str, score: Any, ends: tuple[float, ...]) -> dict[str, Any]:
    """Return a line across the panel, or none where the score has a point of its own."""
    if score is None or pd.isna(score):
        return {"x": [], "y": [], "name": escape(name)}
    return {
        "x": [short(end, 5) for end in ends],
        "y": [short(score, 4)] * 2,
        "name": escape(f"{name}: {write_number(score, '.3f')}"),
    }


def _paper(rows: pd.DataFrame, looks: Mapping[str, int], placed: bool) -> dict[str, Any]:
    markers = [hollow(looks[published_name(method)]) for method in rows["method"]]
    return {
        "x": [int(x) for x in rows["parameters"]] if placed else [], "y": list(rows["fraction"]),
        "hovertext": [cite_point(row) for row in escape_all(rows).itertuples()],
        "marker.symbol": [each["symbol"] for each in markers], "marker.color": [each["color"] for each in markers],
    }  # fmt: skip


def _paper_name(mark: str) -> str:
    return escape("published" + (f" [{mark}]" if mark else ""))
