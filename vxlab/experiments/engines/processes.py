"""The engine of one machine: worker processes that stay, each with its share of the cores, or a GPU of its own."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Self

from vxlab.errors import VxlabError
from vxlab.experiments.engines.base import Outcome, fail, require_workers, unpack_outcome
from vxlab.experiments.engines.failures import death
from vxlab.experiments.engines.worker import READY, packed_job, serve

_PATIENCE = 5.0  # seconds that a worker has to end by itself before it is killed


class ProcessEngine:
    """Run jobs in worker processes of this machine.

    A worker starts with its first job and stays for the next, so that what a job loads into memory is there for the
    one after. A worker that dies costs the job it was at, which comes back as lost; the slot gets a new one. Workers
    end with this process, however it ends.

    Args:
        workers: how many; None means one for each GPU, or, without any, what
            :func:`default_workers` says.

    Raises:
        VxlabError: the number is not positive, or the engine is entered while a worker imports the main script.
    """

    shared_files = True
    device = None
    retries = False

    def __init__(self, workers: int | None = None) -> None:
        gpus = visible_gpus()
        self.slots = require_workers(workers) or len(gpus) or default_workers()
        threads = max(1, cores() // self.slots)
        self._slots = [
            _Slot(threads, self.slots, gpus[number % len(gpus)] if gpus else None) for number in range(self.slots)
        ]
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._unsent: list[Outcome] = []

    def __enter__(self) -> Self:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise VxlabError(
                "engine='processes' was started while a worker imports this script; put what the script does under "
                "`if __name__ == '__main__':`"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        for slot in self._slots:
            slot.stop()
        for slot in self._slots:
            slot.wait_until_gone()

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        """Give a job to an idle worker, or queue it."""
        try:
            self._waiting.append((key, packed_job(key, function, args)))
        except Exception as error:
            self._unsent.append(fail(key, TypeError(f"the job cannot be sent to a worker: {error}")))
        self._assign()

    def finished(self, timeout: float) -> list[Outcome]:
        """Return the outcomes there are, waiting up to ``timeout`` seconds for the first."""
        outcomes, self._unsent = self._unsent, []
        deadline = time.monotonic() + timeout
        while not outcomes and (busy := [slot for slot in self._slots if slot.key is not None]):
            ready = wait([slot.pipe for slot in busy if slot.pipe], max(0.0, deadline - time.monotonic()))
            outcomes = [outcome for slot in busy if slot.pipe in ready and (outcome := slot.outcome())]
            self._assign()
            if time.monotonic() >= deadline:
                break
        return outcomes

    def _assign(self) -> None:
        for slot in self._slots:
            if self._waiting and slot.key is None:
                slot.give(*self._waiting.popleft())


class _Slot:
    """One worker process at a time, and the job that it is at."""

    def __init__(self, threads: int, workers: int, gpu: str | None) -> None:
        self.key: str | None = None
        self.pipe: Connection | None = None
        self._process: SpawnProcess | None = None
        self._born = False
        self._threads, self._workers = threads, workers
        self._environment = {"OMP_NUM_THREADS": str(threads)} | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})

    def give(self, key: str, job: bytes) -> None:
        if self._process is None or not self._process.is_alive():
            self._clear()  # of a worker that was killed while it had nothing to do
            self._start()
        assert self.pipe is not None
        self.key = key
        with contextlib.suppress(OSError):  # a worker that died this moment: outcome() finds the pipe at its end
            self.pipe.send_bytes(job)

    def outcome(self) -> Outcome | None:
        """Read what the worker sent: its outcome, or that it is ready, or nothing more because it is dead."""
        assert self.pipe is not None
        try:
            message = self.pipe.recv_bytes()
        except (EOFError, OSError):
            return self._lost()
        if message == READY:
            self._born = True
            return None
        key, self.key = self.key, None
        assert key is not None
        return unpack_outcome(key, message)

    def stop(self) -> None:
        """Ask an idle worker to end, and end one that is at work or at its imports."""
        if self.pipe is not None:
            self.pipe.close()
        if self._process is not None and (self.key is not None or not self._born):
            self._process.terminate()
        self.key = None

    def wait_until_gone(self) -> None:
        if self._process is None:
            return
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        self._process = self.pipe = None

    def _lost(self) -> Outcome:
        assert self._process is not None
        self._process.join(_PATIENCE)
        error = death(self._process.exitcode, self._born, self._workers)
        key = self.key
        assert key is not None
        self._clear()
        return Outcome(key, error=error, lost=True)

    def _clear(self) -> None:
        self.stop()
        self.wait_until_gone()

    def _start(self) -> None:
        # spawn: a forked child would share CUDA's state and the locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        self.pipe, workers_end = context.Pipe()
        self._born = False
        self._process = context.Process(target=serve, args=(workers_end, self._threads, self._workers))
        with born_with(self._environment):
            self._process.start()
        workers_end.close()  # or the pipe would not end with the worker


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return how many workers this machine's cores take: two cores each, but two workers on two cores.

    Small models gain next to nothing from a second thread: two runs side by side on two cores take about two thirds
    of the time that they take in turn (MiniLM, batches of 8 short texts, bfloat16).
    """
    return min(cores(), max(2, cores() // 2))


def visible_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


@contextlib.contextmanager
def born_with(environment: dict[str, str]) -> Iterator[None]:
    """Let processes that start here have these variables from their first import on, and be deaf to Ctrl-C.

    A worker spends seconds on imports before its own code could ask for either.
    """
    resource_tracker.ensure_running()  # its own start, which the first worker's brings about, would unblock SIGINT
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # last: a Ctrl-C that waited is raised here
