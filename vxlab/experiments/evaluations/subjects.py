"""What is evaluated: runs with what they trained, and models as they are; each loaded once for all its tasks."""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from vxlab.adapters import load_adapter
from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, hardware, method_label
from vxlab.experiments.models import load_model, loading_of, model_fingerprint, quantising_library
from vxlab.experiments.provenance import name_candidates, require_own_base


@dataclass(frozen=True)
class Subject:
    """A run, or the model it started from, in the precision in which it is evaluated."""

    model: str
    quantisation: str | None
    """of the model when it is loaded"""
    fingerprint: str
    precision: str
    loading: str
    """what loading does otherwise than the model's files say"""
    record: RunRecord | None = None
    """None of a model as it is"""

    @property
    def run(self) -> str:
        """The key of the run, "" of a model as it is."""
        return self.record.key if self.record else ""

    @property
    def name(self) -> str:
        """What it is called where its progress shows."""
        return f"{method_label(self.record.spec['method'])}" if self.record else "untuned"

    def key(self, task: str, settings: dict[str, Any]) -> str:
        """Return the sha256 of all that decides the numbers of a task."""
        trained = self.record.digest if self.record else ""
        identity = [self.fingerprint, self.loading, trained, task, settings]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def load(self, device: str) -> nn.Module:
        """Return the model with what the run trained, unmerged, in evaluation mode."""
        folder = self.record.adapter_folder() if self.record else None  # before the base is loaded, which takes long
        model = load_model(self.model, 0, self.quantisation)
        if folder is not None:
            model = load_adapter(model, folder)
        return model.to(hardware.own_device(device)).eval()


def find_subjects(runs: Any, base: bool, precision: str | None, device: str) -> list[Subject]:
    """Return what is to be evaluated, the untuned models first.

    Args:
        runs, base, precision: as :func:`vxlab.evaluate` takes them.
        device: that it runs on.

    Raises:
        VxlabError: as :func:`vxlab.evaluate`.
    """
    wanted = "what vxlab.run(spec) returned, vxlab.Store().record(key) with a key from its table(), or a model's name"
    given = settle_list("runs", runs, (RunRecord, str), wanted)
    if not given:
        raise VxlabError(f"runs is empty; give {wanted}")
    for each in given:
        if isinstance(each, RunRecord):
            _require_writer(each)
    found = functools.cache(_find_model)
    subjects = [_subject(each, found, precision, device) for each in given]
    bare = [replace(each, record=None) for each in subjects if base or each.record is None]
    tuned = [each for each in subjects if each.record is not None]
    name_candidates([each.record for each in {each.run: each for each in tuned}.values() if each.record])  # or raise
    return list({(each.run, each.fingerprint, each.precision): each for each in [*bare, *tuned]}.values())


def _subject(
    given: RunRecord | str, found: Callable[..., tuple[str, str]], precision: str | None, device: str
) -> Subject:
    if isinstance(given, str):
        fingerprint, loading = found(given)
        return Subject(given, None, fingerprint, hardware.resolve_precision(precision or "auto", device), loading)
    name, quantisation = given.spec["model"], given.spec.get("quantisation")
    fingerprint, loading = found(name, quantisation)
    require_own_base(given, fingerprint)
    settled = hardware.resolve_precision(precision or given.precision, device)
    return Subject(name, quantisation, fingerprint, settled, loading, given if given.trains else None)


def _find_model(name: str, quantisation: str | None = None) -> tuple[str, str]:
    """Return a model's fingerprint, and how it is loaded."""
    library = [" ".join(each) for each in quantising_library(name, quantisation).items()]
    return model_fingerprint(name, quantisation), ", ".join(filter(None, [loading_of(name, 0), *library]))


def _require_writer(record: RunRecord) -> None:
    what = f"run {record.key[:12]} ({method_label(record.spec['method'])})"
    if record.task["num_labels"] != 0:
        raise VxlabError(
            f"{what} trained a head that classifies, and lm-eval asks how likely a text is, or for one; give a run of "
            "a causal language model, trained to write"
        )
    if record.status != "finished":
        raise VxlabError(f"{what} {record.status}, so there is nothing to evaluate; give a run that finished")
