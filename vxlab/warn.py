"""Warnings to a user: at the line of their own code that led to them, and once where many runs would repeat one."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

from vxlab.errors import VxlabWarning

_told: set[tuple[str, type[VxlabWarning], str]] = set()
_looking_ahead = ContextVar("_looking_ahead", default=False)


def warn_once(message: str, category: type[VxlabWarning] = VxlabWarning, about: str = "") -> None:
    """Warn of something, once in a process: runs load their model and data anew, and Python forgets what it has said.

    Args:
        message: what there is to know.
        category: by which users may filter it.
        about: what tells two occasions with the same message apart, such as a fingerprint.
    """
    occasion = (message, category, about)
    if occasion not in _told and not _looking_ahead.get():
        _told.add(occasion)
        warnings.warn(message, category, stacklevel=_level_of_the_user())


@contextlib.contextmanager
def looking_ahead() -> Iterator[None]:
    """Say nothing of what is loaded here only to look at it: the run that follows says it."""
    before = _looking_ahead.set(True)
    try:
        yield
    finally:
        _looking_ahead.reset(before)


def forget_what_was_told() -> None:
    """Let everything be said anew, as in a new process."""
    _told.clear()


def _level_of_the_user() -> int:
    """Return the stack level, for the function that calls this, of the nearest frame outside vxlab."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith("vxlab."):
        frame, level = frame.f_back, level + 1
    return level
