"""What the atlas measured of a model, where the user's own store has measured nothing: never pooled with own runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, layers_in_words
from vxlab.experiments.assets import cache
from vxlab.experiments.atlas import atlas, atlas_files
from vxlab.experiments.models import model_fingerprint
from vxlab.experiments.provenance import name_machines, weights_of
from vxlab.experiments.scoring import interval
from vxlab.experiments.store import ENDED, Store, Where, is_there, open_store
from vxlab.experiments.sweeps import Measured, SweepTables, stored_candidates, stored_sweeps
from vxlab.paths import cache_folder
from vxlab.warn import warn_once
from vxlab.words import number_of, with_minus

_OVERVIEW = ["task", "runs", "methods", "highest on validation", "layers", "metric", "test score"]


class AtlasSweeps(NamedTuple):
    """The atlas's sweeps of the models that are on this machine."""

    sweeps: list[SweepTables]
    left_out: list[str]
    """models of the atlas that are not here, or are here with other weights"""


def measured_candidates(
    store: Where, model: str | None, *, task: str | None = None, metric: str | None = None, weights: str | None = None
) -> Measured:
    """Return a model's candidates in the user's own store or, where that has none of it, in the atlas.

    The atlas's are of runs on the same weights, whatever the model is called there, and are marked by their ``origin``.
    Own runs and the atlas's are never in one table. Of the atlas's tasks the usual one comes first.

    Args:
        store: the user's own, as :func:`vxlab.run` takes it.
        model: as :func:`vxlab.experiments.sweeps.stored_scores.stored_candidates`.
        task: whose runs alone count; None takes any.
        metric: as there.
        weights: the fingerprint of the model's weights as they are now; None shows nothing of the atlas.

    Raises:
        VxlabError: the metric was not scored on the task.
    """
    own = stored_candidates(store, model, task=task, metric=metric, weights=weights)
    if is_atlas(store):
        return own._replace(origin=_origin(own.machines))
    if len(own.table) or weights is None:
        return own
    with _opened() as results:
        found = None if results is None else _candidates_of_atlas(results, task, metric, weights)
    if found is None or found.table.empty:
        return own
    return found._replace(elsewhere=own.elsewhere, origin=_origin(found.machines))


def atlas_sweeps() -> AtlasSweeps:
    """Return the atlas's sweeps of models that have the same weights on this machine; nothing is fetched to know them.

    Each is marked in its name, its notes and its ``origin``.
    """
    with _opened() as results:
        if results is None:
            return AtlasSweeps([], [])
        table = results.table()
        here = {name: weights_of({"model": _fingerprint_here(name)}) for name in table["model"].unique()}
        same = table["weights"] == table["model"].map(here)
        sweeps = stored_sweeps(results, table.loc[same, "key"])
    shown = set(table.loc[same, "model"])
    return AtlasSweeps(mark_sweeps(sweeps), [name for name in here if name not in shown])


def mark_sweeps(sweeps: list[SweepTables]) -> list[SweepTables]:
    """Return sweeps with the atlas named as where they are from."""
    return [
        sweep._replace(name=f"{sweep.name} (atlas)", origin=_origin(name_machines(sweep.records.values())))
        for sweep in sweeps
    ]


def is_atlas(store: Any) -> bool:
    """Say whether a store is the atlas, as :func:`vxlab.atlas` gives it."""
    return isinstance(store, Store) and store.read_only and Path(store.name).parent == cache_folder() / "atlas"


def atlas_overview(model: str, store: Where = None) -> pd.DataFrame:
    """Return what the atlas measured of a model, one row a task; empty where the user's own store has runs of it.

    Columns: ``task, runs`` (finished, with all their steps), ``methods``, ``highest on validation`` (the method and
    rank of the highest score there), ``layers, metric`` and ``test score`` (its own, which chose nothing, with its 95 %
    interval over test items). ``attrs["machines"]`` says what they ran on.

    Args:
        model: packaged name, hub id or folder.
        store: the user's own, as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: as :func:`vxlab.load_model`.
    """
    nothing = pd.DataFrame(columns=_OVERVIEW)
    if _has_runs(store, model):
        return nothing
    with _opened() as results:
        if results is None:
            return nothing
        runs = _runs_on(results, model_fingerprint(model))
        runs = runs[(runs["status"] == "finished") & runs["validation"].notna() & runs["quantisation"].isna()]
        if runs.empty:
            return nothing
        best = runs.sort_values("validation", kind="stable").groupby("task", sort=True).tail(1)
        records = {key: record for key in best["key"] if (record := results.record(key))}
        told = {key: _tested(record, results) for key, record in records.items()}
        machines = name_machines(records.values())
    counts = runs.groupby("task").agg(runs=("key", "size"), methods=("method", "nunique"))
    shown = {"test score": best["key"].map(told), "targets": best["targets"].map(layers_in_words)}
    table = best.assign(**shown).sort_values("task").join(counts, on="task")
    table = table.rename(columns={"label": "highest on validation", "targets": "layers"})[_OVERVIEW]
    table.attrs["machines"] = machines
    return table.reset_index(drop=True)


def atlas_sentence(overview: pd.DataFrame, model: str) -> str:
    """Return what :func:`atlas_overview` shows in a sentence of Markdown; "" where it shows nothing."""
    if overview.empty:
        return ""
    runs, tasks = number_of(int(overview["runs"].sum()), "run"), number_of(len(overview), "task")
    return (
        f"Of `{model}`, of which this store has no run, the **atlas** has {runs} on {tasks}, on "
        f"the same weights, measured on {overview.attrs['machines']}. Your own machine and versions may score "
        "otherwise; as soon as you have runs of this model, these are shown in their place."
    )


def _candidates_of_atlas(results: Store, task: str | None, metric: str | None, weights: str) -> Measured | None:
    runs = _runs_on(results, weights)
    wanted = task or (RunSpec.task if RunSpec.task in set(runs["task"]) else None)
    runs = runs if wanted is None else runs[runs["task"] == wanted]
    if runs.empty:
        return None
    name = str(runs["model"].value_counts().index[0])
    return stored_candidates(results, name, metric=metric, weights=weights, keys=runs["key"])


@contextlib.contextmanager
def _opened() -> Iterator[Store | None]:
    """Give the atlas, None where there is none; where it cannot be read, what was not asked for fails nothing."""
    results = None
    if atlas_files():
        try:
            results = atlas()
        except VxlabError as error:
            warn_once(f"the atlas is not shown: {error}")
    try:
        yield results
    finally:
        if results is not None:
            results.close()


def _runs_on(results: Store, weights: str) -> pd.DataFrame:
    """Return the atlas's runs that ended, on these weights."""
    table = results.table()
    return table[(table["weights"] == weights_of({"model": weights})) & table["status"].isin(ENDED)]


def _has_runs(store: Where, model: str) -> bool:
    if not isinstance(store, Store) and not is_there(store):
        return False
    with open_store(store) as results:
        table = results.table()
    return bool(((table["model"] == model) & table["status"].isin(ENDED)).any())


def _fingerprint_here(model: str) -> str:
    """Return the fingerprint of a model whose files are on this machine, "" of any other."""
    packaged = {row["name"]: row["here"] for row in cache.status()}
    if not packaged.get(model, Path(model).expanduser().is_dir()):
        return ""
    try:
        return model_fingerprint(model)
    except VxlabError:  # a folder of that name that holds no such model
        return ""


def _origin(machines: str) -> str:
    return f"of the atlas, measured on {machines}" if machines else "of the atlas"


def _tested(record: Any, results: Store) -> str:
    """Return a run's test score with its interval over items."""
    metric = str(record.task["metrics"][0])
    logits, labels = (tensor.numpy() for tensor in results.predictions(record.key))
    low, high = interval(metric, logits, labels, units=record.units())
    return with_minus(f"{record.score():.3f} ({low:.3f} to {high:.3f})")
