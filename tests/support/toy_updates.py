"""Finished runs of a tiny encoder whose adapters were moved by chance, without training."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import toy_records

import vxlab
from vxlab.experiments.record import RunRecord


def moved_run(
    folder: Path, model: str, method: Any, *, targets: str = "query-value", seed: int = 0, far: float = 0.1
) -> RunRecord:
    """Return a record, saved with its adapter: every trained tensor is normal with a deviation of ``far``."""
    trained = vxlab.attach(vxlab.load_model(model, 2), method, targets)
    generator = torch.Generator().manual_seed(seed)
    layers = vxlab.adapted_layers(trained).values()
    tensors = [parameter for layer in layers for parameter in layer.trained_tensors().values()]
    for parameter in tensors or [each for each in trained.parameters() if each.requires_grad]:
        noise = torch.randn(parameter.shape, generator=generator) * far
        parameter.data = noise if tensors else parameter.data + noise
    spec = {
        "model": model, "method": {"name": method.name, **method.settings()}, "targets": targets, "seed": seed,
        "learning_rate": 1e-3,
    }  # fmt: skip
    record = toy_records.run_record(folder, np.eye(2, dtype=np.float32), np.arange(2), spec=spec)
    vxlab.save_adapter(trained, record.folder / "adapter")
    record.save()
    return record
