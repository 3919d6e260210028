"""Who answers: the untuned base and the runs that were trained on it, each run a seed of its candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vxlab.adapters import Base
from vxlab.checks import quote, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, family_name, method_label, tell_apart
from vxlab.experiments.models import load_model, model_fingerprint
from vxlab.experiments.runs import load_trained, require_finished, require_same
from vxlab.experiments.tasks.kinds import recorded_kind

BASE = family_name({"name": Base.name})
"""What the untuned base is called."""


@dataclass(frozen=True)
class Contestant:
    """One model that answers."""

    candidate: str
    """what it is called, with its other seeds"""
    seed: int
    model: str
    """the base's name"""
    fingerprint: str
    """the base's"""
    record: RunRecord | None = None
    """of the run, None of the untuned base"""

    def load(self) -> nn.Module:
        """Return the model, on the CPU in evaluation mode."""
        return load_model(self.model, 0) if self.record is None else load_trained(self.record)

    def identity(self) -> dict[str, Any]:
        """Return what tells its answers from every other's, as JSON values."""
        own = None if self.record is None else {"key": self.record.key, "record": self.record.digest}
        return {"model": self.fingerprint, "run": own}


def contestants_of(runs: Any, base: bool) -> list[Contestant]:
    """Return the untuned base, where it is wanted, and the runs, candidate by candidate.

    Args:
        runs: records of runs, or a model's name, whose untuned model is meant; one, or a list.
        base: whether the untuned base of the runs answers, too.

    Raises:
        VxlabError: there are none, a run did not finish, does not write, or was trained on another base.
    """
    wanted = "records of runs, as vxlab.run returns them and Store.record(key), or a model's name"
    given = settle_list("runs", runs, (RunRecord, str), wanted)
    if not given:
        raise VxlabError(f"runs={quote(runs)} holds none; give {wanted}")
    records = [each for each in given if isinstance(each, RunRecord)]
    for record in records:
        require_finished(record)
        _require_writing(record)
        require_same(records[0], record, "base models", lambda run: run.identity.get("model", "") or run.spec["model"])
    names = list(dict.fromkeys([each if isinstance(each, str) else each.spec["model"] for each in given]))
    prints = {name: model_fingerprint(name) for name in names}
    if len(set(prints.values())) > 1:
        raise VxlabError(f"runs are of several models ({', '.join(names)}); judge each with its own runs")
    model, fingerprint = next(iter(prints.items()))
    trained = [record for record in records if record.spec["method"]["name"] != Base.name]
    wants_base = base or len(trained) < len(given)
    first = [Contestant(BASE, 0, model, fingerprint)] * wants_base
    labels = _labels(trained)
    ordered = sorted(zip(labels, trained, strict=True), key=lambda pair: (labels.index(pair[0]), _seed(pair[1])))
    _require_once(ordered)
    return first + [Contestant(label, _seed(record), model, fingerprint, record) for label, record in ordered]


def _seed(record: RunRecord) -> int:
    return int(record.spec.get("seed") or 0)


def _require_writing(record: RunRecord) -> None:
    if record.task["num_labels"]:
        kind = recorded_kind(record.task).name
        raise VxlabError(
            f"run {record.key[:12]} is of a task of {kind}, whose model does not write; give runs of a task with "
            "prompts and answers"
        )


def _labels(records: Sequence[RunRecord]) -> list[str]:
    """Name each run's candidate: by its method, and by what else its settings differ in but for the seed."""
    labels = [method_label(record.spec["method"]) for record in records]
    settings = [_settings(record) for record in records]
    for label in dict.fromkeys(labels):
        same = [number for number, each in enumerate(labels) if each == label]
        for name in tell_apart([settings[number] for number in same]):
            for number in same:
                labels[number] += f", {name}={settings[number].get(name)}"
    return labels


def _settings(record: RunRecord) -> dict[str, Any]:
    """Return a run's settings, the method's among them, as texts; the seed alone makes no other candidate."""
    spec = {name: value for name, value in record.spec.items() if name not in ("seed", "method", "device")}
    return {name: str(value) for name, value in {**spec, **record.spec["method"]}.items() if name != "seed"}


def _require_once(ordered: Sequence[tuple[str, RunRecord]]) -> None:
    seen: dict[tuple[str, int], RunRecord] = {}
    for label, record in ordered:
        if first := seen.get((label, _seed(record))):
            raise VxlabError(
                f"runs {first.key[:12]} and {record.key[:12]} are both {label} with seed {_seed(record)}; give each "
                "candidate one run a seed"
            )
        seen[label, _seed(record)] = record
