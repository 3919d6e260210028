"""The worker's side of a process engine: take a job, perform it, send the outcome, until the pipe ends."""

import contextlib
import os
import pickle
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from vxlab.collector import pass_over_for_good, pause_collector
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
    begin(threads)
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
        with pause_collector():
            function, args = pickle.loads(packed)
    except Exception as error:
        return pickle.dumps(fail(key, TypeError(f"the job cannot be rebuilt in a worker: {error}")))
    pass_over_for_good()  # what the first job's code has imported
    return perform(key, function, args, workers)


def begin(threads: int) -> None:
    """Tie this process to the one that started it, whose Ctrl-C is its to answer; give torch so many threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    with pause_collector():
        import torch  # now: it takes long

    torch.set_num_threads(threads)


def _end_with_the_driver() -> None:
    driver = parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)  # at once, whatever the job is at: nobody is left to hear of it
