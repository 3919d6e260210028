"""The sweep explorer: one candidate of a sweep, its price, its neighbours and what tells them apart, at once."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from vxlab.experiments.metrics import in_words
from vxlab.experiments.neighbours import neighbours
from vxlab.views.explorer import Choice, Stop, View, explore
from vxlab.views.look import INK
from vxlab.views.sweep_figures import score_against_parameters
from vxlab.views.verdict_figures import difference_unit

if TYPE_CHECKING:
    from vxlab.views.explorer_widget import ExplorerWidget

_RING = {"marker": {"symbol": "circle-open", "color": INK}}


def explore_sweep(
    summary: pd.DataFrame,
    pairs: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    metric: str,
    interactive: bool | None = None,
) -> "go.Figure | ExplorerWidget":
    """Show a sweep one candidate at a time: choose a method and a rank.

    Args:
        summary: one row a candidate.
        pairs: one row a pair of candidates.
        runs: with ``candidate`` and ``stage``; those of the report are faint dots.
        metric: whose scores they are.
        interactive: widgets (needs a kernel), or a figure with its own menu and slider; None: widgets where there is
            a live notebook to show them.
    """
    return explore(_SweepExplorer(summary, pairs, runs, metric), interactive)


class _SweepExplorer:
    """A sweep, one candidate at a time."""

    menus, slider = ("method",), "rank"

    def __init__(self, summary: pd.DataFrame, pairs: pd.DataFrame, runs: pd.DataFrame | None, metric: str) -> None:
        self._tables, self._metric, self._runs = (summary, pairs), metric, runs
        self._still: list[dict[str, Any]] = [{} for _ in self.frame().data[:-1]]  # only the rings move

    def offered(self) -> dict[Choice, list[Stop]]:
        return {(method,): list(ranks) for method, ranks in choices(self._tables[0]).items()}

    def frame(self) -> go.Figure:
        figure = score_against_parameters(self._tables[0], metric=self._metric, runs=self._runs)
        return figure.add_scatter(mode="markers", name="chosen, and what it is beside", hoverinfo="skip", **_RING)

    def view(self, choice: Choice, stop: str) -> View:
        table = beside_neighbours(*self._tables, stop, self._metric)
        return View([*self._still, highlight(*self._tables, stop)], words=(), table=table)


def choices(summary: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return what can be chosen: for each method its candidates by rank, as (what the slider says, candidate).

    >>> table = pd.DataFrame({"candidate": ["VeRA r=4", "VeRA r=1", "head only"], "rank": [4, 1, None],
    ...                       "method": ["VeRA", "VeRA", "head only"]}).astype({"rank": "Int64"})
    >>> choices(table)
    {'VeRA': [('r=1', 'VeRA r=1'), ('r=4', 'VeRA r=4')], 'head only': [('no rank', 'head only')]}
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for method, rows in summary.groupby("method", sort=False):
        rows = rows.sort_values("rank")
        alike = rows["rank"].duplicated(keep=False)
        found[str(method)] = [_choice(row, same) for row, same in zip(rows.itertuples(), alike, strict=True)]
    return found


def beside_neighbours(summary: pd.DataFrame, pairs: pd.DataFrame, candidate: str, metric: str) -> pd.DataFrame:
    """Return what the explorer shows of a candidate, in words: itself and its neighbours, one row each."""
    rows = neighbours(summary, pairs, candidate)
    scale, unit = difference_unit(metric)
    return pd.DataFrame(
        {
            "": rows["relation"],
            "candidate": rows["candidate"],
            f"test {in_words(metric)} (quartiles)": [_score(row) for row in rows.itertuples()],
            "parameters": [_number(value) for value in rows["backbone"]],
            "bytes": [_number(value) for value in rows["bytes_stored"]],
            "step, ms": [_number(1000 * value) for value in rows["step_seconds"]],
            "peak, MiB": [_number(value / 2**20) for value in rows["peak_memory"]],
            f"this − that{', ' + unit if unit else ''} (95 %)": [_difference(row, scale) for row in rows.itertuples()],
            "verdict": [_verdict(row) for row in rows.itertuples()],
        }
    )


def highlight(summary: pd.DataFrame, pairs: pd.DataFrame, candidate: str) -> dict[str, Any]:
    """Return a trace's points and markers: a thick ring round the candidate, thin ones round its neighbours."""
    rows = neighbours(summary, pairs, candidate)
    x = rows["backbone"].where(rows["backbone"] > 0)  # what trains nothing has no place on a logarithmic axis
    sizes, widths = [24] + [18] * (len(rows) - 1), [3] + [1.5] * (len(rows) - 1)
    points = {"x": x.astype(float).tolist(), "y": rows["median"].tolist()}
    return points | {"marker.size": sizes, "marker.line.width": widths}


def _choice(row: Any, alike: bool) -> tuple[str, str]:
    told = "no rank" if pd.isna(row.rank) else f"r={row.rank}"
    return row.candidate if alike else told, row.candidate


def _score(row: Any) -> str:
    if pd.isna(row.median):
        return "none: no run finished"
    lost = f", {row.diverged} not finished" if row.diverged else ""
    return f"{row.median:.3f} ({row.q1:.3f}–{row.q3:.3f}){lost}"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.0f}"


def _difference(row: Any, scale: int) -> str:
    if pd.isna(row.difference):
        return ""
    told = [f"{scale * value:+.{1 if scale > 1 else 3}f}" for value in (row.difference, row.low, row.high)]
    return f"{told[0]} ({told[1]} to {told[2]})".replace("-", "−")


def _verdict(row: Any) -> str:
    if pd.isna(row.difference):
        return ""
    if not row.seen:
        return "no difference seen"
    return "this one is better" if row.difference > 0 else "this one is worse"
