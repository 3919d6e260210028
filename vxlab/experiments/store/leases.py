"""Leases on runs: how long one lasts, who holds it (a process on a machine), and whether that still lives."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

LEASE_SECONDS = 60.0
"""A lease lasts so long unless its holder renews it."""

CLOCK_SLACK = 2.0
"""Seconds by which two readings of one process's start may differ, where the system derives it from its clock."""

_TREE = "VXLAB_BOOT"
"""Names the machine to the processes that this one starts, where the system has no name for its boot."""


def new_owner() -> str:
    """Return a name that no other holder has: ``machine:pid:start:random``."""
    found = _started(os.getpid())
    return f"{_machine()}:{os.getpid()}:{found or 0.0:.2f}:{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Say whether an owner was a process on this machine that no longer runs.

    Nothing is known, and False is returned, of another machine, of one of the same name, of an earlier boot, of a
    container that numbers its processes itself, and of names in another form, such as an earlier vxlab's.

    >>> is_dead(new_owner()), is_dead("elsewhere:1:0.0:ab")
    (False, False)
    """
    machine, *rest = owner.rsplit(":", 3)
    try:
        pid, start = int(rest[0]), float(rest[1])
    except (IndexError, ValueError):
        return False
    if machine != _machine() or pid < 1:
        return False
    found = _started(pid)
    # The number may have gone to another process since.
    return _is_gone(pid) if found is None else abs(found - start) > CLOCK_SLACK


def place_of(owner: str) -> str:
    """Return in words where an owner is.

    >>> place_of("mine/9f5a/4026531836:123:77.50:ab12")
    'process 123 on mine'
    """
    machine, *rest = owner.rsplit(":", 3)
    return f"process {rest[0]} on {machine.partition('/')[0]}" if len(rest) == 3 else owner


def _machine() -> str:
    """Name the machine, its boot and, under Linux, the container.

    Names of hosts repeat: a cluster's containers, laptops and clones of one image share them. A boot's id does not;
    containers share their host's, and are told apart by the space in which they number their processes.
    """
    numbered = ""
    with contextlib.suppress(OSError):
        numbered = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{socket.gethostname()}/{_boot()}/{numbered}"


@lru_cache(maxsize=1)
def _boot() -> str:
    """Return the id of the machine's boot, or else one that this process and those it starts share."""
    with contextlib.suppress(OSError):
        if found := Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip():
            return found
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            if told := done.stdout.strip():
                return told
    return os.environ.setdefault(_TREE, secrets.token_hex(8))


def _started(pid: int) -> float | None:
    """Return when a process started, in seconds on one clock for all who ask here; None where none is seen.

    One that was killed but not waited for has ended. Linux counts from the boot, whatever the clock is set to;
    elsewhere psutil gives the clock's time.
    """
    import psutil

    try:
        if not sys.platform.startswith("linux"):
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = told.rpartition(")")[2].split()  # the program's name may hold spaces and brackets
        return None if state in "ZX" else float(fields[18]) / os.sysconf("SC_CLK_TCK")
    except (OSError, psutil.Error):
        return None


def _is_gone(pid: int) -> bool:
    """Say whether no process that may be running has this number; some systems hide those of other users."""
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return os.name != "posix" or not _answers(pid)
    except psutil.Error:
        return False


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, and there
        pass
    return True
