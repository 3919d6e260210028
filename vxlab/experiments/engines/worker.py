"""The worker's side of a process engine: take a job, perform it, send the outcome, until the pipe ends."""

import contextlib
import os
import pickle
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from vxlab.experiments.engines.base import fail, perform

READY = b""
"""What a worker sends first: it has come up, so that a later death is not the fault of its start."""


def serve(pipe: Connection, threads: int, workers: int) -> None:
    """Perform the jobs that come through the pipe; return when the driver closes it.

    Args:
        pipe: packed ``(key, function, args)`` come in, packed outcomes go out.
        threads: how many threads torch may use here.
        workers: how many workers share this machine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer: it stops its workers
    threading.Thread(target=end_with_the_driver, daemon=True).start()
    _use_threads(threads)
    with contextlib.suppress(EOFError, OSError):  # the driver has closed its end
        pipe.send_bytes(READY)
        while True:
            pipe.send_bytes(_outcome(pipe.recv_bytes(), workers))


def packed_job(key: str, function: object, args: tuple[object, ...]) -> bytes:
    """Pack a job: its key apart, so that a job that cannot be rebuilt still has a name."""
    return pickle.dumps((key, pickle.dumps((function, args))))


def _outcome(job: bytes, workers: int) -> bytes:
    key, packed = pickle.loads(job)
    try:
        function, args = pickle.loads(packed)
    except Exception as error:
        return pickle.dumps(fail(key, TypeError(f"the job cannot be rebuilt in a worker: {error}")))
    return perform(key, function, args, workers)


def end_with_the_driver() -> None:
    """End this process as soon as the one that started it ends; for a thread of its own."""
    driver = parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)  # at once, whatever the job is at: nobody is left to hear of it


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
