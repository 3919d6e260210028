"""Sweeps of one model on several tasks, laid beside each other."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.adapters import Base
from vxlab.checks import require_known
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, family_name, rank_of
from vxlab.experiments.candidates import unit_of_difference
from vxlab.experiments.provenance import base_in_words, weights_of
from vxlab.experiments.scoring import UNBOUNDED, in_words
from vxlab.experiments.sweeps import SweepTables
from vxlab.experiments.tasks.rows import SUFFIXES
from vxlab.studies.atlas.same_candidates import TaskCandidate, comparable_candidates, labels_over_tasks

_POINTS = 100
SCORE_COLUMNS = [
    "task", "candidate", "family", "rank", "targets", "backbone", "mean", "validation", "n", "diverged", "variance",
    "learning_rate", "edge", "step", "fixed",
]  # fmt: skip
PAIR_COLUMNS = ["task", "a", "b", "difference", "error", "freedom", "seen"]


class AcrossTasks(NamedTuple):
    """What one model's candidates scored on several tasks whose scores can be pooled."""

    name: str
    """the model, and of what metric where that has no bounds"""
    model: str
    unit: str
    """of every score and difference: points, hundredths of the task's first metric; or that metric's own"""
    tasks: pd.DataFrame
    """one row a task: ``task``, ``metric``, ``trivial``, ``items``, ``candidates``, ``pairs``, ``apart`` (pairs told
    apart on it, after Holm), ``reports``, ``lost`` (of them), ``hours`` (of training, tuning included)"""
    scores: pd.DataFrame
    """one row a task and candidate: :data:`SCORE_COLUMNS`; ``variance`` is of one run over its seeds,
    ``step`` the ratio of two neighbours of the learning rates tried, NaN of one rate"""
    pairs: pd.DataFrame
    """one row a task and pair of candidates, the earlier first: :data:`PAIR_COLUMNS`"""
    left_out: pd.DataFrame
    """what is in none of this: ``task``, ``what`` and ``why``"""
    notes: tuple[str, ...] = ()
    """what a reader of single tasks must be warned of"""
    records: Mapping[str, RunRecord] = MappingProxyType({})
    """of the reported runs, by key"""

    @property
    def candidates(self) -> list[str]:
        """All candidates, in the order of their first appearance."""
        return list(dict.fromkeys(self.scores["candidate"]))

    def row(self, candidate: str) -> dict[str, Any]:
        """Return what a candidate is: ``family``, ``rank``, ``targets`` and ``backbone``."""
        first = self.scores[self.scores["candidate"] == candidate].iloc[0]
        return {name: first[name] for name in ("family", "rank", "targets", "backbone")}


def across_tasks(sweeps: Iterable[SweepTables]) -> list[AcrossTasks]:
    """Lay sweeps beside each other that are of one model's weights and of metrics that can be pooled.

    A candidate is the same on two tasks where its method has the same settings on the same layers. On one task only
    candidates with the same other settings (epochs, rows, length, precision, …) are comparable: those that most of the
    task's candidates have. Left out, with why: candidates with other ones, or that no run of finished; a second sweep
    of a task, on other data or test rows; a task on which a difference says nothing of the candidates, as none is shown
    to beat the trivial answer, or, where the untuned base is among them, that base; pairs whose intervals do not allow
    for other training seeds.

    Metrics between 0 and 1, and correlations, are pooled in points, hundredths of the task's first metric; a metric
    without bounds, such as the log-likelihood, with itself alone.

    Args:
        sweeps: from :func:`vxlab.experiments.sweeps.stored_sweeps`, those with the most runs first.

    Returns:
        One a model and kind of metric, the one with the most tasks first; none of one without a reported run.
    """
    groups: dict[tuple[str, str], list[SweepTables]] = {}
    for sweep in sweeps:
        if sweep.records:
            first = next(iter(sweep.records.values()))
            kind = sweep.metric if sweep.metric in UNBOUNDED else ""
            groups.setdefault((weights_of(first.identity) or base_in_words(first.spec), kind), []).append(sweep)
    gathered = (_gather(several) for several in groups.values())
    found = sorted((each for each in gathered if each is not None), key=lambda each: -len(each.tasks))
    seen: Counter[str] = Counter()
    for i, each in enumerate(found):  # other weights under the same name
        seen[each.name] += 1
        found[i] = each if seen[each.name] == 1 else each._replace(name=f"{each.name} ({seen[each.name]})")
    return found


def choose_model(groups: Sequence[AcrossTasks], name: str | None = None) -> AcrossTasks:
    """Return the tasks of one model, by default of the one with the most.

    Args:
        groups: from :func:`across_tasks`.
        name: of one of them.

    Raises:
        VxlabError: there is none, or none of this name.
    """
    if not groups:
        raise VxlabError(
            "the store holds no reported run that finished, of a task that a candidate is shown to learn; train a fair "
            "sweep, or for longer, or name another store"
        )
    by_name = {each.name: each for each in groups}
    if name is not None:
        require_known([name], by_name, "model: there are no runs of", "there are")
    return groups[0] if name is None else by_name[name]


def _gather(sweeps: Sequence[SweepTables]) -> AcrossTasks | None:
    left_out: list[tuple[str, str, str]] = []
    by_task: dict[str, SweepTables] = {}
    for sweep in sweeps:
        if sweep.task in by_task:
            left_out.append((sweep.name, "the whole sweep", f"{by_task[sweep.task].name} is of the same task"))
        else:
            by_task[sweep.task] = sweep
    names = _task_names(by_task)
    chosen = {task: comparable_candidates(names[task], sweep, left_out) for task, sweep in by_task.items()}
    unfit = {task: why for task, ones in chosen.items() if (why := _unfit(ones, by_task[task]))}
    left_out += [(names[task], "the whole task", why) for task, why in unfit.items()]
    chosen = {task: ones for task, ones in chosen.items() if task not in unfit}
    if not chosen:
        return None
    labels = labels_over_tasks([one for ones in chosen.values() for one in ones])
    tables = [_tables(names[task], by_task[task], ones, labels, left_out) for task, ones in chosen.items()]
    tasks, scores, pairs = (
        pd.concat([each[i] for each in tables], ignore_index=True) for i in range(3)
    )  # fmt: skip
    first = next(iter(by_task.values()))
    bounded = first.metric not in UNBOUNDED
    model = base_in_words(next(iter(first.records.values())).spec)
    name = model if bounded else f"{model}, {in_words(first.metric)}"
    unit = "points" if bounded else unit_of_difference(first.metric) or in_words(first.metric)
    told = pd.DataFrame(left_out, columns=["task", "what", "why"])
    notes = tuple(f"{names[task]}: {note}" for task, sweep in by_task.items() for note in sweep.notes)
    records = {key: record for task, ones in chosen.items() for key, record in _reported(by_task[task], ones)}
    return AcrossTasks(name, model, unit, tasks, scores, pairs, told, notes, records)


def _unfit(ones: Sequence[TaskCandidate], sweep: SweepTables) -> str:
    """Return why a task says nothing of its candidates, or "": where none learned anything, none is better."""
    if not ones:
        return "nothing of it is reported yet"
    if sweep.summary["p_trivial"].notna().any() and not sweep.summary["above"].any():
        return "no candidate is shown to beat its trivial answer"
    untuned = [one.own_name for one in ones if one.method["name"] == Base.name]
    beside = sweep.pairs[(sweep.pairs["a"].isin(untuned) | sweep.pairs["b"].isin(untuned)) & sweep.pairs["p"].notna()]
    gains = np.where(beside["a"].isin(untuned), -1, 1) * beside["difference"]
    none_gains = len(beside) and not (gains[beside["seen"].astype(bool)] > 0).any()
    return "no candidate is shown to gain on the untuned base" if none_gains else ""


def _task_names(tasks: Iterable[str]) -> dict[str, str]:
    """Return what each task is called: a folder or file by its last part, where no other has that."""
    short = {task: Path(task).stem if Path(task).suffix in SUFFIXES else Path(task).name for task in tasks}
    counts = Counter(short.values())
    return {task: name if counts[name] == 1 else task for task, name in short.items()}


def _reported(sweep: SweepTables, ones: Sequence[TaskCandidate]) -> Iterator[tuple[str, RunRecord]]:
    names = {one.own_name for one in ones}
    own = sweep.runs[(sweep.runs["stage"] == "report") & sweep.runs["candidate"].isin(names)]
    yield from ((key, sweep.records[key]) for key in own["key"] if key in sweep.records)


def _tables(
    task: str,
    sweep: SweepTables,
    ones: Sequence[TaskCandidate],
    labels: Mapping[str, str],
    left_out: list[tuple[str, str, str]],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return a task's row, its scores and its pairs, under the candidates' common names."""
    unit = 1 if sweep.metric in UNBOUNDED else _POINTS
    order = {one.own_name: labels[one.identity] for one in ones}
    rows = {row["candidate"]: row for row in sweep.summary.to_dict("records")}
    reports = sweep.runs[(sweep.runs["stage"] == "report") & (sweep.runs["status"] == "finished")]
    validation = reports.groupby("candidate")["validation"].mean()
    steps = {str(name): _step(own["learning_rate"]) for name, own in sweep.tuning.groupby("candidate")}
    scores = pd.DataFrame(
        [_score(task, one, labels[one.identity], rows[one.own_name], validation, unit) for one in ones],
        columns=SCORE_COLUMNS,
    ).astype({"rank": "Int64", "backbone": "Int64"})
    scores["step"] = [steps.get(one.own_name, math.nan) for one in ones]
    pairs = _pairs(task, sweep.pairs, order, unit, left_out)
    own = sweep.runs[sweep.runs["candidate"].isin(order)]
    lost = int(scores["diverged"].sum())
    told = {
        "task": task, "metric": sweep.metric, "trivial": sweep.held_out.trivial, "items": sweep.held_out.items,
        "candidates": len(scores), "pairs": len(pairs), "apart": int(pairs["seen"].sum()),
        "reports": int(scores["n"].sum()) + lost, "lost": lost, "hours": float(own["train_seconds"].sum()) / 3600,
    }  # fmt: skip
    return pd.DataFrame([told]), scores, pairs


def _score(
    task: str, one: TaskCandidate, label: str, row: Mapping[Any, Any], validation: "pd.Series[float]", unit: int
) -> dict[str, Any]:
    deviation = row["sd"] if not row["fixed"] else 0.0
    return {
        "task": task, "candidate": label, "family": family_name(one.method), "rank": rank_of(one.method),
        "targets": one.targets, "backbone": row["backbone"], "mean": unit * row["mean"],
        "validation": unit * float(validation.get(one.own_name, math.nan)), "n": int(row["n"]),
        "diverged": int(row["diverged"]), "variance": (unit * deviation) ** 2, "learning_rate": row["learning_rate"],
        "edge": row["edge"], "fixed": bool(row["fixed"]),
    }  # fmt: skip


def _step(rates: "pd.Series[float]") -> float:
    tried = sorted(rates.dropna().unique())
    return min((high / low for low, high in pairwise(tried)), default=math.nan)


def _pairs(
    task: str, pairs: pd.DataFrame, order: Mapping[str, str], unit: int, left_out: list[tuple[str, str, str]]
) -> pd.DataFrame:
    own = pairs[pairs["a"].isin(order) & pairs["b"].isin(order) & pairs["difference"].notna()]
    sure = own["covers_seeds"].astype(bool) & (own["error"] > 0)
    if len(own) and not sure.all():
        left_out.append((task, f"{int((~sure).sum())} pairs", "of one seed: no interval allows for another"))
    own = own[sure]
    return pd.DataFrame({
        "task": task, "a": own["a"].map(order), "b": own["b"].map(order),
        "difference": unit * own["difference"].astype(float), "error": unit * own["error"].astype(float),
        "freedom": own["freedom"].astype(float), "seen": own["seen"].astype(bool),
    }, columns=PAIR_COLUMNS).reset_index(drop=True)  # fmt: skip
