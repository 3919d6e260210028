"""The test items of a run, asked again of its model with other weights, without training."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec, hardware
from vxlab.experiments.runs import Materials, reading_spec
from vxlab.experiments.tasks import Task, sample
from vxlab.experiments.tasks.kinds import MULTIPLE_CHOICE
from vxlab.spectra import in_threads

_Batch = Callable[[], Mapping[str, Tensor]]


class AskedItems:
    """Test items in batches as a run read them, and what models answer to them in the run's precision.

    Args:
        record: a finished run.
        items: a seeded, stratified sample of the test split; None, or more than there are, takes all.
        device: to ask on: ``auto``, ``cuda``, ``mps`` or ``cpu``; None takes the run's.

    Raises:
        VxlabError: the task is one of multiple choice, or the device is not there.
    """

    def __init__(self, record: RunRecord, items: int | None = None, device: str | None = None) -> None:
        spec = reading_spec(record)
        self.device = hardware.resolve_device(device or spec.device)
        self.dtype = getattr(torch, record.precision)
        materials = Materials(reuse=False)
        task = materials.task(spec)
        if task.kind is MULTIPLE_CHOICE:
            raise VxlabError(
                f"run {record.key[:12]} is of {task.name}, a task of multiple choice, whose items are not scored by "
                "sums of their answers; take a task with labels, or one in which the model writes"
            )
        self.kind, (self.batches, rows) = task.kind, _batches(spec, materials, items)
        self.rows = list(dict.fromkeys(rows))
        """the items' in the test split"""
        places = {row: place for place, row in enumerate(self.rows)}
        self.places = torch.tensor([places[row] for row in rows])
        self.labels = _strata(task)[self.rows].astype(float).tolist()

    def answers(self, model: nn.Module) -> list[list[float]]:
        """Return what a model answers to each item: the sums of its rows' answers, by column.

        Args:
            model: of the run's kind, on the device and in evaluation mode.
        """
        # Batches share out torch's threads: a small model's steps are too short to be split among them.
        found = torch.cat(in_threads(lambda batch: self._answered(model, batch), self.batches)).double()
        sums = torch.zeros(len(self.rows), found.shape[1], dtype=found.dtype)
        added: list[list[float]] = sums.index_add_(0, self.places, found).tolist()
        return added

    @torch.inference_mode()
    def _answered(self, model: nn.Module, batch: _Batch) -> Tensor:
        moved = {name: tensor.to(self.device) for name, tensor in batch().items()}
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            return self.kind.answer(model, moved).cpu()


def _batches(spec: RunSpec, materials: Materials, items: int | None) -> tuple[list[_Batch], list[int]]:
    """Return batches of test items of like length, and the row in the test split of each of their rows."""
    split, task = materials.splits(spec)["test"], materials.task(spec)
    if items is not None and items < len(task.splits["test"]):
        keep = sample(_strata(task), items, seed=0)  # in the split's own order, whatever the lengths are
        split = split.select(np.flatnonzero(np.isin(np.asarray(split["row"]), keep)))
    collate = materials.collate(spec, packing=False)
    inputs = split.remove_columns(["length", "row"])

    def make(start: int, stop: int) -> Mapping[str, Tensor]:
        return dict(collate([inputs[i] for i in range(start, stop)]))

    images = task.kind.reads == "images"  # whose pixels would fill the memory: each batch is made when it is asked
    most = min(spec.batch_size * (2 if images else 8), task.kind.most_scored or len(split))
    batches: list[_Batch] = [partial(make, each, min(each + most, len(split))) for each in range(0, len(split), most)]
    return batches if images else [partial(dict, batch()) for batch in batches], list(split["row"])


def _strata(task: Task) -> NDArray[Any]:
    return task.kind.strata(task.splits["test"][:])
