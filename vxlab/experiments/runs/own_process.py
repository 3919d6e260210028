"""A run in a process of its own, listened to from here.

A thread would share torch's random state with whatever runs beside it, and then neither's numbers could be repeated;
it would also share Python's lock with the widgets that show it.
"""

import time
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.engines import Outcome, attempt, begin, born_with, death
from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.listener import Listener
from vxlab.experiments.runs.one_run import settle_job, train_job
from vxlab.experiments.store import Store

_LOOK = 0.2
"""Seconds between two looks at what the run tells, and between two steps that it tells."""


def run_beside(job: Job, results: Store, listener: Listener) -> RunRecord:
    """Train a job in a process of its own, or return what the store has; wait until it is there.

    The process ends with this one, however this one ends, and its lease is then free, as a killed run's is. It is deaf
    to Ctrl-C, which a notebook's reader means for the cell that is at work.

    Args:
        job: the run.
        results: the store.
        listener: as :func:`vxlab.run` takes it, called by the thread that waits here.

    Raises:
        VxlabError: as :func:`vxlab.run`; or the process died, or what was raised in it, with its type in words.
    """
    return settle_job(job, results, lambda: _in_a_process(job, results.folder_of(job.key), listener), listener)


def _in_a_process(job: Job, folder: Path, listener: Listener) -> RunRecord:
    context = get_context("spawn")
    pipe, its_end = context.Pipe()
    arguments = (its_end, job, str(folder), torch.get_num_threads())  # as many threads: the same sums to the last digit
    process = context.Process(target=_train, args=arguments, daemon=True, name="vxlab-live-run")
    with born_with({}):
        process.start()
    its_end.close()  # or the pipe would not end with the process
    try:
        outcome = _listened(pipe, listener)
        process.join(5)
        if outcome is None:
            raise VxlabError(death(process.exitcode, born=True))
        if outcome.error:
            raise VxlabError(outcome.error.removeprefix("VxlabError: "))
        record: RunRecord = outcome.value
        return record
    finally:
        pipe.close()
        process.kill()
        process.join()
        process.close()


def _listened(pipe: Connection, listener: Listener) -> Outcome | None:
    """Pass on what the process tells, and a wish to stop; return how it ended, None where it died."""
    asked = False
    while True:
        try:
            if pipe.poll(_LOOK):
                name, *told = pipe.recv()
                if name == "ended":
                    outcome: Outcome = told[0]
                    return outcome
                getattr(listener, name)(*told)
            if not asked and listener.stop_asked():
                asked = True
                pipe.send("stop")
        except (EOFError, OSError):
            return None


def _train(pipe: Connection, job: Job, folder: str, threads: int) -> None:
    """Train in the process, and send how it ended."""
    begin(threads)
    pipe.send(("ended", attempt(job.key, _trained, (job, Path(folder), _Teller(pipe)))))


def _trained(job: Job, folder: Path, teller: "_Teller") -> RunRecord:
    materials = Materials(reuse=False)
    if (key := materials.job(job.spec, job.device).key) != job.key:
        raise VxlabError(f"the model's or the task's files have changed this moment (run {key[:12]} now); start again")
    return train_job(job, folder, materials, listener=teller)


class _Teller:
    """The listener in the process: it passes everything on."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._stop, self._told = pipe, False, 0.0

    def stop_asked(self) -> bool:
        self._stop = self._stop or (self._pipe.poll() and self._pipe.recv() == "stop")
        return self._stop

    def on_wait(self) -> None:
        self._pipe.send(("on_wait",))

    def on_begin(self, step: int, steps: int) -> None:
        self._pipe.send(("on_begin", step, steps))

    def on_step(self, step: int) -> None:
        # All steps of a fast run would fill the pipe, and a reader sees no more.
        if time.monotonic() - self._told >= _LOOK:
            self._told = time.monotonic()
            self._pipe.send(("on_step", step))

    def on_log(self, row: Mapping[str, Any]) -> None:
        self._pipe.send(("on_log", dict(row)))

    def on_validation(self, row: Mapping[str, Any]) -> None:
        self._pipe.send(("on_validation", dict(row)))
