"""A run without gradient steps: a linear classifier, or a ridge regression, on features of the frozen model."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vxlab._version import __version__
from vxlab.adapters.core import base_fingerprints
from vxlab.adapters.placement import head_parameters
from vxlab.adapters.saving import FORMAT, write_adapter
from vxlab.experiments import ADAPTER_FOLDER, RunRecord, hardware
from vxlab.experiments.probes import (
    Linear,
    Strength,
    available_poolings,
    best_strength,
    cross_validate,
    features_of,
    fit,
    strengths,
)
from vxlab.experiments.runs.answering import Answers
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.recorder import keep_predictions, make_record, score_rows
from vxlab.experiments.scoring import compute
from vxlab.experiments.tasks import Task
from vxlab.progress import progress_bar

Features = dict[str, dict[str, NDArray[np.float32]]]
"""By split and pooling."""
_EPOCH = 0
"""At which a probe is scored: no epoch of training went before."""


class Fitted(NamedTuple):
    """One pooling's classifier, and how it does on validation."""

    linear: Linear
    strength: Strength
    score: float


def fit_probe(job: Job, folder: Path, materials: Materials, model: nn.Module, held: int, progress: bool) -> RunRecord:
    """Fit a probe, choose its pooling on validation, test it once, and leave in its folder what a run leaves.

    Args:
        job: the run.
        folder: its own.
        materials: where its rows are.
        model: frozen, on the job's device, in evaluation mode.
        held: bytes of memory held before.
        progress: show a bar while rows are read, and one while penalties are tried.

    Raises:
        VxlabError: as :mod:`vxlab.experiments.probes.probe_features` and :mod:`vxlab.experiments.probes.linear_probe`.
    """
    task, started = materials.task(job.spec), time.perf_counter()
    features = _read(job, materials, model, progress)
    labels = {name: _labels(task, name) for name in features}
    fitted = _fit(features, labels, task, progress)
    pooling = max(fitted, key=lambda name: fitted[name].score)  # of equals the first
    linear, strength, _ = fitted[pooling]
    logits = {name: linear.logits(found[pooling]) for name, found in features.items() if name != "train"}
    seconds = time.perf_counter() - started
    tests = [name for name in logits if name.startswith("test")]
    keep_predictions(folder, job, materials, {name: Answers(logits[name], labels[name]) for name in tests})
    chosen = {
        "pooling": pooling,
        "strength": strength.value,
        "folds": strength.folds,
        "edge": strength.edge,
        "validation": {name: each.score for name, each in fitted.items()},
    }
    _save(model, linear, chosen, folder / ADAPTER_FOLDER)
    size, total = linear.weight.size + linear.bias.size, sum(each.numel() for each in model.parameters())
    record = make_record(
        job,
        folder,
        materials,
        status="finished",
        metrics=_rows(task, logits, labels),
        curve=[],
        best_epoch=_EPOCH,
        parameters={"backbone": 0, "head": size, "total": total},
        layers=0,
        steps=0,
        step_seconds=math.nan,
        train_seconds=seconds,
        peak_memory=hardware.peak_memory(job.device) - held,
        probe=chosen,
    )
    record.save()
    return record


def _read(job: Job, materials: Materials, model: nn.Module, progress: bool) -> Features:
    splits, collate = materials.splits(job.spec), materials.collate(job.spec)
    poolings = available_poolings(model, splits["train"], collate)
    total = sum(len(rows) for rows in splits.values())
    with progress_bar(total, f"probe on {materials.task(job.spec).name}", "row", shown=progress) as bar:
        return {
            name: features_of(model, rows, collate, poolings, job.precision, bar.update)
            for name, rows in splits.items()
        }


def _labels(task: Task, split: str) -> NDArray[Any]:
    """Return labels as a trainer hands them back."""
    return np.asarray(task.splits[split]["label"], dtype=np.float32 if task.num_labels == 1 else np.int64)


def _fit(features: Features, labels: dict[str, NDArray[Any]], task: Task, progress: bool) -> dict[str, Fitted]:
    poolings = features["train"]
    total = len(poolings) * len(strengths(task.num_labels))
    with progress_bar(total, "fitting the probe", "penalty", delay=2.0, shown=progress) as bar:
        return {name: _fitted(features, labels, name, task, bar.update) for name in poolings}


def _fitted(
    features: Features, labels: dict[str, NDArray[Any]], pooling: str, task: Task, done: Callable[[], object]
) -> Fitted:
    """Choose one pooling's strength within train, or on validation where there are no two folds; fit it on all rows."""
    metric, classes = task.metrics[0], task.num_labels
    train, validation = features["train"][pooling], features["validation"][pooling]

    def score(linear: Linear) -> float:
        return compute([metric], linear.logits(validation), labels["validation"])[metric]

    strength = cross_validate(train, labels["train"], classes, metric, task.units("train"), done)
    if strength is None:
        tried = [score(fit(train, labels["train"], classes, each)) for each in strengths(classes)]
        strength = best_strength(tried, classes, folds=0)
    linear = fit(train, labels["train"], classes, strength.value)
    return Fitted(linear, strength, score(linear))


def _rows(task: Task, logits: dict[str, NDArray[Any]], labels: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    rows = []
    for split, predicted in logits.items():
        scores = compute(task.metrics, predicted, labels[split]) | {"loss": _loss(predicted, labels[split])}
        rows += score_rows(_EPOCH, split, scores)
    return rows


def _loss(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the mean cross-entropy, or the mean squared error of a regression."""
    answers, truth = torch.from_numpy(logits), torch.from_numpy(labels)
    if logits.shape[1] == 1:
        return float(nn.functional.mse_loss(answers[:, 0], truth.double()))
    return float(nn.functional.cross_entropy(answers, truth))


def _save(model: nn.Module, linear: Linear, chosen: dict[str, Any], folder: Path) -> None:
    """Write the coefficients beside what they were fitted on, as an adapter's two files."""
    head = head_parameters(model)
    frozen = {name: each for name, each in model.named_parameters() if name not in head}
    settings = {
        "format": FORMAT, "method": "probe", "settings": {}, "layers": [], "base": base_fingerprints(frozen),
        "probe": chosen, "vxlab": __version__, "torch": torch.__version__,
    }  # fmt: skip
    tensors = {"weight": torch.from_numpy(linear.weight).float(), "bias": torch.from_numpy(linear.bias).float()}
    write_adapter(folder, settings, tensors)
