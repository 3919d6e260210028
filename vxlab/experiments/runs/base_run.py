"""A run of a model without a head as it is, without any training: the floor of what adapters add."""

import math
import time
from pathlib import Path

import torch
from torch import nn

from vxlab._version import __version__
from vxlab.adapters.core import base_fingerprints
from vxlab.adapters.saving import FORMAT, write_adapter
from vxlab.experiments import ADAPTER_FOLDER, RunRecord, hardware
from vxlab.experiments.runs.answering import answering_in_words
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.recorder import keep_predictions, make_record, score_rows
from vxlab.progress import progress_bar

_EPOCH = 0
"""At which it is scored: no epoch of training went before."""


def score_base(job: Job, folder: Path, materials: Materials, model: nn.Module, held: int, progress: bool) -> RunRecord:
    """Score a model as it is on validation and test, and leave in its folder what a run leaves.

    Args:
        job: the run.
        folder: its own.
        materials: where its rows are.
        model: on the job's device, in evaluation mode.
        held: bytes of memory held before.
        progress: show a bar while it reads and writes.
    """
    task, splits, started = materials.task(job.spec), materials.splits(job.spec), time.perf_counter()
    tests = [name for name in splits if name.startswith("test")]
    written = sum(len(task.splits[name]) for name in tests) if task.kind.writes else 0
    total = written + sum(len(splits[name]) for name in ("validation", *tests))
    answering = answering_in_words(task.kind)
    with progress_bar(total, f"base on {task.name}", "text", shown=progress) as bar:
        rows = score_rows(_EPOCH, "validation", answering.validate(model, job, materials, bar.update))
        found = {name: answering.answer(model, job, materials, name, bar.update) for name in tests}
    seconds = time.perf_counter() - started
    for name, (_, test_scores) in found.items():
        rows += score_rows(_EPOCH, name, test_scores)
    keep_predictions(folder, job, materials, {name: answers for name, (answers, _) in found.items()})
    settings = {
        "format": FORMAT, "method": "base", "settings": {}, "layers": [],
        "base": base_fingerprints(dict(model.named_parameters())), "vxlab": __version__, "torch": torch.__version__,
    }  # fmt: skip
    write_adapter(folder / ADAPTER_FOLDER, settings, {})
    record = make_record(
        job,
        folder,
        materials,
        status="finished",
        metrics=rows,
        curve=[],
        best_epoch=_EPOCH,
        parameters={"backbone": 0, "head": 0, "total": sum(each.numel() for each in model.parameters())},
        layers=0,
        steps=0,
        step_seconds=math.nan,
        train_seconds=seconds,
        peak_memory=hardware.peak_memory(job.device) - held,
    )
    record.save()
    return record
