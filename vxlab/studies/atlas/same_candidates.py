"""Which candidates of sweeps of several tasks are the same, which are comparable, and what they are called."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vxlab.experiments import NO_LAYERS, RunRecord, RunSpec, layers, method_label, tell_apart, usual_settings
from vxlab.experiments.sweeps import SweepTables
from vxlab.words import list_in_words

_OF_CANDIDATE = (
    "method", "targets", "learning_rate", "head_learning_rate", "seed", "draw", "ends_after", "device", "task_folder",
)  # fmt: skip
"""Of a spec, what makes or tunes a candidate, is the luck of a run or says where it ran; the rest a task's candidates
share."""


class TaskCandidate(NamedTuple):
    """A candidate of one sweep."""

    own_name: str
    method: Mapping[str, Any]
    targets: str
    shared: Mapping[str, Any]
    """its spec but for what makes it a candidate, and what does not enter with its method"""

    @property
    def identity(self) -> str:
        return json.dumps([self.method, self.targets], sort_keys=True)


def comparable_candidates(task: str, sweep: SweepTables, left_out: list[tuple[str, str, str]]) -> list[TaskCandidate]:
    """Return a sweep's candidates that finished a run and share their other settings, each method once.

    Args:
        task: what it is called.
        sweep: of the task.
        left_out: gets a row (task, what, why) for each candidate that is not among them.
    """
    found = []
    for row in sweep.summary.to_dict("records"):
        record = _record_of(sweep, row["candidate"])
        if record is None or not row["n"]:
            left_out.append((task, row["candidate"], "no reported run of it finished"))
        else:
            found.append(_described(row["candidate"], record))
    usual = _usual([one.shared for one in found])
    alike = [one for one in found if not _unlike(one.shared, usual)]
    for one in found:
        if differing := _unlike(one.shared, usual):
            left_out.append((task, one.own_name, f"trained otherwise: {differing}"))
    twice = Counter(one.identity for one in alike)
    for one in alike:
        if twice[one.identity] > 1:
            left_out.append((task, one.own_name, "computed by several versions or at several precisions"))
    return [one for one in alike if twice[one.identity] == 1]


def _record_of(sweep: SweepTables, candidate: str) -> RunRecord | None:
    runs = sweep.runs
    own = runs[(runs["candidate"] == candidate) & (runs["stage"] == "report") & (runs["status"] == "finished")]
    return next((sweep.records[key] for key in own["key"] if key in sweep.records), None)


def _described(name: str, record: RunRecord) -> TaskCandidate:
    spec = record.spec
    method = {**usual_settings(spec["method"]), **spec["method"]}
    whole = {each.name: each.default for each in dataclasses.fields(RunSpec)} | spec
    shared = {key: value for key, value in whole.items() if key not in _OF_CANDIDATE}
    if not record.trains:  # None of what needs gradient steps
        shared = {key: value for key, value in shared.items() if spec.get(key) is not None}
    return TaskCandidate(name, method, layers(spec["method"], spec.get("targets") or ()), shared)


def _usual(several: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the settings that most candidates have, those that are told whole first."""
    texts = [json.dumps(each, sort_keys=True, default=list) for each in several]
    counts = Counter(texts)
    return max(several, key=lambda each: (len(each), counts[texts[several.index(each)]]), default={})


def _unlike(one: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    differing = sorted(name for name in one.keys() & usual.keys() if _text(one[name]) != _text(usual[name]))
    return list_in_words([f"{name} {_text(one[name])} instead of {_text(usual[name])}" for name in differing])


def labels_over_tasks(ones: Iterable[TaskCandidate]) -> dict[str, str]:
    """Return by identity each candidate's name over all tasks: its label, layers where there are several, and settings.

    Args:
        ones: the candidates of all tasks.
    """
    by_identity = {one.identity: one for one in ones}
    places = {one.targets for one in by_identity.values() if one.targets != NO_LAYERS}
    named: dict[str, list[TaskCandidate]] = {}
    for one in by_identity.values():
        place = f", {one.targets}" if len(places) > 1 and one.targets != NO_LAYERS else ""
        named.setdefault(method_label(one.method) + place, []).append(one)
    labels = {}
    for label, alike in named.items():
        apart = tell_apart([one.method for one in alike])
        for one in alike:
            told = [f"{name}={_text(one.method.get(name))}" for name in apart]
            labels[one.identity] = ", ".join([label, *told])
    return labels


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=list)
