"""One run of a sweep in a worker: trained there, and its files sent back where driver and worker share none."""

import tempfile
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments import RECORD_FILE, RunSpec
from vxlab.experiments.runs import Job, fresh_materials, shared_materials, train_job
from vxlab.files import write_whole


def train_in_worker(spec: RunSpec, key: str, device: str, folder: str | None) -> dict[str, bytes]:
    """Train one run in a worker.

    Args:
        spec: the run.
        key: as the driver looked it up: model, data and version must be the same here.
        device: the spec's, resolved.
        folder: the run's, where driver and worker see the same files; None sends them back.

    Returns:
        The run's files by relative path where ``folder`` is None, else nothing.
    """
    job = _same_job(spec, key, device)
    if folder is not None:
        train_job(job, Path(folder), shared_materials())
        return {}
    with tempfile.TemporaryDirectory(prefix="vxlab-run-") as own:
        train_job(job, Path(own) / key[:16], shared_materials())
        root = Path(own) / key[:16]
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def receive_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a worker sent back into a run's folder, the record last."""
    for name in sorted(files, key=lambda name: name == RECORD_FILE):
        with write_whole(folder / name) as new:
            new.write_bytes(files[name])


def _same_job(spec: RunSpec, key: str, device: str) -> Job:
    job = shared_materials().job(spec, device)
    if job.key != key:  # what this worker keeps may be from before a change of the data
        job = fresh_materials().job(spec, device)
    if job.key != key:
        here = ", ".join(f"{name} {value[:12]}" for name, value in job.identity.items())
        raise VxlabError(
            "this worker has another model, task or version of vxlab than the driver, or other code of its method: "
            f"give both the same files (here {here})"
        )
    return job
