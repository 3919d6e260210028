"""What is known of a run while it trains, and the words for it."""

import math
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vxlab.experiments import ENDED_EARLY
from vxlab.experiments.scoring import in_words
from vxlab.views.figures import RUNNING
from vxlab.views.style import escape
from vxlab.words import time_left, write_number

if TYPE_CHECKING:
    from vxlab.experiments import RunRecord, RunSpec
    from vxlab.experiments.tasks import Task

_GOES_ON = "Asked for again, the run goes on from its last whole epoch, or from its start where none was whole."


class SoFar:
    """A run as its listener has heard of it.

    Args:
        spec: the run.
        task: its rows.
    """

    status = RUNNING

    def __init__(self, spec: "RunSpec", task: "Task") -> None:
        self.spec = spec.settings()
        named = {"name": task.name, "kind": task.kind.name, "num_labels": task.num_labels}
        self.task: dict[str, Any] = named | {"metrics": list(task.metrics)}
        self.curve: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.best_epoch: float | None = None
        self.probe: dict[str, Any] = {}  # which takes no steps, and has no live run
        self.step = self.steps = 0
        self._first, self._began, self._best = 0, 0.0, -math.inf
        self._waits = False
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the run to end."""
        self._stop.set()

    def stop_asked(self) -> bool:
        return self._stop.is_set()

    def on_wait(self) -> None:
        self._waits = True

    def on_begin(self, step: int, steps: int) -> None:
        self.step, self.steps, self._first, self._began = step, steps, step, time.monotonic()

    def on_step(self, step: int) -> None:
        self.step = step

    def on_log(self, row: Mapping[str, Any]) -> None:
        self.curve.append(dict(row))
        self.step = row["step"]

    def on_validation(self, row: Mapping[str, Any]) -> None:
        metric = self.task["metrics"][0]
        self.metrics.append({"epoch": row["epoch"], "split": "validation", "metric": metric, "value": row[metric]})
        self.step = row["step"]
        if row[metric] > self._best:
            self._best, self.best_epoch = row[metric], row["epoch"]

    def words(self) -> str:
        """Say where the run is."""
        if not self.steps:
            return _WAITS if self._waits else "loading the model and the task"
        done, share = f"step {self.step:,} of {self.steps:,}", self.spec.get("ends_after", 1.0)
        if self.step == self.steps:
            tests = ", and testing the best checkpoint" if share == 1 else ""
            return f"{done} · validating{tests}"
        if self.stop_asked():
            return f"{done} · stopping: what was trained since the last validation is validated"
        epochs = self.spec["epochs"]
        parts = [
            done,
            f"epoch {epochs * share * self.step / self.steps:.1f} of {epochs}",
            self._time_left(),
            self._scores(),
        ]
        return " · ".join(part for part in parts if part)

    def _time_left(self) -> str:
        done = self.step - self._first
        seconds = (time.monotonic() - self._began) * (self.steps - self.step) / done if done else math.nan
        return f"about {time_left(seconds)} left" if done else ""

    def _scores(self) -> str:
        if self.best_epoch is None:
            return ""
        best = f"{in_words(self.task['metrics'][0])} {write_number(self._best, '.3f')}"
        return f"best validation {best}, epoch {self.best_epoch:.3g}"


_WAITS = "another process trains this run; its result will be shown here"


def describe_end(record: "RunRecord") -> str:
    """Say how a run ended, and what is kept of it.

    Args:
        record: of a run that trained here.
    """
    took = f"{record.steps:,} steps"
    if record.status == "diverged":
        return (
            f"diverged after {took}: the loss was no longer finite, or 10 times its start. It has no test score; most "
            "often a smaller learning_rate helps."
        )
    metric, validation = record.task["metrics"][0], write_number(record.score(split="validation"), ".3f")
    chosen = f"{in_words(metric)} {validation} on validation, epoch {record.best_epoch:.3g}"
    if record.status == "stopped":
        folder = f"<code style='overflow-wrap:anywhere'>{escape(str(record.folder / 'adapter'))}</code>"
        return f"stopped after {took}; the best checkpoint ({chosen}) is kept in<br>{folder}<br>{_GOES_ON}"
    if record.status == ENDED_EARLY:
        return f"ended after {took}, as it was asked to: {chosen}; it is not tested"
    return f"finished after {took}: test {in_words(metric)} <b>{write_number(record.score(), '.3f')}</b> ({chosen})"


def describe_failed_run(error: str) -> str:
    """Say why a run failed."""
    return f"<b>failed</b>: {escape(error)}<br>{_GOES_ON}"
