"""What a fair sweep showed, as tables and sentences."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments import ENDED_EARLY, RunRecord, family_name
from vxlab.experiments.candidates import (
    MARGIN,
    HeldOut,
    by_candidate,
    fixed_candidates,
    held_out_of,
    pairs_table,
    verdict,
)
from vxlab.experiments.provenance import describe_mixture, require_comparable
from vxlab.experiments.scoring import NO_DRAWS, Array, Runs, against_trivial, summarise
from vxlab.experiments.store import ENDED, Store
from vxlab.experiments.sweeps.draws import draw_notes, drawn_shares, lucks_of, scores_by_luck
from vxlab.experiments.sweeps.protocol import FairSweep


@dataclass(frozen=True)
class Comparison:
    """What a fair sweep showed. Scores are fractions, times seconds, sizes bytes."""

    fair: FairSweep
    metric: str
    """the task's first, of which all scores are"""
    held_out: HeldOut
    """the test split: how many items, and independent units of them; the trivial answer and its score"""
    runs: pd.DataFrame
    """one row a run: the store's columns, and ``candidate`` and ``stage`` (tuning or report)"""
    tuning: pd.DataFrame
    """one row a candidate and pair of rates: validation over the tuning seeds, and which was chosen"""
    summary: pd.DataFrame
    """one row a candidate: test scores over the report seeds, parameters, bytes, times, the rates, the budget"""
    pairs: pd.DataFrame
    """one row a pair of candidates: the difference with its 95 % interval, and whether it is told apart"""
    records: Mapping[str, RunRecord] = field(default_factory=dict, repr=False)
    """of the runs that ended, by key, as the store has them"""

    @property
    def trivial(self) -> float:
        """The test score of the trivial answer, such as the most frequent class."""
        return self.held_out.trivial

    @property
    def items(self) -> int:
        """How many items the test split has."""
        return self.held_out.items

    def verdict(self, margin: float = MARGIN) -> str:
        """Return what the sweep showed, in sentences computed from the tables (Markdown).

        Args:
            margin: the largest loss of score that counts as none, in the metric's own unit (of 0 to 1; of a
                log-likelihood nats): candidates are said to do as well where a test shows that they lose less.

        Raises:
            VxlabError: the margin is not between 0 and 1.
        """
        tuned = self.fair.learning_rates > 1
        told = verdict(self.pairs, self.summary, metric=self.metric, held_out=self.held_out, tuned=tuned, margin=margin)
        noun, many = "draw" if self.fair.draws_vary else "seed", self.fair.tuning_seeds
        over = f"{many} {noun}s" if many > 1 else f"one {noun}"
        luck = f"Validation on {over} chose the learning rates: the luck of that choice is in no interval or test."
        notes = [luck, *_early(self.runs)] if tuned else []
        reports = self.runs[(self.runs["stage"] == "report") & (self.runs["status"] == "finished")]
        notes += draw_notes(reports, self.records)
        return "\n".join([told, *(f"- {note}" for note in [*notes, *describe_mixture(self.records.values())])])


def gather(fair: FairSweep, runs: pd.DataFrame, tuning: pd.DataFrame, results: Store) -> Comparison:
    """Return the comparison that the runs of a fair sweep make.

    Args:
        fair: the sweep.
        runs: its rows of the store, with ``candidate`` and ``stage``.
        tuning: by which the reported rates were chosen.
        results: the store, which has the test predictions.

    Raises:
        VxlabError: not one report run finished, or the runs differ in the model's weights, the data or the metric.
    """
    finished, some = runs[runs["status"] == "finished"], runs["status"].isin(["finished", ENDED_EARLY]).any()
    if finished.empty or "report" not in set(finished["stage"]):
        told = runs["error"].dropna()
        reason = (
            f"the first failed with {told.iloc[0]}" if len(told) else "all of them diverged: try lower learning rates"
        )
        stage = "report runs" if some else "runs"
        total = int((runs["stage"] == "report").sum()) if some else len(runs)
        raise VxlabError(f"not one of {total} {stage} finished; {reason}")
    names = {name: family_name(candidate.method) for name, candidate in fair.names.items()}
    shown = runs.assign(method=runs["candidate"].map(names))
    fixed = [] if fair.draws_vary else [name for name in fair.names if name not in fair.tuned]
    summary = summary_table(shown, tuning, fixed)
    metric = str(finished["metric"].iloc[0])
    ended = runs.loc[runs["status"].isin(ENDED), "key"]
    records = {key: record for key in ended if (record := results.record(key))}
    require_comparable(records.values())
    compared = compare_reports(summary, finished[finished["stage"] == "report"], records, metric, results)
    if compared is None:
        raise VxlabError("the runs were tested on different data; compare runs on the same rows")
    summary, pairs, held_out = compared
    return Comparison(fair, metric, held_out, runs, tuning, summary, pairs, records)


def compare_reports(
    summary: pd.DataFrame,
    reports: pd.DataFrame,
    records: Mapping[str, RunRecord],
    metric: str,
    results: Store,
) -> tuple[pd.DataFrame, pd.DataFrame, HeldOut] | None:
    """Compare candidates by their report runs with the trivial answer, and every two of them.

    Args:
        summary: from :func:`summary_table`.
        reports: rows of the runs that finished, one or more, with ``candidate``.
        records: theirs, by key.
        metric: whose scores are compared.
        results: the store, which has the test predictions.

    Returns:
        The summary of :func:`with_chance`, the pairs, and what was predicted; None where that is not the same of all.
    """
    predictions: dict[str, dict[int | tuple[int, int], Array]] = {}
    labels = results.predictions(reports["key"].iloc[0])[1].numpy()
    for key, candidate, luck in zip(reports["key"], reports["candidate"], lucks_of(reports), strict=True):
        logits, truth = (tensor.numpy() for tensor in results.predictions(key))
        if not np.array_equal(labels, truth):
            return None
        predictions.setdefault(candidate, {})[luck] = logits
    first, drawn = records[reports["key"].iloc[0]], drawn_shares(reports, records)
    units = first.units()
    tested = with_chance(summary, predictions, labels, metric, first.constant(), units=units, drawn=drawn)
    pairs = pairs_table(predictions, labels, metric, tested, units=units, drawn=drawn)
    return tested, pairs, held_out_of(first, metric, len(labels), units)


def with_chance(
    summary: pd.DataFrame,
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str,
    constant: float | Array,
    *,
    units: Array | None = None,
    drawn: Mapping[str, float] = NO_DRAWS,
) -> pd.DataFrame:
    """Return a summary with ``p_trivial``, each candidate's p-value against the trivial answer, and ``above``.

    The test is one-sided, over items and seeds, and corrected after Holm over the candidates; ``above`` says whether a
    candidate is shown to beat the trivial answer.

    Args:
        summary: from :func:`summary_table`.
        predictions: candidate to seed, or (draw, seed), to its predictions of the same test items.
        labels: (items,) class ids or targets.
        metric: whose scores are compared.
        constant: the trivial answer: the training rows' most frequent class, the mean of their targets, or the
            statistics of what the simplest answer writes.
        units: (items,) numbers of the independent unit of each item; None where each item is one.
        drawn: as :func:`vxlab.experiments.scoring.significance.compare_all` takes it.
    """
    rows = by_candidate(summary)
    runs, fixed = {name: predictions.get(name, {}) for name in rows}, fixed_candidates(rows)
    found = against_trivial(runs, labels, metric, constant=constant, units=units, fixed=fixed, drawn=drawn)
    tests = [found[name] for name in rows]
    return summary.assign(p_trivial=[each.p_holm for each in tests], above=[bool(each.beaten) for each in tests])


def summary_table(runs: pd.DataFrame, tuning: pd.DataFrame, fixed: Collection[str] = ()) -> pd.DataFrame:
    """Return one row a candidate, in the order in which they first ran.

    Columns: ``candidate``, ``method`` (as shown), ``rank``, ``targets``; ``backbone`` and ``head`` (trained
    parameters), ``bytes_stored``, ``step_seconds`` and ``peak_memory`` (medians over the report runs, or over the
    tuning runs where none finished); ``n`` and ``diverged`` (report runs that finished, and that did not), ``median``,
    ``q1``, ``q3``, ``mean``, ``sd`` of the test scores, and ``scores``, these by seed, or by draw where the candidate
    ran on several (runs of several seeds on one draw are one score); ``shots`` (missing where there are none) and
    ``draws``, how many; ``fixed``, whether it holds no luck of training;
    ``learning_rate``, ``head_learning_rate``, ``edge`` (NaN and "" where no rate could be chosen);
    ``tuning_runs`` and ``budget_seconds`` (training time of all its runs).

    Args:
        runs: all runs, with ``candidate``, ``stage`` and ``method`` as shown.
        tuning: from :func:`tuning_table`.
        fixed: candidates whose score does not vary with the seed of training.
    """
    chosen = tuning[tuning["chosen"].astype(bool)].set_index("candidate")
    rows = [
        _summary_row(str(name), own, chosen) | {"fixed": name in fixed}
        for name, own in runs.groupby("candidate", sort=False)
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("rank", "backbone", "head", "shots"), "Int64"))


def _early(runs: pd.DataFrame) -> list[str]:
    """Say what it saved that the runs that chose the rates ended early."""
    short = runs[(runs["stage"] == "tuning") & (runs["ends_after"] < 1)].dropna(subset=["steps"])
    if short.empty:
        return []
    taken, whole = int(short["steps"].sum()), float((short["steps"] / short["ends_after"]).sum())
    return [
        f"The runs that chose took {taken:,} steps instead of about {whole:,.0f}: each ended after "
        f"{short['ends_after'].iloc[0]:.3g} of its steps, and the lowest validation loss there chose, which may be "
        "another rate than the best score of whole runs."
    ]


def _summary_row(name: str, own: pd.DataFrame, chosen: pd.DataFrame) -> dict[str, Any]:
    reports = own[own["stage"] == "report"]
    typical = reports if reports["backbone"].notna().any() else own
    first, tests = own.iloc[0], reports["test"].to_numpy(dtype=float)
    done, scores = int(np.isfinite(tests).sum()), scores_by_luck(reports)
    none = {"learning_rate": np.nan, "head_learning_rate": np.nan, "edge": "", "head_edge": ""}
    rates = chosen.loc[name] if name in chosen.index else none
    return {
        "candidate": name,
        **{column: first[column] for column in ("method", "rank", "targets")},
        **{column: typical[column].max() for column in ("backbone", "head", "bytes_stored")},
        **{column: typical[column].median() for column in ("step_seconds", "peak_memory")},
        **summarise(scores),
        "n": done,
        "diverged": len(tests) - done,
        "scores": tuple(scores.tolist()),
        "shots": first["shots"],
        "draws": int(reports.dropna(subset=["test"])["draw"].nunique()),
        **{column: rates[column] for column in none},
        "tuning_runs": int((own["stage"] == "tuning").sum()),
        "budget_seconds": float(own["train_seconds"].sum()),
    }
