"""Whoever listens to a run while it trains, and may stop it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vxlab.checks import quote
from vxlab.errors import VxlabError

CURVE = ("step", "epoch", "loss", "learning_rate")
"""What a row of the training curve holds."""
_OF_THE_CLOCK = ("runtime", "samples_per_second", "steps_per_second")


class Listener(Protocol):
    """Hear how a run goes, and stop it; the thread that trains calls every method and waits until it returns."""

    def stop_asked(self) -> bool:
        """Say whether the run is to end before its next step; it takes one step at the least."""

    def on_wait(self) -> None:
        """Hear, every second, that another process trains the run."""

    def on_begin(self, step: int, steps: int) -> None:
        """Hear that training begins after ``step`` of ``steps``; the rows from before a kill follow."""

    def on_step(self, step: int) -> None:
        """Hear that a step was taken."""

    def on_log(self, row: Mapping[str, Any]) -> None:
        """Hear a row of the curve: ``step, epoch, loss`` (the mean since the row before) and ``learning_rate``."""

    def on_validation(self, row: Mapping[str, Any]) -> None:
        """Hear the scores on the validation split: ``step, epoch, loss`` and the task's metrics by name."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The run is to end before its next step: a listener asked for it, or its spec did."""


def require_listener(listener: Any) -> None:
    """Raise unless this is a listener, or None."""
    lacking = [name for name in vars(Listener) if not name.startswith("_") and not callable(getattr(listener, name, 0))]
    if listener is not None and (lacking or isinstance(listener, type)):
        what = f"lacks {', '.join(lacking)}" if lacking else "is a class; make one of it"
        raise VxlabError(f"listener={quote(listener)} {what}; see vxlab.experiments.runs.listener.Listener")


def tell(listener: Listener, row: Mapping[str, Any]) -> None:
    """Pass on a row of Trainer's log, where it is one of training or of validation."""
    if "loss" in row:
        listener.on_log({name: row[name] for name in CURVE})
    elif "eval_loss" in row:
        named = {name.removeprefix("eval_"): value for name, value in row.items()}
        listener.on_validation({name: value for name, value in named.items() if name not in _OF_THE_CLOCK})


def waiting(listener: Listener | None) -> Callable[[], None]:
    """Return what to do at each look at a run that another process trains: tell so, and stop waiting where asked."""

    def tell_and_ask() -> None:
        if listener is not None:
            listener.on_wait()
            if listener.stop_asked():
                raise Stopped

    return tell_and_ask
