"""One run: fine-tune by a spec, choose the checkpoint on validation, report on test."""

import datetime
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import DataCollatorWithPadding, set_seed

from vxlab._version import __version__
from vxlab.adapters import adapted_layers, attach, save_adapter, trainable_parameters
from vxlab.errors import VxlabError
from vxlab.experiments import hardware
from vxlab.experiments.metrics import compute, majority_score
from vxlab.experiments.models import load_model, load_tokenizer, model_source, quiet_transformers
from vxlab.experiments.record import ADAPTER_FOLDER, PREDICTIONS_FILE, RunRecord
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.tasks import Task
from vxlab.experiments.training import AdapterTrainer, Watch, training_arguments, usable_checkpoint
from vxlab.paths import reports_folder


def run(spec: RunSpec, *, store: str | Path | None = None, fresh: bool = False, progress: bool = True) -> RunRecord:
    """Fine-tune as the spec says, or return the finished run that the store already has.

    After each epoch the model is evaluated on the validation split, and the checkpoint with the best first metric of
    the task is evaluated on the test split once. A run that was killed goes on from its last epoch. A run whose loss
    is no longer finite, or 10 times its start, ends early with the status ``diverged``.

    Args:
        spec: the run.
        store: folder of runs; None means ``runs`` in ``VXLAB_REPORTS``, or in ``./reports``.
        fresh: train again although the store has the run.
        progress: show a bar with the time left.

    Returns:
        The record, with the folder that holds the adapter and the test predictions.

    Raises:
        VxlabError: the model, the task, the targets, the device or the precision cannot be had.
    """
    job = _job(spec, store)
    if not fresh and (found := RunRecord.load(job.folder)) is not None and found.key == job.key:
        return found
    if fresh:
        shutil.rmtree(job.folder, ignore_errors=True)
    return _train(job, progress)


@dataclass(frozen=True)
class _Job:
    """A spec with everything it names looked up."""

    spec: RunSpec
    task: Task
    key: str
    folder: Path
    device: str
    precision: str


def _job(spec: RunSpec, store: str | Path | None) -> _Job:
    device = hardware.resolve_device(spec.device)
    precision = hardware.resolve_precision(spec.precision, device)
    task = spec.load_task()
    key = spec.key(
        model=model_source(spec.model).fingerprint,
        task=f"{task.fingerprint} {' '.join(task.metrics)}",
        precision=precision,
        vxlab=__version__,
    )
    # Absolute, because a checkpoint remembers the path of the best one and may be taken up from another folder.
    folder = Path(store or reports_folder() / "runs").expanduser().absolute() / key[:16]
    return _Job(spec, task, key, folder, device, precision)


def _train(job: _Job, progress: bool) -> RunRecord:
    set_seed(job.spec.seed)
    hardware.reset_peak_memory(job.device)
    watch = Watch(f"{job.spec.method.name} on {job.task.name}", progress)
    trainer, splits = _trainer(job, watch)
    job.folder.mkdir(parents=True, exist_ok=True)  # only now: what the model or the targets refuse leaves nothing
    started = time.perf_counter()
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=usable_checkpoint(job.folder / "checkpoints"))
    train_seconds = time.perf_counter() - started
    metrics = _validation_rows(trainer, job.task.metrics)
    if not watch.diverged:
        metrics += _test_rows(trainer, splits, job)
    record = _record(job, trainer, watch, metrics, train_seconds)
    if trainer.is_world_process_zero():
        record.save()
        shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    return record


def _trainer(job: _Job, watch: Watch) -> tuple[AdapterTrainer, dict[str, datasets.Dataset]]:
    spec, task = job.spec, job.task
    tokenizer = load_tokenizer(spec.model)
    if spec.max_length > tokenizer.model_max_length:
        most = tokenizer.model_max_length
        raise VxlabError(f"max_length={spec.max_length}: {spec.model} reads {most} tokens at most; choose 1 to {most}")
    splits = {name: _tokenised(split, tokenizer, spec.max_length, name) for name, split in task.splits.items()}
    rows = len(splits["train"])
    trainer = AdapterTrainer(
        model=attach(load_model(spec.model, task.num_labels), spec.method, spec.targets),
        args=training_arguments(spec, job.folder / "checkpoints", job.device, job.precision, task.metrics[0], rows),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda output: compute(task.metrics, output.predictions, output.label_ids),
        callbacks=[watch],
        head_learning_rate=spec.head_learning_rate,
    )
    return trainer, splits


def _tokenised(split: datasets.Dataset, tokenizer: Any, max_length: int, name: str) -> datasets.Dataset:
    """Return input ids, labels and lengths; evaluation splits sorted by length, so that batches waste no padding."""
    texts = [list(split[column]) for column in ("text", "text_pair") if column in split.column_names]
    encoded = dict(tokenizer(*texts, truncation=True, max_length=max_length))
    lengths = [len(ids) for ids in encoded["input_ids"]]
    columns = {**encoded, "label": list(split["label"]), "length": lengths, "row": list(range(len(lengths)))}
    tokenised = datasets.Dataset.from_dict(columns)
    return tokenised if name == "train" else tokenised.select(np.argsort(lengths, kind="stable"))


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


def _test_rows(trainer: AdapterTrainer, splits: dict[str, datasets.Dataset], job: _Job) -> list[dict[str, Any]]:
    """Evaluate the chosen checkpoint on every test split, and keep its predictions in the rows' own order."""
    rows, tensors, epoch = [], {}, _best_epoch(trainer)
    for name in (name for name in splits if name.startswith("test")):
        output = trainer.predict(splits[name], metric_key_prefix=name)
        order = np.argsort(splits[name]["row"])
        tensors[f"{name}.logits"] = torch.from_numpy(output.predictions[order].astype(np.float32))
        tensors[f"{name}.labels"] = torch.from_numpy(output.label_ids[order])
        for metric in (*job.task.metrics, "loss"):
            rows.append({"epoch": epoch, "split": name, "metric": metric, "value": output.metrics[f"{name}_{metric}"]})
    if trainer.is_world_process_zero():
        save_file(tensors, job.folder / PREDICTIONS_FILE)
    return rows


def _record(
    job: _Job,
    trainer: AdapterTrainer,
    watch: Watch,
    metrics: list[dict[str, Any]],
    train_seconds: float,
) -> RunRecord:
    model, adapter = trainer.model, job.folder / ADAPTER_FOLDER
    if trainer.is_world_process_zero():
        save_adapter(model, adapter)
    trainer.accelerator.wait_for_everyone()
    return RunRecord(
        key=job.key,
        spec=job.spec.settings(),
        status="diverged" if watch.diverged else "finished",
        task=_described(job.task),
        metrics=metrics,
        curve=[
            {name: row[name] for name in ("step", "epoch", "loss", "learning_rate")}
            for row in trainer.state.log_history
            if "loss" in row
        ],
        best_epoch=None if watch.diverged else _best_epoch(trainer),
        parameters=trainable_parameters(model)._asdict(),
        layers=len(adapted_layers(model)),
        bytes_stored=sum(path.stat().st_size for path in adapter.iterdir()),
        steps=trainer.state.global_step,
        step_seconds=watch.step_seconds,
        train_seconds=train_seconds,
        peak_memory=hardware.peak_memory(job.device),
        precision=job.precision,
        hardware=hardware.describe_hardware(job.device),
        versions=hardware.versions(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        folder=job.folder,
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
