"""How far a sweep is: one line that says what is done, running and failed, the time left, and the highest score."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from vxlab.experiments import RunRecord, method_label
from vxlab.experiments.runs import Job
from vxlab.progress import headless, progress_bar
from vxlab.words import number_of, write_number

RESUME = "Do the same again to go on: what has finished is kept."


class SweepProgress:
    """Show a sweep's progress, in JupyterLab as a widget, elsewhere as text.

    Args:
        total: number of runs.
        show: False shows nothing.
        description: what the runs are for.
    """

    def __init__(self, total: int, show: bool = True, description: str = "sweep") -> None:
        self.total, self.show, self.description = total, show, description
        self.counts: Counter[str] = Counter()
        self.highest: tuple[float, str] | None = None
        self.errors: dict[str, str] = {}
        self.notes: list[str] = []
        self._running = self._elsewhere = 0
        self._bar: Any = None

    def __enter__(self) -> "SweepProgress":
        if self.show:
            self._bar = progress_bar(self.total, self.description, "run")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if not self.show:
            return
        if kind is not None:
            print(f"\nStopped with {self.counts.total()} of {self.total} runs done. {RESUME}")
        for name, told in list(self.errors.items())[:3]:
            print(f"failed: {name}: {told}")
        if len(self.errors) > 3:
            print(f"… and {len(self.errors) - 3} more; the table's column `error` has them all.")

    def running(self, here: int, elsewhere: int = 0) -> None:
        """Tell how many runs are under way here, and how many are waited for that others train."""
        changed = (here, elsewhere) != (self._running, self._elsewhere)
        self._running, self._elsewhere = here, elsewhere
        if changed:
            self._write(now=True)

    def done(
        self, job: Job, status: str, record: Callable[[], RunRecord | None], error: str = "", here: bool = True
    ) -> None:
        """Count a run as ``finished``, ``diverged`` or ``failed``; ``here`` where it was trained by this sweep now."""
        self.counts[status] += 1
        self._running -= 1 if here and self._running else 0
        if status == "failed":
            spec = job.spec
            where = f", learning rate {spec.learning_rate:g}, seed {spec.seed}" if spec.method.by_gradient else ""
            where += "" if spec.shots is None else f", draw {spec.draw} of {number_of(spec.shots, 'shot')}"
            self.errors[method_label(spec.method) + where] = error
        elif self._bar is not None and (found := record()) is not None:
            self._compare(found)
        self._write()
        if self._bar is not None:
            self._bar.initial += 0 if here else 1  # what took no time here says nothing of the time left
            self._bar.update()

    def note(self, sentences: Iterable[str]) -> None:
        """Say what the user should know, each sentence once."""
        for sentence in sentences:
            if self.show and sentence not in self.notes:
                self.notes.append(sentence)
                print(sentence)

    def _compare(self, record: RunRecord) -> None:
        score = record.score(split="validation")
        if math.isfinite(score) and (self.highest is None or score > self.highest[0]):
            self.highest = (score, method_label(record.spec["method"]))

    def _write(self, now: bool = False) -> None:
        if self._bar is None:
            return
        parts = [f"{self._running} running"] if self._running else []
        parts += [f"{self._elsewhere} elsewhere"] if self._elsewhere else []
        parts += [f"{self.counts[status]} {status}" for status in ("diverged", "failed") if self.counts[status]]
        if self.highest is not None:
            parts.append(f"highest on validation {self.highest[1]} {write_number(self.highest[0], '.3f')}")
        self._bar.set_postfix_str(", ".join(parts), refresh=now and not headless())
