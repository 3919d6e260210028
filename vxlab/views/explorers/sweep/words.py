"""One candidate of a sweep in words: its score and price, its neighbours, its place on the front, how it was tuned."""

import textwrap
from collections.abc import Container, Sequence
from typing import Any

import pandas as pd

from vxlab.experiments import RunRecord, has_ranks_by_layer
from vxlab.experiments.candidates import COUNTED, HeldOut, neighbours, seeds_in_words, write_score
from vxlab.experiments.provenance import choice_in_words
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import SweepTables
from vxlab.views.figures import AXES, SHOTS, difference_unit, draws_of
from vxlab.views.style import escape
from vxlab.words import write_number

_EDGES = {
    "low": "the lowest tried: a better one may be lower",
    "high": "the highest tried: a better one may be higher",
}


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


class Tables:
    """A sweep's tables, parted by candidate once, so that each is looked up in no time.

    Args:
        sweep: the summary with the names of its lines (``series``).
    """

    def __init__(self, sweep: SweepTables) -> None:
        self.sweep, summary, runs = sweep, sweep.summary, sweep.runs
        every: list[Any] = list(summary.itertuples(index=False))
        self.rows: dict[str, Any] = {row.candidate: row for row in every}
        self.tuning = {str(name): rows for name, rows in sweep.tuning.groupby("candidate", sort=False)}
        reported = runs[runs["stage"] == "report"]
        self.reported = {str(name): list(keys) for name, keys in reported.groupby("candidate")["key"]}
        self._neighbours: dict[str, pd.DataFrame] = {}

    def neighbours(self, candidate: str) -> pd.DataFrame:
        """Return :func:`vxlab.experiments.candidates.neighbours.neighbours` of a candidate."""
        if candidate not in self._neighbours:
            self._neighbours[candidate] = neighbours(self.sweep.summary, self.sweep.pairs, candidate)
        return self._neighbours[candidate]

    def records(self, candidate: str) -> list[RunRecord]:
        """Return the records of a candidate's report runs, as far as they are here."""
        keys = self.reported.get(candidate, [])
        return [self.sweep.records[key] for key in keys if key in self.sweep.records]


def beside_neighbours(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a candidate and its neighbours in words, one row each.

    Args:
        rows: from :func:`vxlab.experiments.candidates.neighbours.neighbours`.
        metric: whose scores they are.
    """
    unit = difference_unit(metric)[1]
    several: list[Any] = list(rows.itertuples())
    return pd.DataFrame(
        {
            "": rows["relation"],
            "candidate": rows["candidate"],
            f"test {in_words(metric)}, mean": [_score(row) for row in several],
            "parameters": [_number(row.backbone) for row in several],
            "bytes": [_number(row.bytes_stored) for row in several],
            "step, ms": [_number(1000 * row.step_seconds) for row in several],
            "peak, MiB": [_number(row.peak_memory / 2**20) for row in several],
            f"this − that{', ' + unit if unit else ''} (95 %)": [_difference(row, metric) for row in several],
            "verdict": [_verdict(row) for row in several],
        }
    )


def candidate_words(tables: Tables, candidate: str, cost: str, front: Container[str]) -> list[str]:
    """Return lines about a candidate: its score, its place on the front, how its learning rate was chosen.

    Args:
        tables: of what is shown.
        candidate: of its summary.
        cost: a name of :data:`AXES`.
        front: candidates that nothing shown beats at that cost.
    """
    own, sweep = tables.rows[candidate], tables.sweep
    place = _place(tables, own, cost, candidate in front)
    score = f"{'mean ' if own.n > 1 else ''}test {in_words(sweep.metric)} {_score(own)}"
    whose = f", {escape(sweep.origin)}" if sweep.origin else ""
    said = f"<b>{escape(candidate)}</b>{whose}: {score}.{_at_chance(own, sweep.held_out)}"
    tuned = _tuned(tables.tuning.get(candidate)) or _fitted(tables.records(candidate))
    return [line for text in (said, place, tuned, *map(escape, sweep.notes)) for line in _lines(text)]


def _at_chance(own: Any, held_out: HeldOut) -> str:
    """Say where a candidate is not shown to beat the trivial answer."""
    if _may_be_above(own):
        return ""
    return f" Not shown to beat the trivial answer ({held_out.trivial_name}: {write_number(held_out.trivial, '.3f')})."


def _may_be_above(row: Any) -> bool:
    return bool(pd.isna(row.p_trivial) or row.above)


def _place(tables: Tables, own: Any, cost: str, on_front: bool) -> str:
    """Say whether a candidate is on the front, and what beats it where it is not."""
    column = AXES[cost].column
    paid = getattr(own, column)
    if pd.isna(own.mean) or cost == SHOTS:
        return ""
    if pd.isna(paid):
        return f"Its {cost} is not known."
    if column not in COUNTED:
        return f"No front of {cost}: it was measured beside other runs; vxlab report 07_cost measures it alone."
    if on_front:
        return f"On the front: nothing shown scores as high for less ({cost})."
    if not _may_be_above(own):
        return "On no front: it is not shown to beat the trivial answer."
    others = [row for row in tables.rows.values() if row is not own and pd.notna(getattr(row, column))]
    beaten_by = [row for row in others if _may_be_above(row) and row.mean >= own.mean and getattr(row, column) <= paid]
    first = max(beaten_by, key=lambda row: (row.mean, -getattr(row, column)))
    return f"Not on the front ({cost}): {escape(first.candidate)} has {write_number(first.mean, '.3f')} for no more."


def _fitted(records: Sequence[RunRecord]) -> str:
    """Say what a probe chose; "" of what has no probe's run."""
    told = choice_in_words(records[0]) if records else ""
    if not told:
        return ""
    if len(records) == 1:
        return f"Fitted once, without learning rates or seeds: {told}."
    return f"Fitted on each of {len(records)} draws, without learning rates or seeds; on the first: {told}."


def _tuned(rows: pd.DataFrame | None) -> str:
    """Say at which learning rate a candidate is reported, and how that was chosen."""
    if rows is None:
        return ""
    lost = int(rows["diverged"].sum() + rows["failed"].sum())
    several = len(rows) > 1
    if not rows["chosen"].any():
        return f"No learning rate could be chosen: none of {len(rows)} finished." if several else ""
    chosen = rows[rows["chosen"]].iloc[0]
    rate = chosen["learning_rate"] if pd.notna(chosen["learning_rate"]) else chosen["head_learning_rate"]
    told = f"Learning rate {rate:g}, " + (f"of {len(rows)} tried" if several else "the only one tried: not tuned")
    edge = f", {_EDGES[chosen['edge']]}" if chosen["edge"] else ""
    return f"{told}{edge}." + (f" {lost} of the tuning runs did not finish." if lost else "")


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, 118, break_long_words=False)


def _choice(row: Any, alike: bool) -> tuple[str, str]:
    told = "no rank" if pd.isna(row.rank) else f"r={row.rank}"
    return row.candidate if alike or has_ranks_by_layer(row.method) else told, row.candidate


def _score(row: Any) -> str:
    if pd.isna(row.mean):
        return "none: no run finished"
    lost = f", {row.diverged} not finished" if row.diverged else ""
    return f"{write_number(row.mean, '.3f')} ({seeds_in_words(row.scores, draws=draws_of(row))}){lost}"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.0f}"


def _difference(row: Any, metric: str) -> str:
    if pd.isna(row.difference):
        return ""
    value, low, high = (write_score(each, metric, "+") for each in (row.difference, row.low, row.high))
    return f"{value} ({low} to {high})"


def _verdict(row: Any) -> str:
    if pd.isna(row.difference):
        return ""
    if not row.seen:
        return "not told apart"
    return "this one is better" if row.difference > 0 else "this one is worse"
