"""A whole run of the scale ``paper`` in little: its true model with random weights, a task of random words, one batch.

Everything that a sweep does with a run is done: an epoch, its validation and checkpoint, a stop, the checkpoint taken
up again, a second epoch, and the test at the run's full length of text.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stand_ins

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, RunSpec

EVAL_EXAMPLES = 8


class StopAtOnce:
    """A listener that stops a run before its second step: after the first epoch, which is one batch."""

    def stop_asked(self) -> bool:
        return True

    def on_wait(self) -> None: ...

    def on_begin(self, step: int, steps: int) -> None: ...

    def on_step(self, step: int) -> None: ...

    def on_log(self, row: Mapping[str, Any]) -> None: ...

    def on_validation(self, row: Mapping[str, Any]) -> None: ...


def rehearsed(
    spec: RunSpec, folder: Path, *, device: str = "auto", tiny: bool = False, model: str | None = None
) -> RunRecord:
    """Run a spec of the scale ``paper`` twice over one batch: stopped after the first, and taken up again.

    Args:
        spec: its model, task, targets, rates, length and batch are kept; its epochs are two.
        folder: for the stand-ins and the store.
        device: as a spec takes it.
        tiny: a model of two narrow layers.
        model: folder of the stand-in, where it is written already.

    Raises:
        VxlabError: the run did not stop, or went on elsewhere than where it stopped.
    """
    if spec.task == "e2e":
        model = model or stand_ins.write_writer(folder / "model", tiny)
        rows = stand_ins.write_e2e(folder / "e2e", rows=2 * spec.batch_size)
    else:
        model = model or stand_ins.write_model(folder / "model", spec.model, tiny)
        rows = stand_ins.write_glue(folder / "glue", spec.task, rows=2 * spec.batch_size, longest=spec.max_length + 20)
    short = dataclasses.replace(
        spec, model=model, task_folder=rows, epochs=2, train_examples=spec.batch_size, eval_examples=EVAL_EXAMPLES,
        device=device,
    )  # fmt: skip
    stopped = vxlab.run(short, store=folder / "store", progress=False, listener=StopAtOnce())
    record = vxlab.run(short, store=folder / "store", progress=False)
    found = (stopped.status, stopped.steps, record.status, record.steps)
    if found != ("stopped", 1, "finished", 2):
        raise VxlabError(f"the rehearsal stopped and went on as {found}; expected one step, and two in the end")
    return record
