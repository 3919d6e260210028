"""What every engine is: jobs go in, outcomes come out, and a job that fails never stops the others."""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from vxlab.checks import quote, settle
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.engines.failures import describe_failure, format_traceback


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    key: str
    """the job's, as submitted"""
    value: Any = None
    """what the function returned"""
    error: str = ""
    """``Type: message`` on one line; empty where the job succeeded"""
    traceback: str = ""
    """of the exception, where it was raised; empty where the worker died"""
    lost: bool = False
    """the worker died (killed, its node gone): the job itself raised nothing, and another attempt may succeed"""


class Engine(Protocol):
    """Run functions somewhere: in this process, in others, or on a cluster.

    A context manager: leaving it stops every job that is not done, and all that entering and submitting started.
    """

    @property
    def slots(self) -> int:
        """Return how many jobs can run at once now; it may change as nodes of a cluster come and go."""

    @property
    def shared_files(self) -> bool:
        """Say whether the jobs read and write the files that this process sees, under the same paths."""

    @property
    def device(self) -> str | None:
        """Return the device of its jobs where they run elsewhere, ``cuda`` or ``cpu``; None means this machine's."""

    @property
    def retries(self) -> bool:
        """Say whether an outcome that is lost has been tried again already."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        """Hand over a job: a function that a module defines, and its arguments; both are pickled but inline."""

    def finished(self, timeout: float) -> list[Outcome]:
        """Return the outcomes that came since the last call, in the order of their coming.

        Args:
            timeout: seconds to wait for the first; inline performs the next job instead, however long it takes.

        Returns:
            Outcomes, each once; none when the time is up, or at once when no job is under way.
        """


MOST_WORKERS = 10_000
"""More were meant for something else."""


def require_workers(workers: Any) -> int | None:
    """Return the number of workers, None where it is left open; raise where it is none."""
    number: int | None = settle("workers", workers, int | None)
    if number is not None and not 1 <= number <= MOST_WORKERS:
        raise VxlabError(f"workers={quote(workers)} is not a number of workers; choose 1 or more, or None")
    return number


def attempt(key: str, function: Callable[..., Any], args: tuple[Any, ...], workers: int = 1) -> Outcome:
    """Call the function; return its value, or the exception as an outcome with an error.

    What is no ``Exception`` (``KeyboardInterrupt``, ``SystemExit``) passes through.

    Args:
        key: the job's.
        function: what to call.
        args: its arguments.
        workers: how many jobs share this machine, for the advice on memory.

    >>> attempt("a", divmod, (7, 2))
    Outcome(key='a', value=(3, 1), error='', traceback='', lost=False)
    >>> attempt("b", divmod, (7, 0)).error.partition(":")[0]
    'ZeroDivisionError'
    """
    try:
        return Outcome(key, function(*args))
    except Exception as error:
        return fail(key, error, workers)


def fail(key: str, error: BaseException, workers: int = 1) -> Outcome:
    """Return the outcome of a job that raised."""
    return Outcome(key, error=describe_failure(error, workers), traceback=format_traceback(error))


def perform(key: str, function: Callable[..., Any], args: tuple[Any, ...], workers: int) -> bytes:
    """Call the function in a worker, which outlives whatever is raised there, and pack the outcome for the way back.

    An exception travels as text, since not every exception can be pickled, nor be rebuilt where it arrives.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the driver has looked at the data, and said it
            outcome = attempt(key, function, args, workers)
    except BaseException as error:  # a job may not end its worker: neither by sys.exit nor by an interrupt of its own
        outcome = fail(key, error, workers)
    try:
        # Plain pickle, by value: multiprocessing's own would pass tensors in shared memory that dies with the worker.
        return pickle.dumps(outcome)
    except Exception as error:
        return pickle.dumps(fail(key, TypeError(f"what the job returned cannot be pickled: {error}")))


def unpack_outcome(key: str, packed: bytes) -> Outcome:
    """Return the outcome that :func:`perform` packed; one that cannot be rebuilt here is a failure of its job."""
    try:
        outcome = pickle.loads(packed)
    except Exception as error:
        return fail(key, TypeError(f"what the job returned cannot be read here: {error}"))
    return outcome  # type: ignore[no-any-return]
