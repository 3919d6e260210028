"""Runs of a sweep in a worker: trained there, and their files sent back where driver and worker share none."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments import RECORD_FILE, RunSpec
from vxlab.experiments.engines import describe_failure, format_traceback
from vxlab.experiments.runs import Job, fresh_materials, shared_materials, train_job
from vxlab.experiments.stacking import (
    Place,
    StackPace,
    Trained,
    has_own_masks,
    time_stack,
    train_bundle,
    with_own_masks,
)
from vxlab.files import write_whole


@dataclass(frozen=True)
class Sent:
    """What a worker sends back of a bundle of runs."""

    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    """of those that failed, by key: ``Type: message``, and the traceback"""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """of the others, by key and relative path, where driver and worker see different files"""
    notes: tuple[str, ...] = ()
    """what the user should hear"""


def train_in_worker(runs: Sequence[tuple[RunSpec, str]], device: str, folders: Sequence[str] | None) -> Sent:
    """Train a bundle of runs in a worker.

    Args:
        runs: specs, each with its key as the driver looked it up: model, data and version must be the same here.
        device: the specs', resolved.
        folders: the runs', where driver and worker see the same files; None sends them back.
    """
    jobs = [_same_job(spec, key, device) for spec, key in runs]
    if folders is not None:
        return _sent(_train(_places(jobs, folders)))
    with tempfile.TemporaryDirectory(prefix="vxlab-run-") as own:
        roots = [Path(own) / job.key[:16] for job in jobs]
        trained = _train(_places(jobs, roots))
        files = {job.key: _files(root) for job, root in zip(jobs, roots, strict=True) if job.key in trained.finished}
        return _sent(trained, files)


def time_in_worker(runs: Sequence[tuple[RunSpec, str]], device: str) -> StackPace:
    """Time a step of runs together and one after the other, in a worker."""
    return time_stack([_same_job(spec, key, device) for spec, key in runs], shared_materials())


def receive_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a worker sent back into a run's folder, the record last."""
    for name in sorted(files, key=lambda name: name == RECORD_FILE):
        with write_whole(folder / name) as new:
            new.write_bytes(files[name])


def _train(places: Sequence[Place]) -> Trained:
    if len(places) > 1 or has_own_masks(places[0].job):
        return train_bundle(places, shared_materials())
    train_job(places[0].job, places[0].folder, shared_materials())  # what it raises, the engine describes
    return Trained(finished=[places[0].job.key])


def _places(jobs: Sequence[Job], folders: Sequence[str | Path]) -> list[Place]:
    return [Place(job, Path(folder)) for job, folder in zip(jobs, folders, strict=True)]


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _sent(trained: Trained, files: dict[str, dict[str, bytes]] | None = None) -> Sent:
    # An exception travels as text, since not every exception can be pickled, nor be rebuilt where it arrives.
    errors = {key: (describe_failure(error), format_traceback(error)) for key, error in trained.errors.items()}
    return Sent(errors, files or {}, tuple(trained.notes))


def _same_job(spec: RunSpec, key: str, device: str) -> Job:
    job = _of_key(shared_materials().job(spec, device), key)
    if job.key != key:  # what this worker keeps may be from before a change of the data
        job = _of_key(fresh_materials().job(spec, device), key)
    if job.key != key:
        here = ", ".join(f"{name} {value[:12]}" for name, value in job.identity.items())
        raise VxlabError(
            "this worker has another model, task or version of vxlab than the driver, or other code of its method: "
            f"give both the same files (here {here})"
        )
    return job


def _of_key(job: Job, key: str) -> Job:
    """Return a run as its key has it: perhaps with masks of its own."""
    return own if (own := with_own_masks(job)).key == key else job
