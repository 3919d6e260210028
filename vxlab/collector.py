"""Python's garbage collector, kept from passing again and again over what stays."""

import contextlib
import gc
from collections.abc import Iterator

_passing_over = False


@contextlib.contextmanager
def pause_collector() -> Iterator[None]:
    """Start no collection meanwhile: importing makes a million objects, which stay, and next to no garbage.

    >>> with pause_collector():
    ...     gc.isenabled()
    False
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                # Both move all objects among the oldest, unseen: as young ones they would be passed over at once.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def pass_over_what_is_there() -> Iterator[None]:
    """Collect once, and leave what is there then out of every collection meanwhile.

    What is made meanwhile is collected as ever, and afterwards all is. Within an outer call, or where the caller has
    frozen objects by ``gc.freeze``, this does nothing.
    """
    global _passing_over
    if _passing_over or gc.get_freeze_count():  # in this order: the second counts them one by one
        yield
        return
    gc.collect()
    gc.freeze()
    _passing_over = True
    try:
        yield
    finally:
        _passing_over = False
        gc.unfreeze()


def pass_over_for_good() -> None:
    """Leave what is there now out of every later collection; where that was done already, this does nothing.

    For a process of our own, before it has made anything but imports.
    """
    global _passing_over
    if not _passing_over:
        gc.freeze()
        _passing_over = True
