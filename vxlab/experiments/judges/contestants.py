"""Who answers: the untuned base and the runs that were trained on it, each run a seed of its candidate."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from vxlab.adapters import Base
from vxlab.checks import quote, settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, family_name
from vxlab.experiments.models import load_model, model_fingerprint
from vxlab.experiments.provenance import name_candidates
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
    quantisation: str | None
    """of the base when it is loaded"""
    fingerprint: str
    """the base's"""
    record: RunRecord | None = None
    """of the run, None of the untuned base"""

    def load(self) -> nn.Module:
        """Return the model, on the CPU in evaluation mode."""
        return load_model(self.model, 0, self.quantisation) if self.record is None else load_trained(self.record)

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
        VxlabError: there are none, a run did not finish, does not write, or was trained on another base, or two are of
            one candidate and one seed.
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
    bases = list(dict.fromkeys(map(_base_of, given)))
    prints = {base: model_fingerprint(*base) for base in bases}
    if len(set(prints.values())) > 1:
        names = ", ".join(" in ".join(filter(None, base)) for base in bases)
        raise VxlabError(f"runs are of several models ({names}); judge each with its own runs")
    base_of_all, fingerprint = next(iter(prints.items()))
    untuned = [each for each in given if isinstance(each, str) or each.spec["method"]["name"] == Base.name]
    trained = list({record.key: record for record in records if record not in untuned}.values())
    wants_base = base or bool(untuned)
    first = [Contestant(BASE, 0, *base_of_all, fingerprint)] * wants_base
    called = name_candidates(trained)
    places = list(dict.fromkeys(called.values()))
    ordered = sorted(trained, key=lambda record: (places.index(called[record.key]), _seed(record)))
    return first + [Contestant(called[each.key], _seed(each), *base_of_all, fingerprint, each) for each in ordered]


def _base_of(given: RunRecord | str) -> tuple[str, str | None]:
    return (given, None) if isinstance(given, str) else (given.spec["model"], given.spec.get("quantisation"))


def _seed(record: RunRecord) -> int:
    return int(record.spec.get("seed") or 0)


def _require_writing(record: RunRecord) -> None:
    if record.task["num_labels"]:
        kind = recorded_kind(record.task).name
        raise VxlabError(
            f"run {record.key[:12]} is of a task of {kind}, whose model does not write; give runs of a task with "
            "prompts and answers"
        )
