"""The sweeps that a store holds: its runs of one task and model, in a comparison's tables."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.adapters.core import METHODS
from vxlab.experiments import (
    RunRecord,
    RunSpec,
    family_name,
    layers,
    layers_in_words,
    method_label,
    rank_of,
    tell_apart,
    usual_settings,
)
from vxlab.experiments.candidates import HeldOut, Pair, held_out_of
from vxlab.experiments.provenance import base_in_words, describe_mixture, name_weights_and_data, versions_of
from vxlab.experiments.store import ENDED, Store, without_repeats
from vxlab.experiments.sweeps.comparison import Comparison, compare_reports, summary_table
from vxlab.experiments.sweeps.draws import draw_notes
from vxlab.experiments.sweeps.tuning import with_stages
from vxlab.paths import without_folders
from vxlab.words import list_in_words

_NO_SETTING = (
    "learning_rate", "head_learning_rate", "seed", "draw", "ends_after", "device", "model", "task", "task_folder",
    "method",
)  # fmt: skip
_SHARED = ("epochs", "batch_size", "train_examples", "shots")
_SHARED_WRITING = ("chat_template", "max_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size")
"""Fields that decide the scores of all runs in which a model writes."""


class SweepTables(NamedTuple):
    """Runs of one task and model, and what they showed."""

    name: str
    """task and model"""
    task: str
    metric: str
    held_out: HeldOut
    """the test split, and the trivial answer's score on it"""
    runs: pd.DataFrame
    """one row a run: the store's columns, with ``candidate`` and ``stage`` (tuning or report)"""
    tuning: pd.DataFrame
    summary: pd.DataFrame
    pairs: pd.DataFrame
    records: Mapping[str, RunRecord]
    """of the runs that ended, by key"""
    notes: tuple[str, ...] = ()
    """what a reader must be warned of"""
    origin: str = ""
    """whose the runs are and where they were made, in words; "" of the user's own"""


def tables_of(result: Comparison) -> SweepTables:
    """Return a comparison's tables, with the records that it has, or else those that lie on this machine."""
    runs = result.runs
    folders = {} if result.records else dict(zip(runs["key"], runs["folder"], strict=True))
    found = {key: record for key, folder in folders.items() if (record := RunRecord.load(Path(folder)))}
    records = result.records or found
    task = str(runs["task"].iloc[0])
    return SweepTables(
        _named(runs), task, result.metric, result.held_out, runs, result.tuning, result.summary, result.pairs,
        records,
        (*describe_mixture(records.values()), *_of_draws(runs, records), *filter(None, [result.held_out.doubt])),
    )  # fmt: skip


def stored_sweeps(results: Store, keys: Iterable[str] | None = None) -> list[SweepTables]:
    """Return a store's sweeps, one for each task, model and test split, the one with most runs first.

    Runs on other weights or data under the same name are sweeps of their own, and runs at another precision or by other
    versions are candidates of their own: no score is of a mixture.

    A candidate is a method with all its settings, on its targets, at a number of shots; runs that differ in their draw
    of the shots are of one. Where it ran at several learning rates, the seeds (and draws) that ran at more than one of
    them are its tuning runs, and validation chooses; its others at the chosen rate are the reported ones, or all there
    where there are no others. Runs of which no record is left (failed, running)
    count by their label.

    Args:
        results: the store.
        keys: of the runs wanted; None takes all.

    Returns:
        One a group of runs of which at least one ended; others are not shown.
    """
    table = results.table(keys)
    ended = table.loc[table["status"].isin(ENDED), "key"]
    records = {key: record for key in ended if (record := results.record(key))}
    table["items"] = [records[key].task["rows"].get("test", 0) if key in records else 0 for key in table["key"]]
    # Of an atlas's runs no folder is known: what lies in folders of one name is told apart by its content, where the
    # runs have that written down, and by the folders where they do not.
    known = (table["data"] != "") & (table["weights"] != "")
    named = [table[name].map(without_folders).where(known, table[name]) for name in ("task", "model")]
    table["apart"] = name_weights_and_data(table.assign(task=named[0], model=named[1]))
    sweeps = []
    for (*_, apart), own in table.groupby([*named, "quantisation", "apart"], sort=False, dropna=False):
        sizes = sorted(set(own["items"]) - {0})
        for items in sizes:
            rows = own[own["items"].isin([items, 0] if items == sizes[0] else [items])]
            several = f", {items:,} test items" if len(sizes) > 1 else ""
            name = _named(own) + (f", {apart}" if apart else "") + several
            sweeps.append(_sweep(name, rows, records, results))
    return _with_own_names(sorted(sweeps, key=lambda sweep: -len(sweep.runs)))


def _of_draws(runs: pd.DataFrame, records: Mapping[str, RunRecord]) -> list[str]:
    return draw_notes(runs[(runs["stage"] == "report") & (runs["status"] == "finished")], records)


def _with_own_names(sweeps: list[SweepTables]) -> list[SweepTables]:
    """Number the sweeps of one name, which folders of one name have, where their content is the same."""
    seen: Counter[str] = Counter()
    told = []
    for sweep in sweeps:
        seen[sweep.name] += 1
        again = f" ({seen[sweep.name]})" if seen[sweep.name] > 1 else ""
        told.append(sweep._replace(name=sweep.name + again))
    return told


def _named(runs: pd.DataFrame) -> str:
    first = runs.iloc[0]
    return f"{Path(first['task']).name}, {base_in_words(first.to_dict())}"


def _sweep(name: str, rows: pd.DataFrame, records: Mapping[str, RunRecord], results: Store) -> SweepTables:
    own = {key: records[key] for key in rows["key"] if key in records}
    metric = str(next(iter(own.values())).task["metrics"][0])
    runs = _with_candidates(rows, own)
    done = runs[runs["status"].isin([*ENDED, "failed"])]
    staged, tuning = with_stages(done)
    drawn = staged.groupby("candidate")["draw"].nunique()
    untrained = {name for key, name in zip(runs["key"], runs["candidate"], strict=True) if _is_fixed(own.get(key))}
    fixed = {name for name in untrained if drawn.get(name, 0) < 2}
    summary, pairs, held_out, doubts = _compared(staged, summary_table(staged, tuning, fixed), metric, own, results)
    unended = runs[~runs["key"].isin(staged["key"])].assign(stage="")
    every = pd.concat([staged, unended]).reset_index(drop=True) if len(unended) else staged.reset_index(drop=True)
    notes = (
        *_unlike(done, own.values()), *describe_mixture(own.values()), *_reused(staged), *_of_draws(staged, own),
        *doubts,
    )  # fmt: skip
    return SweepTables(name, str(rows["task"].iloc[0]), metric, held_out, every, tuning, summary, pairs, own, notes)


def _with_candidates(rows: pd.DataFrame, records: Mapping[str, RunRecord]) -> pd.DataFrame:
    """Add ``candidate``, and ``method`` as shown, with the settings that tell apart what one label would hide."""
    described = {key: _settings(record) for key, record in records.items()}
    apart = _differing(described.values())
    names, methods = [], []
    for key, said, method in zip(rows["key"], rows["label"], rows["method"], strict=True):
        settings, differing = described.get(key, {}), apart.get(method, set())
        several = len(differing - {"targets"}) > 1  # which would hide what is unusual
        usual = {name: _text(value) for name, value in usual_settings({"name": method}).items()} if several else {}
        told = [f"{name}={value}" for name, value in settings.items()
                if name in differing - {"targets"} and value != usual.get(name)]  # fmt: skip
        places = [layers_in_words(settings["targets"])] if settings and "targets" in differing else []
        ranks = records[key].spec["method"].get("rank") if key in records else None
        methods.append(", ".join([family_name({"name": method, "rank": ranks}), *told]))
        names.append(", ".join([said, *told, *places]))
    return without_repeats(rows.assign(candidate=names, method=methods))


def _settings(record: RunRecord) -> dict[str, str]:
    """Return all that makes a candidate, as text: settings of the method and of the run, without rates and seed.

    Numbers at another precision, or by another version of what computes them, are another candidate's.
    """
    spec, identity, asked = record.spec, record.identity, str(record.spec.get("precision", "auto"))
    plain = {name: value for name, value in spec.items() if name not in _NO_SETTING}
    own = {**plain, **spec["method"], "label": method_label(spec["method"]), "rank": rank_of(spec["method"])}
    took = f" ({identity['precision']})" if asked == "auto" and "precision" in identity else ""
    own |= versions_of(identity) | {"precision": asked + took}
    own["targets"] = layers(spec["method"], spec.get("targets", ()))
    return {name: _text(value) for name, value in own.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _differing(described: Iterable[Mapping[str, str]]) -> dict[str, set[str]]:
    """Return for each method the settings in which candidates of one label differ."""
    by_label: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for settings in described:
        by_label.setdefault((settings["name"], settings["label"]), []).append(settings)
    differing: dict[str, set[str]] = {}
    for (name, _), same in by_label.items():
        differing.setdefault(name, set()).update(tell_apart(same))
    return differing


def _is_fixed(record: RunRecord | None) -> bool:
    """Say whether a run's method holds no luck of training."""
    kind = METHODS.get(record.spec["method"]["name"]) if record else None
    return kind is not None and not kind.by_gradient


def _compared(
    staged: pd.DataFrame, summary: pd.DataFrame, metric: str, records: Mapping[str, RunRecord], results: Store
) -> tuple[pd.DataFrame, pd.DataFrame, HeldOut, tuple[str, ...]]:
    """Compare the candidates that predicted the same test items with the trivial answer, and every two of them."""
    reports = staged[(staged["stage"] == "report") & (staged["status"] == "finished")]
    if len(reports) and (found := compare_reports(summary, reports, records, metric, results)):
        return *found, tuple(filter(None, [found[2].doubt]))
    first = next(iter(records.values()))
    untested, none = summary.assign(p_trivial=np.nan, above=False), pd.DataFrame(columns=list(Pair._fields))
    doubts = ("No verdicts: the runs were tested on different data.",) if len(reports) else ()
    return untested, none, held_out_of(first, metric, int(first.task["rows"].get("test", 0)), None), doubts


def _unlike(runs: pd.DataFrame, records: Iterable[RunRecord]) -> tuple[str, ...]:
    values = {name: sorted(map(str, runs[name].dropna().unique())) for name in _SHARED}
    specs = [record.spec for record in records]
    for name in _SHARED_WRITING:  # a spec has them only where they are not the default
        values[name] = sorted({str(spec.get(name, getattr(RunSpec, name))) for spec in specs})
    told = [f"{name.replace('_', ' ')} {list_in_words(each)}" for name, each in values.items() if len(each) > 1]
    return (f"Not like with like: these runs differ in {'; '.join(told)}.",) if told else ()


def _reused(staged: pd.DataFrame) -> tuple[str, ...]:
    """Warn where the runs that chose a rate are those that are reported."""
    tried = staged.groupby("candidate")["learning_rate"].nunique()
    lucks = staged.assign(luck=staged[["draw", "seed"]].fillna(0).apply(tuple, axis="columns"))
    seeds = lucks[lucks["stage"] == "tuning"].groupby("candidate")["luck"].agg(set)
    reports = lucks[lucks["stage"] == "report"].groupby("candidate")["luck"].agg(set)
    again = [name for name in seeds.index if tried[name] > 1 and name in reports and reports[name] & seeds[name]]
    few = [*again[:3], *([f"{len(again) - 3} more"] if len(again) > 3 else [])]
    return (f"Reported runs also chose the rate, which flatters: {list_in_words(few)}.",) if again else ()
