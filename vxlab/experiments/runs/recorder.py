"""What a trained run comes to: its record, from the state that Trainer is left in."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from vxlab.adapters import save_adapter, trainable_parameters
from vxlab.adapters.placement import attachment_of
from vxlab.experiments import ADAPTER_FOLDER, PREDICTIONS_FILE, TEXTS, TRIVIAL, RunRecord, hardware, pack_texts
from vxlab.experiments.runs.answering import Answers, answering_of
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.listener import CURVE
from vxlab.experiments.runs.trainer import AdapterTrainer, Watch
from vxlab.experiments.runs.training_facts import describe_training
from vxlab.experiments.scoring import compute
from vxlab.experiments.tasks.kinds import CLASSIFICATION, REGRESSION
from vxlab.files import write_whole


def best_epoch(trainer: AdapterTrainer) -> float | None:
    """Return the epoch with the best first metric on validation, None where nothing was validated."""
    best = trainer.state.best_global_step
    epochs = [row["epoch"] for row in trainer.state.log_history if "eval_loss" in row and row["step"] == best]
    return _epoch(epochs[0]) if epochs else None


def validation_rows(trainer: AdapterTrainer, metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return every validation so far as rows of a record."""
    rows = []
    for logged in trainer.state.log_history:
        scores = {name: logged[f"eval_{name}"] for name in (*metrics, "loss") if f"eval_{name}" in logged}
        rows += score_rows(_epoch(logged["epoch"]), "validation", scores)
    return rows


def score_rows(epoch: float | None, split: str, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return scores by metric as rows of a record."""
    return [{"epoch": epoch, "split": split, "metric": name, "value": value} for name, value in scores.items()]


def keep_predictions(folder: Path, job: Job, materials: Materials, answers: Mapping[str, Answers]) -> None:
    """Write a run's predictions file, whole or not at all, with the units of its rows.

    Args:
        folder: the run's.
        job: the run.
        materials: where its rows are.
        answers: by split, in the rows' own order. What was written is kept, and so is the simplest answer to it, of
            which a record holds the score alone.
    """
    tensors, task = {}, materials.task(job.spec)
    for name, (predictions, labels, texts) in answers.items():
        kept = predictions.astype(np.float32) if task.kind.trains_head else predictions
        tensors[f"{name}.logits"] = torch.from_numpy(kept)
        tensors[f"{name}.labels"] = torch.from_numpy(labels)
        if (units := task.units(name)) is not None:
            tensors[f"{name}.units"] = torch.from_numpy(units)
        if not task.kind.trains_head:
            tensors[f"{name}.{TRIVIAL}"] = torch.from_numpy(answering_of(task.kind).trivial(job, materials, name))
        if texts is not None:
            tensors[f"{name}.{TEXTS}"] = pack_texts(texts)
    with write_whole(folder / PREDICTIONS_FILE) as new:
        save_file(tensors, new)


def record_run(
    job: Job, folder: Path, materials: Materials, trainer: AdapterTrainer, watch: Watch, **measured: Any
) -> RunRecord:
    """Save the adapter that the model holds now, and return the run's record.

    Args:
        job: the run.
        folder: its own.
        materials: where its rows are.
        trainer: after training, with the chosen checkpoint loaded.
        watch: that saw the training.
        measured: the record's ``metrics``, ``train_seconds`` and ``peak_memory``.
    """
    model = trainer.model
    if trainer.is_world_process_zero():
        save_adapter(model, folder / ADAPTER_FOLDER)
    trainer.accelerator.wait_for_everyone()
    return make_record(
        job,
        folder,
        materials,
        status=watch.status,
        curve=[{name: row[name] for name in CURVE} for row in trainer.state.log_history if "loss" in row],
        best_epoch=None if watch.diverged else best_epoch(trainer),
        parameters=trainable_parameters(model)._asdict(),
        layers=len(attachment_of(model).layers),
        steps=trainer.state.global_step,
        step_seconds=watch.step_seconds,
        training=describe_training(trainer) | trainer.facts() | {"timed_steps": len(watch.step_times)},
        **measured,
    )


def make_record(job: Job, folder: Path, materials: Materials, **measured: Any) -> RunRecord:
    """Return the record of a job that ends now, whose adapter is saved.

    Args:
        job: the run.
        folder: its own.
        materials: where its rows are.
        measured: the fields of :class:`RunRecord` that follow from none of these.
    """
    return RunRecord(
        key=job.key,
        spec=job.spec.settings(),
        identity=job.identity,
        task=_describe_task(job, materials),
        bytes_stored=sum(path.stat().st_size for path in (folder / ADAPTER_FOLDER).iterdir()),
        precision=job.precision,
        hardware=hardware.describe_hardware(job.device),
        versions=hardware.library_versions(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        folder=folder,
        **measured,
    )


def _describe_task(job: Job, materials: Materials) -> dict[str, Any]:
    """Return what a record keeps of its task."""
    task = materials.task(job.spec)
    plain = ("name", "num_labels", "source", "citation", "constant", "unit", "overlap")
    rows = {name: len(split) for name, split in task.splits.items()}
    return {
        **{name: getattr(task, name) for name in plain},
        **({} if task.kind in (CLASSIFICATION, REGRESSION) else {"kind": task.kind.name}),  # older records have none
        **({"drawn": task.drawn} if task.drawn else {}),
        **{name: list(getattr(task, name)) for name in ("label_names", "metrics", "notes")},  # as JSON gives them back
        "rows": rows,
        "majority": {name: _trivial_scores(job, materials, name) for name in rows if name != "train"},
        "units": {name: int(ids.max()) + 1 for name in rows if (ids := task.units(name)) is not None},
    }


def _trivial_scores(job: Job, materials: Materials, split: str) -> dict[str, float]:
    """Score the simplest answer; on validation by what needs no text."""
    task = materials.task(job.spec)
    metrics = task.metrics if split.startswith("test") else task.kind.scored_unwritten(task.metrics)
    labels = task.kind.strata(task.splits[split][:])
    return compute(metrics, answering_of(task.kind).trivial(job, materials, split), labels)


def _epoch(seen: float) -> float:
    """Return a whole number at the end of an epoch, which Trainer counts in floats, else a fraction."""
    return round(seen) if abs(seen - round(seen)) < 1e-6 else round(seen, 3)
