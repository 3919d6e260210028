"""Jobs for the engines' tests, importable as what a worker is given must be, and what those tests do with them."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import torch

from vxlab.errors import DataWarning
from vxlab.experiments.engines import Engine, Outcome


def double(number: int, seconds: float = 0.0) -> int:
    """Return twice the number, after a while."""
    time.sleep(seconds)
    return 2 * number


def who() -> dict[str, Any]:
    """Return what a job sees of its process."""
    return {
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "files_of_driver": Path(__file__).exists(),
    }


def warn_of_data() -> None:
    """Warn as a job does that loads what its driver has loaded already."""
    warnings.warn("a text stands in two splits", DataWarning, stacklevel=1)


def fail(message: str) -> None:
    """Raise."""
    raise ValueError(message)


class StubbornError(Exception):
    """An exception that pickle takes and cannot rebuild, and that holds what pickle refuses."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__("two words\nin two lines")
        self.held = lambda: (one, two)


def fail_stubbornly() -> None:
    """Raise what no pickle carries."""
    raise StubbornError("a", "b")


def return_a_lambda() -> Any:
    """Return what no pickle carries."""
    return lambda: 0


def leave(code: int) -> None:
    """Ask the interpreter to exit."""
    sys.exit(code)


def vanish(code: int) -> None:
    """End the process without a word."""
    os._exit(code)


def be_killed() -> None:
    """Kill the process that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def be_killed_once(marker: str) -> int:
    """Kill the process that runs this, but for the second time return its id."""
    path = Path(marker)
    if not path.exists():
        path.write_text(str(os.getpid()))
        be_killed()
    return os.getpid()


def exhaust_memory() -> None:
    """Ask torch for more memory than any address space has."""
    torch.empty(2**60, dtype=torch.uint8)


def mark_and_wait(folder: str, name: str, seconds: float) -> str:
    """Leave a file that names this process, wait, and return the name."""
    (Path(folder) / f"{name}.{os.getpid()}").touch()
    time.sleep(seconds)
    return name


def outcomes(engine: Engine, *jobs: tuple[Any, ...]) -> dict[str, Outcome]:
    """Submit jobs, each a key, a function and its arguments, and return their outcomes by key."""
    for key, function, *args in jobs:
        engine.submit(key, function, *args)
    return drained(engine, len(jobs))


def drained(engine: Engine, count: int, seconds: float = 60) -> dict[str, Outcome]:
    """Return so many outcomes by key; every one must come, and none twice."""
    came: list[Outcome] = []
    deadline = time.monotonic() + seconds
    while len(came) < count and time.monotonic() < deadline:
        came += engine.finished(timeout=1)
    assert engine.finished(timeout=0) == []
    assert len(came) == len({outcome.key for outcome in came}) == count
    return {outcome.key: outcome for outcome in came}


def marks(folder: Path, count: int, seconds: float = 60) -> set[int]:
    """Wait for so many jobs to have begun in a folder; return the ids of their processes."""
    deadline = time.monotonic() + seconds
    while len(found := list(folder.glob("*.*"))) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} jobs began"
        time.sleep(0.05)
    return {int(path.suffix[1:]) for path in found}


def gone(pids: set[int], seconds: float = 5) -> None:
    """Wait until none of the processes runs."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)
