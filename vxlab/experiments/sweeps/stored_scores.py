"""What a store measured of one model's candidates: their scores under one protocol, at the rates validation chose."""

import dataclasses
import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.adapters import METHODS
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec, family_name, layers_in_words, method_label, usual_settings
from vxlab.experiments.candidates import pareto_front
from vxlab.experiments.provenance import (
    device_of,
    list_versions,
    name_machines,
    name_weights_and_data,
    own_identity,
    shared_identity,
    shared_versions,
)
from vxlab.experiments.scoring import Array, interval, score_intervals
from vxlab.experiments.store import ENDED, Store, Where, is_there, open_store, without_repeats
from vxlab.experiments.sweeps.comparison import summary_table
from vxlab.experiments.sweeps.draws import drawn_shares, lucks_of
from vxlab.experiments.sweeps.tuning import with_stages
from vxlab.words import number_of

MEASURED_COLUMNS = [
    "family", "rank", "label", "targets", "backbone", "bytes_stored", "n", "diverged", "mean", "scores", "draws",
    "low", "high", "learning_rate", "edge", "front",
]  # fmt: skip

_FREE = {"rank", "alpha", "seed"}
"""Settings of a method that make no other method of it: the size, the step's scale, and what is drawn."""
_OWN = {
    "method", "targets", "learning_rate", "head_learning_rate", "seed", "draw", "model", "device", "precision",
    "task_folder", "ends_after",
}  # fmt: skip
"""Fields of a spec in which runs under one protocol may differ."""


class Measured(NamedTuple):
    """Candidates of one model under one protocol."""

    table: pd.DataFrame
    """one row a candidate: :data:`MEASURED_COLUMNS`"""
    metric: str
    """whose scores they are"""
    protocol: str
    """task, training examples and epochs, in words; "" where there is no run"""
    others: int
    """runs of this model's name that are not among them: other tasks, protocols or versions, and methods with a part
    changed"""
    elsewhere: int = 0
    """of those, how many were on other weights than the model has now"""
    machines: str = ""
    """what the runs were on, in words"""
    origin: str = ""
    """whose the runs are and where they were made, in words; "" of the user's own"""


def stored_candidates(
    store: Where,
    model: str | None,
    *,
    task: str | None = None,
    metric: str | None = None,
    weights: str | None = None,
    like: RunSpec | None = None,
    keys: Iterable[str] | None = None,
) -> Measured:
    """Return the candidates that a store's runs of a model make, under the protocol that most of them share.

    A protocol is a task with its data, the model's weights, the precision, the versions of vxlab, torch and
    transformers and the kind of device, beside what the runs were told: what differs in one of them is never one
    candidate's, though the names are the same. Runs that took a share of their steps choose rates, and are no result: a
    candidate that has no others is left out.

    A candidate is a method at its usual settings (α and seeds may be any), a rank and targets. Seeds that ran at
    several learning rates choose the rate, by the median of validation; the test scores of the other seeds at that
    rate are reported, or of all seeds where there are no others.
    ``mean`` is over the ``n`` runs that finished, ``scores`` are theirs, or by draw of the shots where they are on
    several ``draws``; ``low`` and ``high`` are the mean's 95 % interval over test items, or the units they come in, and
    over seeds (and draws) where there are several runs; of a single run it is over items alone.
    ``front``: nothing measured scores as high for fewer parameters.

    Args:
        store: as :func:`vxlab.run` takes it; what is not there has no runs, and is not made.
        model: its name in the runs; None has none.
        task: whose runs; None takes the task with the most candidates.
        metric: one of the task's; None takes its first.
        weights: the fingerprint of the model's weights as they are now, whose runs alone count; None takes any, though
            only those on the same ones together.
        like: a run whose task, data, epochs, batches and all else that a protocol shares theirs must have; None takes
            any.
        keys: of the runs that may count; None takes all.

    Raises:
        VxlabError: the metric was not scored on the task.
    """
    nothing = pd.DataFrame(columns=MEASURED_COLUMNS)
    if model is None or not _is_there(store):
        return Measured(nothing, metric or "", "", 0)
    with open_store(store) as results:
        table = results.table(keys)
        ours = table[(table["model"] == model) & table["status"].isin(ENDED)]
        runs = ours if ours.empty else _plain_runs(ours, results)
        strange = 0 if weights is None or runs.empty else int((runs["model_weights"] != weights).sum())
        if strange:
            runs = runs[runs["model_weights"] == weights]
        if task is not None:
            runs = runs[runs["task"] == task]
        if like is not None and len(runs):
            runs = runs[[_told(record.spec) == _told(like.settings()) for record in runs["record"]]]
        runs = runs if runs.empty else _with_whole(runs)
        if runs.empty:
            return Measured(nothing, metric or "", "", len(ours), strange)
        runs, apart = _largest_study(runs)
        runs = without_repeats(runs)
        metric = _checked(metric, runs["record"].iloc[0])
        summary = _summary(runs, metric, results)
    protocol = _in_words(runs.iloc[0], apart)
    machines = name_machines(runs["record"])
    return Measured(summary[MEASURED_COLUMNS], metric, protocol, len(ours) - len(runs), strange, machines)


def best_runs(store: Where = None) -> pd.DataFrame:
    """Return what a store holds, one row a model, task, method and layers, in words.

    Columns: ``model, task, method, layers, runs`` (finished), ``highest on validation`` (the method and rank of the
    highest score there), ``metric`` and ``test score`` (its own, which chose nothing). Empty where the store is not
    there, which does not make it, or has no finished run.
    """
    columns = ["model", "task", "method", "layers", "runs", "highest on validation", "metric", "test score"]
    if not _is_there(store):
        return pd.DataFrame(columns=columns)
    with open_store(store) as results:
        table = results.table()
    finished = table[(table["status"] == "finished") & table["validation"].notna()]
    finished = finished.assign(family=[family_name({"name": name}) for name in finished["method"]])
    finished = finished if finished.empty else _with_apart(finished)
    rows = []
    for (model, task, family, targets), own in finished.groupby(["model", "task", "family", "targets"], sort=True):
        best = own.sort_values("validation", kind="stable").iloc[-1]
        where = layers_in_words(str(targets))
        rows.append((model, task, family, where, len(own), best["label"], best["metric"], best["test"]))
    return pd.DataFrame(rows, columns=columns)


def store_sentence(runs: pd.DataFrame) -> str:
    """Return what :func:`best_runs` shows in a sentence of Markdown."""
    if runs.empty:
        return (
            "**Nothing has been measured here yet.** The explorer of ranks needs no run; for a first score, take about "
            "five minutes for `vxlab report 01_fine_tune`."
        )
    counts = {"run": int(runs["runs"].sum())} | {name: runs[name].nunique() for name in ("model", "task", "method")}
    told = [number_of(number, name) for name, number in counts.items()]
    return f"The store holds **{told[0]}** that finished, of {told[1]} on {told[2]} by {told[3]}."


def is_usual(settings: dict[str, Any]) -> bool:
    """Say whether a method's settings are those it comes with, but for the rank, α and seeds.

    PEFT's methods have no usual settings: each is one of its own.

    >>> is_usual({"name": "vera", "rank": 64, "seed": 1000}), is_usual({"name": "vera", "rank": 64, "vectors": "d"})
    (True, False)
    """
    if settings["name"] not in METHODS:
        return True
    known = {field.name for field in dataclasses.fields(METHODS[settings["name"]])}
    usual = json.loads(json.dumps(usual_settings(settings)))
    fixed = {name: value for name, value in settings.items() if name not in {"name", *_FREE}}
    return all(name in known and usual.get(name, value) == value for name, value in fixed.items())


def _with_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Add to the names of models and methods what they do not tell: weights, data, precision and versions."""
    computed = ["precision", "versions"]
    bases = table.groupby(["model", "quantisation", "task", "family", "targets"], dropna=False)
    several = bases[computed].transform("nunique") > 1
    shown = table[computed].where(several, "")
    return table.assign(
        family=_joined(table["family"], *(shown[name] for name in computed)),
        model=_joined(_with_quantisation(table), name_weights_and_data(table)),
    )


def _with_quantisation(table: pd.DataFrame) -> "pd.Series[str]":
    return table["model"].where(table["quantisation"].isna(), table["model"] + " in " + table["quantisation"])


def _joined(*columns: Iterable[str]) -> list[str]:
    return [", ".join(filter(None, each)) for each in zip(*columns, strict=True)]


def _is_there(store: Where) -> bool:
    return isinstance(store, Store) or is_there(store)


def _plain_runs(table: pd.DataFrame, results: Store) -> pd.DataFrame:
    """Return the runs of usual methods with their records, candidates and protocols."""
    found: list[Any] = [results.record(key) for key in table["key"]]
    known = [record is not None and is_usual(record.spec["method"]) for record in found]
    records = [record for record, keep in zip(found, known, strict=True) if keep]
    runs = table[known]
    labels = [_label(record.spec["method"]) for record in records]
    own = [list_versions(own_identity(record.identity)) for record in records]
    several = pd.Series(own, dtype=object).groupby(labels).transform("nunique") > 1
    labels = [f"{name}, {each}" if more else name for name, each, more in zip(labels, own, several, strict=True)]
    return runs.assign(
        record=records,
        family=[family_name(record.spec["method"]) for record in records],
        label=labels,
        candidate=[f"{name}, {targets}" for name, targets in zip(labels, runs["targets"], strict=True)],
        protocol=[_protocol(record) for record in records],
        computed_by=[list_versions(_computed_by(record)) for record in records],
        model_weights=[record.identity.get("model", "") for record in records],
    )


def _with_whole(runs: pd.DataFrame) -> pd.DataFrame:
    """Leave out the candidates of which no run took all its steps."""
    whole = (runs["ends_after"] == 1).groupby([runs["protocol"], runs["candidate"]])
    return runs[whole.transform("any")]


def _label(settings: dict[str, Any]) -> str:
    """Name a method and its rank; of LiDB, whose bases' sizes are its usual ones, no more."""
    return method_label(
        {"name": settings["name"], "rank": settings["rank"]} if settings["name"] == "lidb" else settings
    )


def _protocol(record: RunRecord) -> str:
    told = _told(record.spec)
    return json.dumps(told | {"identity": shared_identity(record.identity)} | _computed_by(record), sort_keys=True)


def _told(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a run was told that all runs under its protocol were."""
    return {name: value for name, value in settings.items() if name not in _OWN}


def _computed_by(record: RunRecord) -> dict[str, str]:
    """Return what computed a run's scores, beside its method's own libraries."""
    libraries = {name: record.versions[name] for name in ("torch", "transformers") if name in record.versions}
    return shared_versions(record.identity) | libraries | {"on": device_of(record)}


def _largest_study(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the runs under the protocol with the most candidates, of several the one that ran last.

    With them comes what tells them apart from others that their names do not.
    """
    studies = runs.groupby("protocol").agg(candidates=("candidate", "nunique"), last=("finished_at", "max"))
    largest = studies.sort_values(["candidates", "last"]).index[-1]
    same: pd.DataFrame = runs[runs["protocol"] == largest]
    first = same.iloc[0]
    alike = runs[runs["task"] == first["task"]]
    computed = [str(first[name]) for name in ("precision", "computed_by") if alike[name].nunique() > 1]
    told = filter(None, [name_weights_and_data(runs)[same.index[0]], *computed])
    return same.reset_index(drop=True), ", ".join(told)


def _checked(metric: str | None, record: RunRecord) -> str:
    known = record.task["metrics"]
    if metric is not None and metric not in known:
        raise VxlabError(f"metric={metric!r} was not scored on {record.task['name']}; choose one of {', '.join(known)}")
    return str(metric or known[0])


def _summary(runs: pd.DataFrame, metric: str, results: Store) -> pd.DataFrame:
    """Return a row a candidate, of its reported runs."""
    scored = runs.assign(method=runs["family"], test=[record.score(metric) for record in runs["record"]])
    staged, tuning = with_stages(scored)
    reports = staged[staged["stage"] == "report"].groupby("candidate", sort=False)
    # Where all of a candidate's runs diverged, no rate is chosen, and that of its first is told.
    first = reports[["family", "label", "learning_rate"]].first()
    summary = summary_table(staged, tuning).drop(columns="learning_rate").join(first, on="candidate")
    bounds = _intervals(staged[staged["stage"] == "report"], metric, results)
    summary[["low", "high"]] = [bounds.get(name, (math.nan, math.nan)) for name in summary["candidate"]]
    return summary.assign(front=pareto_front(summary))


def _intervals(reports: pd.DataFrame, metric: str, results: Store) -> dict[str, tuple[float, float]]:
    """Return the candidates' 95 % intervals: of several runs over items and seeds, of one over items alone.

    Of a candidate without a finished run there is none, nor of several that predicted other items than the first.
    """
    finished = reports[reports["test"].notna()]
    runs: dict[str, dict[int | tuple[int, int], Array]] = {}
    alone: dict[str, tuple[float, float]] = {}
    several = finished.groupby("candidate", sort=False)["key"].transform("size") > 1
    labels: Array | None = None
    for row, luck, more in zip(finished.itertuples(), lucks_of(finished), several, strict=True):
        record: Any = row.record
        logits, truth = (tensor.numpy() for tensor in results.predictions(record.key))
        labels = truth if labels is None else labels
        if not more:
            alone[str(row.candidate)] = interval(metric, logits, truth, units=record.units())
        elif np.array_equal(labels, truth):
            runs.setdefault(str(row.candidate), {})[luck] = logits
    if labels is None or len(labels) < 2 or not runs:
        return alone
    known = finished[finished["candidate"].isin(runs)]
    records = dict(zip(known["key"], known["record"], strict=True))
    units = known["record"].iloc[0].units()
    return alone | score_intervals(runs, labels, metric, units=units, drawn=drawn_shares(known, records))


def _in_words(run: "pd.Series[Any]", apart: str) -> str:
    examples = "all" if pd.isna(run["train_examples"]) else f"{run['train_examples']:,}"
    trained = f"{examples} training examples" if pd.isna(run["shots"]) else f"{number_of(run['shots'], 'shot')} a class"
    epochs = "" if pd.isna(run["epochs"]) else number_of(run["epochs"], "epoch")  # a probe has none
    base = "" if pd.isna(run["quantisation"]) else f"base in {run['quantisation']}"
    return f"{run['task']} ({', '.join([trained, *filter(None, [epochs, base, apart])])})"
