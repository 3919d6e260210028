"""The engine of one process: each job runs here, when its outcome is asked for."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from vxlab.collector import pass_over_what_is_there
from vxlab.errors import VxlabError
from vxlab.experiments.engines.base import Outcome, attempt, require_workers


class InlineEngine:
    """Perform one job after the other in this process, in the order of their submission.

    Nothing is pickled and nothing started. Ctrl-C and ``sys.exit`` pass through :meth:`finished`.

    Args:
        workers: 1 or None.

    Raises:
        VxlabError: more workers are asked for.

    >>> with InlineEngine() as engine:
    ...     engine.submit("sum", sum, [1, 2, 3])
    ...     engine.finished(timeout=0)[0].value
    6
    """

    slots = 1
    shared_files = True
    device = None
    retries = False

    def __init__(self, workers: int | None = None) -> None:
        if require_workers(workers) not in (None, 1):
            raise VxlabError(f"workers={workers!r}: engine='inline' runs one job at a time; choose engine='processes'")
        self._waiting: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(pass_over_what_is_there())  # once for all jobs, and not for each
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        self._open.close()

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        """Queue a job."""
        self._waiting.append((key, function, args))

    def finished(self, timeout: float) -> list[Outcome]:
        """Perform the job that has waited longest, and return its outcome."""
        return [attempt(*self._waiting.popleft())] if self._waiting else []
