"""Who holds a claim: a process on a machine, and whether it still lives."""

import os
import secrets
import socket
from pathlib import Path

CLOCK_SLACK = 2.0
"""Seconds by which two readings of one process's start may differ: the system derives it from a clock that is set."""


def new_owner() -> str:
    """Return a name that no other claimant has: ``host:pid:start:random``."""
    import psutil

    return f"{_host()}:{os.getpid()}:{psutil.Process().create_time():.2f}:{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Say whether an owner was a process on this machine that no longer runs; of other machines nothing is known.

    >>> is_dead(new_owner()), is_dead("elsewhere:1:0.0:ab")
    (False, False)
    """
    import psutil

    host, pid, start, _ = owner.rsplit(":", 3)
    if host != _host():
        return False
    try:
        process = psutil.Process(int(pid))
        # The number may have gone to another process since; and one that was killed but not waited for is dead, too.
        other = abs(process.create_time() - float(start)) > CLOCK_SLACK
        return bool(other or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # another user's, and there
        return False


def _host() -> str:
    """Name the machine, and under Linux the container: one may bear its host's name and number processes anew."""
    space = Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()}/{space.stat().st_ino}"
    except OSError:
        return socket.gethostname()
