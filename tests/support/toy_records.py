"""Finished runs written to disk without training."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import vxlab
from vxlab.experiments.record import PREDICTIONS_FILE, RunRecord
from vxlab.experiments.scoring.metrics import compute
from vxlab.experiments.spec import RunSpec


def run_record(folder: Path, logits: np.ndarray, labels: np.ndarray, **changed: Any) -> RunRecord:
    """Return a finished run that predicted ``logits`` on the test split, with ``task_metrics`` and fields as given.

    ``units`` numbers the units of its rows; without it each row is its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task, units = task_of(logits, labels, changed.pop("task_metrics", None)), changed.pop("units", None)
    tensors = {"test.logits": torch.tensor(logits), "test.labels": torch.tensor(labels)}
    if units is not None:
        tensors["test.units"], task["units"] = torch.tensor(units), {"test": int(units.max()) + 1}
    save_file(tensors, folder / PREDICTIONS_FILE)
    fields = {
        "key": str(folder),
        "spec": {"method": {"name": "vera"}, "epochs": 3, "learning_rate": 0.02, "model": "minilm"},
        "status": "finished",
        "task": task,
        "metrics": metric_rows(compute(task["metrics"], logits, labels)),
        "curve": curve([0.7, 0.6, 0.5, 0.45, 0.4, 0.42]),
        "best_epoch": 2,
        "parameters": {"backbone": 9216, "head": 770, "total": 22_500_000},
        "layers": 12,
        "bytes_stored": 41_234,
        "steps": 60,
        "step_seconds": 0.1,
        "train_seconds": 8.0,
        "peak_memory": 2**30,
        "precision": "float32",
        "hardware": {"processor": "a processor"},
        "versions": {},
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(**{**fields, **changed}, folder=folder)


IDENTITY = {"model": "0a1b", "task": "2c3d accuracy f1", "precision": "float32", "vxlab": "1.0"}
"""What a key holds beside the spec."""


def toy_spec(**changed: Any) -> dict[str, Any]:
    """Return a whole spec's settings."""
    fields: dict[str, Any] = {"method": vxlab.LoRA(rank=8), "learning_rate": 1e-3, "head_learning_rate": 5e-3}
    return RunSpec(**fields | changed).settings()


def key_of(number: int) -> str:
    """Return a key like a run's."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def stored_record(runs: Path, key: str, **changed: Any) -> RunRecord:
    """Return a finished run in its own folder under ``runs``, with a whole spec, as a store takes it."""
    logits = np.array([[0.5, -0.5], [0.1, 0.3], [-1.0, 2.0]], dtype=np.float32)
    fields = {"spec": toy_spec(), "identity": IDENTITY, **changed}
    return run_record(runs / key[:16], logits, np.array([0, 1, 0]), key=key, **fields)


def diverged_record(folder: Path, like: RunRecord, **changed: Any) -> RunRecord:
    """Return a run on the same task whose loss became NaN before its first epoch ended."""
    fields = {name: getattr(like, name) for name in RunRecord.__dataclass_fields__ if name not in ("key", "folder")}
    fields |= {"status": "diverged", "metrics": [], "curve": curve([0.7, 6.0, float("nan")]), "best_epoch": None}
    return RunRecord(**{**fields, "steps": 30, **changed}, key=str(folder), folder=folder)


def task_of(logits: np.ndarray, labels: np.ndarray, metrics: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return what a record says of its task; the trivial answer is class 0, or a constant."""
    classes = logits.shape[1]
    metrics = metrics or (("accuracy", "f1") if classes == 2 else ("pearson", "spearman"))
    return {
        "name": "toy",
        "num_labels": classes,
        "label_names": [f"class {i}" for i in range(classes)] if classes > 1 else [],
        "metrics": list(metrics),
        "rows": {"train": 640, "validation": 100, "test": len(labels)},
        "units": {},
        "majority": {"test": compute(metrics, np.zeros(len(labels)), labels)},
    }


def metric_rows(test: dict[str, float], validation: tuple[float, ...] = (0.70, 0.81, 0.79)) -> list[dict[str, Any]]:
    """Return three epochs of validation, of which the second is best, and the test scores at the second."""
    first = next(iter(test))
    rows = [{"epoch": i, "split": "validation", "metric": first, "value": v} for i, v in enumerate(validation, 1)]
    return rows + [{"epoch": 2, "split": "test", "metric": name, "value": value} for name, value in test.items()]


def curve(losses: list[float]) -> list[dict[str, Any]]:
    """Return a loss curve with a row every ten steps."""
    return [
        {"step": 10 * i, "epoch": i / 2, "loss": loss, "learning_rate": 1e-2} for i, loss in enumerate(losses, start=1)
    ]


def logits_with(hits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return two-class logits that are right exactly where ``hits`` is true."""
    return np.eye(2, dtype=np.float32)[np.where(hits, labels, 1 - labels)]
