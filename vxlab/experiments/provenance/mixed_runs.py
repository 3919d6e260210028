"""Runs brought together: what they must share to be compared, and what else they differ in, in words."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.provenance.identities import base_in_words, data_of, own_identity, weights_of
from vxlab.paths import without_folders
from vxlab.words import list_in_words, number_of

UNKNOWN = "not recorded"
"""What is said of a record from before its vxlab wrote the fact down."""
_DIGITS = 12
_MOST_NAMED = 3
_DEVICES = {"cpu": "CPU", "mps": "Apple's GPU", "cuda": "CUDA"}


def describe_mixture(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """Return what runs shown together differ in beside their settings: at most two sentences, () where in nothing.

    The first names what their scores depend on: weights or data behind one name, versions, precision, processes and
    the kind of device. The second names what their times depend on alone. Each value is given with its number of runs;
    what a record lacks is "not recorded", and never taken for the same as what another has.

    Args:
        records: of any runs.
    """
    runs = list(records)
    computed = _names(runs) | _computed(runs)
    timed = {
        "processor": _values(runs, lambda run: str(run.hardware.get("processor", UNKNOWN))),
        "threads": _values(runs, lambda run: str(run.hardware.get("threads", UNKNOWN))),
    }
    told = [
        (f"Not all of these {len(runs)} runs were computed alike", computed),
        ("Their times were not all taken alike", timed),
    ]
    return tuple(f"{said}: {listed}." for said, values in told if (listed := _listed(values)))


def require_comparable(records: Iterable[RunRecord]) -> None:
    """Refuse runs whose scores answer different questions.

    They must share the task and its metric, the model and its weights, and the data, where they asked for as many
    training examples. What records do not say cannot be told apart.

    Raises:
        VxlabError: two runs differ in one of these, which is named with both runs.
    """
    runs = list(records)
    for what, of in _DECIDING.items():
        known: dict[str, RunRecord] = {}
        for run in runs:
            if value := of(run):
                known.setdefault(value, run)
        if len(known) > 1:
            (value, first), (other, second) = list(known.items())[:2]
            raise VxlabError(
                f"the runs differ in their {what}: {_shown(value)} in run {first.key[:12]}, {_shown(other)} in run "
                f"{second.key[:12]}; compare runs that share it"
            )
    _require_same_data(runs)


_DECIDING: dict[str, Callable[[RunRecord], str]] = {
    "task": lambda run: str(without_folders(run.task.get("name", ""))),  # of an atlas's run the folder is not known
    "metric": lambda run: str(run.task["metrics"][0]),
    "model": lambda run: base_in_words(run.spec) if run.spec.get("model") else "",
    "model's weights": lambda run: run.identity.get("model", ""),
}


def _require_same_data(runs: Sequence[RunRecord]) -> None:
    known: dict[object, tuple[str, RunRecord]] = {}
    for run in runs:
        if data := data_of(run.identity):
            before, first = known.setdefault(run.spec.get("train_examples"), (data, run))
            if before != data:
                raise VxlabError(
                    f"the runs differ in their data: run {first.key[:12]} read {_shown(before)}, run {run.key[:12]} "
                    f"{_shown(data)}, by one name; compare runs on the same rows"
                )


def _names(runs: Sequence[RunRecord]) -> dict[str, Counter[str]]:
    """Return the fingerprints behind each name that stands for several: of a model, and of a task's data."""
    told = {}
    for name in dict.fromkeys(str(run.spec.get("model")) for run in runs):
        own = [run for run in runs if str(run.spec.get("model")) == name]
        told[f"weights of {Path(name).name}"] = _values(own, lambda run: weights_of(run.identity) or UNKNOWN)
    for name, examples in dict.fromkeys((str(run.task.get("name")), run.spec.get("train_examples")) for run in runs):
        own = [run for run in runs if (str(run.task.get("name")), run.spec.get("train_examples")) == (name, examples)]
        data = _values(own, lambda run: data_of(run.identity) or UNKNOWN)
        if len(data) > 1:  # or runs on another number of examples would take the place of those that differ
            told[f"data of {Path(name).name}"] = data
    return told


def _computed(runs: Sequence[RunRecord]) -> dict[str, Counter[str]]:
    told = {name: _values(runs, partial(_version, name)) for name in ("vxlab", "torch", "transformers")}
    for library in ("bitsandbytes", "torchao"):
        told[library] = _values([run for run in runs if library in run.identity], partial(_version, library))
    told |= _of_methods(runs)
    told["precision"] = _values(runs, lambda run: run.identity.get("precision", run.precision))
    told["processes"] = _values(runs, lambda run: run.identity.get("processes", "1"))
    told["device"] = _values(runs, device_of)
    return told


def device_of(run: RunRecord) -> str:
    """Return the kind of device that a run was on: a GPU's name, or CPU."""
    device = str(run.hardware.get("device", UNKNOWN))
    return str(run.hardware.get("gpu", _DEVICES.get(device, device)))


def name_machines(records: Iterable[RunRecord]) -> str:
    """Return what runs were on, in words: GPUs or processors; of many, how many kinds."""
    named = sorted({_machine(run) for run in records})
    return list_in_words(named) if len(named) <= _MOST_NAMED else f"{len(named)} kinds of machine"


def _machine(run: RunRecord) -> str:
    device = device_of(run)
    return str(run.hardware.get("processor", device)) if device in ("CPU", UNKNOWN) else device


def _version(name: str, run: RunRecord) -> str:
    return run.identity.get(name) or run.versions.get(name, UNKNOWN)


def _of_methods(runs: Sequence[RunRecord]) -> dict[str, Counter[str]]:
    """Return the versions of what single methods need, among the runs that need it; code is one method's own."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for name, value in own_identity(run.identity).items():
            told[f"code of {run.spec['method']['name']}" if name == "code" else name][value] += 1
    return told


def _values(runs: Sequence[RunRecord], of: Callable[[RunRecord], str]) -> Counter[str]:
    """Return the values that runs have in their order, with the number of runs of each."""
    return Counter(sorted(map(of, runs)))


def _listed(told: Mapping[str, Counter[str]]) -> str:
    return "; ".join(f"{name} {_counted(values)}" for name, values in told.items() if len(values) > 1)


def _counted(values: Counter[str]) -> str:
    return list_in_words([f"{_shown(value)} ({number_of(count, 'run')})" for value, count in values.items()])


def _shown(value: str) -> str:
    content, *scheme = value.split(" ")
    return " in ".join([content[:_DIGITS], *scheme]) if len(content) == 64 else value  # a fingerprint
