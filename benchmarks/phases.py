"""Split a process's time into phases, each without what other phases take within it."""

import functools
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OTHER = "other"
_clocks = {"wall": time.perf_counter, "cpu": time.process_time}


class Phases:
    """Hold the seconds of phases, on the wall and of this process's processors."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {clock: defaultdict(float) for clock in _clocks}
        self._inside = [OTHER]
        self._since = self._now()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count time as this phase's until the end, or until another begins within it."""
        self._count()
        self._inside.append(name)
        try:
            yield
        finally:
            self._count()
            self._inside.pop()

    def watch(self, owner: Any, name: str, phase: str) -> None:
        """Count every call of a module's function, or of a class's method, as a phase's."""
        setattr(owner, name, self.wrap(getattr(owner, name), phase))

    def wrap(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """Return a function whose calls count as a phase's."""

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.phase(phase):
                return function(*args, **kwargs)

        return counted

    def watch_imports(self, phase: str) -> None:
        """Count whatever any module imports, wherever it does, as a phase's."""
        bootstrap: Any = importlib._bootstrap  # type: ignore[attr-defined]
        bootstrap._find_and_load = self.wrap(bootstrap._find_and_load, phase)  # which every import comes through

    def total(self) -> dict[str, dict[str, float]]:
        """Return the seconds so far, by clock and phase."""
        self._count()
        return {clock: dict(seconds) for clock, seconds in self.seconds.items()}

    def _now(self) -> dict[str, float]:
        return {clock: read() for clock, read in _clocks.items()}

    def _count(self) -> None:
        now = self._now()
        for clock, moment in now.items():
            self.seconds[clock][self._inside[-1]] += moment - self._since[clock]
        self._since = now
