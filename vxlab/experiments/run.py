"""One run: fine-tune by a spec, choose the checkpoint on validation, report on test."""

import contextlib
import datetime
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save_file
from transformers import DataCollatorWithPadding, set_seed

from vxlab.adapters import save_adapter, trainable_parameters
from vxlab.adapters.attach import attachment_of
from vxlab.errors import VxlabError
from vxlab.experiments import hardware
from vxlab.experiments.lease import claimed
from vxlab.experiments.materials import Job, Materials
from vxlab.experiments.metrics import compute, majority_score
from vxlab.experiments.models import quiet_transformers
from vxlab.experiments.record import ADAPTER_FOLDER, PREDICTIONS_FILE, RunRecord
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.store import Store, Where, opened
from vxlab.experiments.tasks import Task
from vxlab.experiments.training import AdapterTrainer, Watch, training_arguments, usable_checkpoint


def run(spec: RunSpec, *, store: Where = None, fresh: bool = False, progress: bool = True) -> RunRecord:
    """Fine-tune as the spec says, or return the finished run that the store already has.

    After each epoch the model is evaluated on the validation split, and the checkpoint with the best first metric of
    the task is evaluated on the test split once. A run that was killed goes on from its last epoch. A run whose loss
    is no longer finite, or 10 times its start, ends early with the status ``diverged``.

    Args:
        spec: the run.
        store: a :class:`vxlab.Store`, or where one is: an SQLite file, a folder, or a database's URL; None means
            ``runs.db`` in ``VXLAB_REPORTS``, or in ``./reports``.
        fresh: train again although the store has the run.
        progress: show a bar with the time left.

    Returns:
        The record, with the folder that holds the adapter and the test predictions.

    Raises:
        VxlabError: the model, the task, the targets, the device or the precision cannot be had, or the store fails.
    """
    materials = Materials(reuse=False)
    job = materials.job(spec)
    with opened(store) as results:
        folder = results.folder_of(job.key)
        if fresh:
            results.forget(job.key)
            shutil.rmtree(folder, ignore_errors=True)
        if _processes() > 1:
            return _one_of_many(job, results, materials, progress)
        with claimed(results, job) as owner:
            if owner is not None:
                results.finish(execute(job, folder, materials, progress), owner)
        return _required(results.record(job.key), job)


def execute(job: Job, folder: Path, materials: Materials, progress: bool = False) -> RunRecord:
    """Train a job in its folder and return its record, or the record of an earlier training that is there.

    What is needed to go on after a kill stays in the folder; no store is touched.
    """
    if (found := RunRecord.load(folder)) is not None and found.key == job.key:
        return found
    held = hardware.reset_peak_memory(job.device)
    set_seed(job.spec.seed)
    task = materials.task(job.spec)
    watch = Watch(f"{job.spec.method.name} on {task.name}", progress)
    trainer = _trainer(job, folder, materials, watch)
    folder.mkdir(parents=True, exist_ok=True)  # only now: what the model or the targets refuse leaves nothing
    with _alone_in(folder):
        if (found := RunRecord.load(folder)) is not None and found.key == job.key:
            return found
        return _train(job, folder, materials, trainer, watch, held)


def _train(job: Job, folder: Path, materials: Materials, trainer: AdapterTrainer, watch: Watch, held: int) -> RunRecord:
    task = materials.task(job.spec)
    started = time.perf_counter()
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=usable_checkpoint(folder / "checkpoints"))
    train_seconds = time.perf_counter() - started
    metrics = _validation_rows(trainer, task.metrics)
    if not watch.diverged:
        metrics += _test_rows(trainer, materials.splits(job.spec), task, folder)
    peak = hardware.peak_memory(job.device) - held
    record = _record(job, folder, task, trainer, watch, metrics, train_seconds, peak)
    if trainer.is_world_process_zero():
        record.save()
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return record


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder: a claim may run out while its holder still trains, and two would spoil each other's files.

    The processes of torchrun share one folder by intent.
    """
    if _processes() > 1:
        yield
        return
    lock = FileLock(folder / ".lock")
    with lock:
        yield
    (folder / ".lock").unlink(missing_ok=True)


def _processes() -> int:
    """Return how many processes torchrun started for this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _one_of_many(job: Job, results: Store, materials: Materials, progress: bool) -> RunRecord:
    """Train as one of the processes that torchrun started: all of them train, the first writes."""
    if (found := results.record(job.key)) is not None:
        return found
    record = execute(job, results.folder_of(job.key), materials, progress)
    if int(os.environ.get("RANK", "0")) == 0:
        with claimed(results, job) as owner:
            if owner is not None:
                results.finish(record, owner)
    return record


def _required(record: RunRecord | None, job: Job) -> RunRecord:
    if record is None:
        raise VxlabError(f"run {job.key[:12]} was taken out of the store while it ran; run it again")
    return record


def _trainer(job: Job, folder: Path, materials: Materials, watch: Watch) -> AdapterTrainer:
    spec, task = job.spec, materials.task(job.spec)
    splits = materials.splits(spec)
    rows = len(splits["train"])
    return AdapterTrainer(
        model=materials.adapted(job),
        args=training_arguments(spec, folder / "checkpoints", job.device, job.precision, task.metrics[0], rows),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=DataCollatorWithPadding(materials.tokenizer(spec)),
        compute_metrics=lambda output: compute(task.metrics, output.predictions, output.label_ids),
        callbacks=[watch],
        head_learning_rate=spec.head_learning_rate,
    )


def _best_epoch(trainer: AdapterTrainer) -> int | None:
    best = trainer.state.best_global_step
    epochs = [row["epoch"] for row in trainer.state.log_history if "eval_loss" in row and row["step"] == best]
    return round(epochs[0]) if epochs else None


def _validation_rows(trainer: AdapterTrainer, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    wanted = {f"eval_{name}": name for name in (*metrics, "loss")}
    return [
        {"epoch": round(row["epoch"]), "split": "validation", "metric": name, "value": row[logged]}
        for row in trainer.state.log_history
        for logged, name in wanted.items()
        if logged in row
    ]


def _test_rows(
    trainer: AdapterTrainer, splits: dict[str, datasets.Dataset], task: Task, folder: Path
) -> list[dict[str, Any]]:
    """Evaluate the chosen checkpoint on every test split, and keep its predictions in the rows' own order."""
    rows, tensors, epoch = [], {}, _best_epoch(trainer)
    for name in (name for name in splits if name.startswith("test")):
        output = trainer.predict(splits[name], metric_key_prefix=name)
        order = np.argsort(splits[name]["row"])
        tensors[f"{name}.logits"] = torch.from_numpy(output.predictions[order].astype(np.float32))
        tensors[f"{name}.labels"] = torch.from_numpy(output.label_ids[order])
        for metric in (*task.metrics, "loss"):
            rows.append({"epoch": epoch, "split": name, "metric": metric, "value": output.metrics[f"{name}_{metric}"]})
    if trainer.is_world_process_zero():
        save_file(tensors, folder / f".{PREDICTIONS_FILE}")
        os.replace(folder / f".{PREDICTIONS_FILE}", folder / PREDICTIONS_FILE)
    return rows


def _record(
    job: Job,
    folder: Path,
    task: Task,
    trainer: AdapterTrainer,
    watch: Watch,
    metrics: list[dict[str, Any]],
    train_seconds: float,
    peak_memory: int,
) -> RunRecord:
    model, adapter = trainer.model, folder / ADAPTER_FOLDER
    if trainer.is_world_process_zero():
        save_adapter(model, adapter)
    trainer.accelerator.wait_for_everyone()
    return RunRecord(
        key=job.key,
        spec=job.spec.settings(),
        identity=job.identity,
        status="diverged" if watch.diverged else "finished",
        task=_described(task),
        metrics=metrics,
        curve=[
            {name: row[name] for name in ("step", "epoch", "loss", "learning_rate")}
            for row in trainer.state.log_history
            if "loss" in row
        ],
        best_epoch=None if watch.diverged else _best_epoch(trainer),
        parameters=trainable_parameters(model)._asdict(),
        layers=len(attachment_of(model).layers),
        bytes_stored=sum(path.stat().st_size for path in adapter.iterdir()),
        steps=trainer.state.global_step,
        step_seconds=watch.step_seconds,
        train_seconds=train_seconds,
        peak_memory=peak_memory,
        precision=job.precision,
        hardware=hardware.describe_hardware(job.device),
        versions=hardware.versions(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        folder=folder,
    )


def _described(task: Task) -> dict[str, Any]:
    described = {name: getattr(task, name) for name in ("name", "num_labels", "source", "citation")}
    lists = {name: list(getattr(task, name)) for name in ("label_names", "metrics")}  # as JSON gives them back
    rows = {name: len(split) for name, split in task.splits.items()}
    return {
        **described,
        **lists,
        "rows": rows,
        "majority": {name: majority_score(task, name) for name in rows if name != "train"},
    }
