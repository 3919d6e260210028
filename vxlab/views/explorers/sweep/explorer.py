"""The sweep explorer: one candidate of a sweep, its price, its neighbours, its curves and its tuning, at once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments import RunRecord
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import SweepTables
from vxlab.views.explorers import Choice, Stop, View
from vxlab.views.explorers.sweep.filter import Filter, filter_sweep
from vxlab.views.explorers.sweep.score_panel import Drawn, ScorePanel, rings, span
from vxlab.views.explorers.sweep.words import Tables, beside_neighbours, candidate_words, choices
from vxlab.views.figures import (
    COSTS,
    SHOTS,
    add_joined_curves,
    add_tuning,
    ended_early,
    join_curves,
    name_tuned,
    published_caption,
    series_names,
    tuning_of,
)
from vxlab.views.style import SCORES, apply_style, escape, escape_all, look, tick_labels
from vxlab.words import number_of

_HEIGHT, _LEGEND_WIDTH, _ROW = 530, 780, 20
_HEADING = {"text": "", "showarrow": False, "xref": "paper", "yref": "paper"}
_SPLIT, _KEPT, _TUNED = 0.66, 0.69, 0.26
"""where the small panels begin, and where the second and the third have their tops"""
_CURVES, _SCORES, _TUNING, _PAPERS = range(4)
"""The texts of the canvas, in their order: above each small panel, and below the large one."""


class SweepExplorer:
    """Sweeps, one candidate at a time.

    Args:
        sweeps: at least one.
        published: by the sweeps' names, the papers' rows to lay over each.
        most: views; with more, parameters are the only cost, and sweeps and candidates beyond are left out.
    """

    slider = "rank"

    def __init__(
        self, sweeps: Sequence[SweepTables], published: Mapping[str, pd.DataFrame], most: int | None = None
    ) -> None:
        self.every = [_prepared(sweep) for sweep in sweeps]
        self.sweeps = {sweep.name: sweep for sweep in self.every}
        self._published, self.panel = published, ScorePanel(self.every, published)
        self._colours = {name: look(i)["line"]["color"] for name, i in self.panel.looks.items()}
        self._drawn: dict[tuple[str, str], Drawn] = {}
        self._tables: dict[str, Tables] = {}
        total = sum(len(sweep.summary) for sweep in self.every)
        self._most = most
        self._costs = list(COSTS) if most is None or total * len(COSTS) <= most else list(COSTS)[:1]

    @property
    def menus(self) -> Sequence[str]:
        return [*(["sweep"] if len(self.every) > 1 else []), "method", "score against"]

    def filtered(self, kept: Filter) -> "SweepExplorer":
        """Return this explorer with the runs that pass alone; its canvas is the same."""
        other = copy(self)
        other._drawn, other._tables = {}, {}
        left = [filter_sweep(sweep, kept) for sweep in self.every]
        other.sweeps = {sweep.name: sweep for sweep in left if len(sweep.summary)}
        return other

    def offered(self) -> dict[Choice, list[Stop]]:
        found: dict[Choice, list[Stop]] = {}
        left = self._most or math.inf
        for name, sweep in self.sweeps.items():
            first = (name,) if len(self.every) > 1 else ()
            for method, ranks in choices(sweep.summary).items():
                for cost in self._against(sweep) if left >= len(ranks) else ():
                    found[*first, method, cost] = list(ranks)
                    left -= len(ranks)
        return found

    def _against(self, sweep: SweepTables) -> list[str]:
        """Return what a sweep's scores can be drawn against; shots, too, where its runs had several numbers."""
        several = "shots" in sweep.summary and sweep.summary["shots"].nunique() > 1
        return [*self._costs, *([SHOTS] if several else [])]

    def canvas(self) -> go.Figure:
        figure = go.Figure()
        self.panel.add_to(figure)
        add_joined_curves(figure, {"xaxis": "x2", "yaxis": "y2"}, {"xaxis": "x2", "yaxis": "y3"})
        add_tuning(figure, xaxis="x3", yaxis="y4")
        apply_style(figure, height=_HEIGHT, name="sweep")
        top = 40 + _ROW * _rows(self.panel.names())
        figure.update_layout(height=_HEIGHT + top, margin={"t": top, "b": 70}, **_axes())
        figure.update_layout(legend={"y": 1 + 26 / (_HEIGHT - 70), "font_size": 12})
        for y, size in ((1, 13), (_KEPT, 11), (_TUNED, 11)):
            figure.add_annotation(x=_SPLIT, y=y, xanchor="left", yanchor="bottom", font_size=size, **_HEADING)
        if self._published:
            figure.add_annotation(x=0, y=0, xanchor="left", yanchor="top", yshift=-50, font_size=11, **_HEADING)
        return figure

    def view(self, choice: Choice, stop: str) -> View:
        tables, drawn, metric = self.tables(choice), self.drawn(choice), self.sweep_of(choice).metric
        beside, layout = self.beside(choice, stop)
        if self._published:
            papers = self._published.get(tables.sweep.name)
            layout[_path(_PAPERS)] = "" if papers is None else published_caption(escape_all(papers))
        rows = tables.neighbours(stop)
        traces = [*drawn.traces, rings(list(rows["candidate"]), drawn.places), *beside]
        told = [*candidate_words(tables, stop, choice[-1], drawn.front), *self._left_out()]
        return View(traces, told, drawn.layout | layout, beside_neighbours(rows, metric))

    def drawn(self, choice: Choice) -> Drawn:
        """Return what the large panel shows at a choice, whatever the candidate."""
        sweep, cost = self.sweep_of(choice), choice[-1]
        if (sweep.name, cost) not in self._drawn:
            self._drawn[sweep.name, cost] = self.panel.drawn(sweep, cost)
        return self._drawn[sweep.name, cost]

    def sweep_of(self, choice: Choice) -> SweepTables:
        """Return the sweep that a choice is of."""
        return self.sweeps[choice[0]] if len(self.every) > 1 else next(iter(self.sweeps.values()))

    def tables(self, choice: Choice) -> Tables:
        """Return the tables of what is shown at a choice, parted by candidate."""
        sweep = self.sweep_of(choice)
        if sweep.name not in self._tables:
            self._tables[sweep.name] = Tables(sweep)
        return self._tables[sweep.name]

    def beside(self, choice: Choice, candidate: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return what the small panels show of a candidate: changes to the last eight traces, and to the layout."""
        tables = self.tables(choice)
        records, metric = tables.records(candidate), tables.sweep.metric
        colour = self._colours[tables.rows[candidate].series]
        tuning = tables.tuning.get(candidate, tables.sweep.tuning.iloc[:0])
        runs = len(tables.reported.get(candidate, []))
        score = f"validation {in_words(metric)}"
        curves, tuned = join_curves(records, metric, colour), tuning_of(escape_all(tuning), colour)
        tried = [*tuning["low"], *tuning["high"], *tuned[-1]["y"]]
        untried = len(tuning) and not tuning[["n", "diverged", "failed"]].to_numpy().any()
        short = candidate if len(candidate) < 26 else f"{candidate[:24]}…"
        layout = _ticks(tuning) | {
            _path(_CURVES): f"<b>{escape(short)}</b>, {_counted(records, runs)}",
            _path(_SCORES): f"{score} (○ epoch kept)",
            _path(_TUNING): "not tuned" if untried else f"{name_tuned(tuning, metric)} (○ chosen, × lost)",
            "yaxis3.range": span(curves[2]["y"]),
            "yaxis4.range": span(tried)[:: -1 if ended_early(tuning) else 1],
        }
        return [*curves, *tuned], layout

    def _left_out(self) -> list[str]:
        said = [] if len(self._costs) > 1 else ["Bytes, step time and memory as costs: in JupyterLab."]
        total = sum(len(sweep.summary) for sweep in self.every)
        here = sum(map(len, self.offered().values())) if self._most is not None and total > self._most else total
        return said + ([f"{total - here} candidates more: in JupyterLab."] if here < total and not said[1:] else [])


def _path(text: int) -> str:
    """Return where the layout has a text of the canvas."""
    return f"annotations[{text}].text"


def _prepared(sweep: SweepTables) -> SweepTables:
    """Give the runs their methods as shown, and the candidates the names of their lines."""
    methods = sweep.summary.set_index("candidate")["method"]
    runs = sweep.runs.assign(method=sweep.runs["candidate"].map(methods).fillna(sweep.runs["method"]))
    return sweep._replace(runs=runs, summary=sweep.summary.assign(series=series_names(sweep.summary)))


def _axes() -> dict[str, Any]:
    """Return the axes of the large panel and of the three small ones beside it."""
    small = {"tickfont": {"size": 11}, "nticks": 5}

    def titled(text: str, size: int = 12) -> dict[str, Any]:
        return {"title": {"text": text, "font": {"size": size}, "standoff": 8}}

    return {
        "xaxis": {"domain": (0, 0.58), **titled("", 14)},
        "xaxis2": small | titled("training step") | {"domain": (_SPLIT, 1), "anchor": "y3", "rangemode": "tozero"},
        "xaxis3": small | titled("learning rate") | {"domain": (_SPLIT, 1), "anchor": "y4", "type": "log"},
        "yaxis": {**SCORES, **titled("", 14)},
        "yaxis2": small | {"domain": (0.75, 1), "anchor": "x2"},
        "yaxis3": small | {"domain": (0.43, _KEPT), "anchor": "x2"},
        "yaxis4": small | {"domain": (0, _TUNED), "anchor": "x3"},
    }


def _ticks(tuning: pd.DataFrame) -> dict[str, Any]:
    """Return the ticks of the tuning panel: every rate, of which four at most say what they are."""
    rates = sorted(tuning["learning_rate"].fillna(tuning["head_learning_rate"]).unique())
    stride = math.ceil(len(rates) / 4) or 1
    said = [label if i % stride == 0 else "" for i, label in enumerate(tick_labels(rates))]
    return {"xaxis3.tickvals": [float(rate) for rate in rates], "xaxis3.ticktext": said}


def _rows(names: Iterable[str]) -> int:
    """Return how many rows a legend of these names takes at the width of a narrow window."""
    widths = [44 + 6.6 * len(name) for name in names]
    return max(1, math.ceil(1.15 * len(widths) * max(widths) / _LEGEND_WIDTH))


def _counted(records: Sequence[RunRecord], runs: int) -> str:
    """Head the training losses with how many runs they are of."""
    if not records:
        return "no learning curves here" if runs else "no reported run"
    if all(record.probe for record in records):
        return "fitted without steps"
    if not any(record.trains for record in records):
        return "scored without training"
    lost = sum(record.status == "diverged" for record in records)
    said = f"training loss, {number_of(len(records), 'run')}"
    return said + (f", {lost} diverged (dotted)" if lost else "")
