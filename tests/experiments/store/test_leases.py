"""A lease is given up for its owner only where its process on this very machine is known to have ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vxlab.experiments.store import leases
from vxlab.experiments.store.leases import is_dead, new_owner


@pytest.fixture(scope="module")
def ended():
    """Return the owner that a process was which has ended."""
    program = "from vxlab.experiments.store.leases import new_owner; print(new_owner())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def _parts(owner):
    machine, pid, start, random = owner.rsplit(":", 3)
    host, boot, numbered = machine.split("/")
    return {"host": host, "boot": boot, "numbered": numbered, "pid": pid, "start": start, "random": random}


def _owner(parts):
    return "{host}/{boot}/{numbered}:{pid}:{start}:{random}".format(**parts)


def test_an_ended_process_is_dead_and_this_one_is_not(ended):
    assert is_dead(ended)
    assert not is_dead(new_owner())
    assert new_owner() != new_owner()


@pytest.mark.parametrize("part", ["host", "boot", "numbered"])
def test_a_process_of_another_machine_boot_or_container_is_never_dead(ended, part):
    assert not is_dead(_owner(_parts(ended) | {part: "other"}))


@pytest.mark.parametrize(
    "owner",
    ["{host}/{numbered}:{pid}:{start}:{random}", "{host}:{pid}:{start}:{random}", "{pid}", "", "a:b:c:d",
     "{host}/{boot}/{numbered}:-1:{start}:{random}"],
)  # fmt: skip
def test_names_of_an_earlier_form_are_never_dead(ended, owner):
    assert not is_dead(owner.format(**_parts(ended)))


def test_another_process_with_a_dead_ones_number_keeps_nothing_alive():
    parts = _parts(new_owner())
    assert is_dead(_owner(parts | {"start": str(float(parts["start"]) - 100)}))


def test_a_killed_process_that_nobody_waited_for_is_dead():
    program = "from vxlab.experiments.store.leases import new_owner; print(new_owner(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as process:
        owner = process.stdout.readline().strip()
        assert not is_dead(owner)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(owner)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the start is the clock's time")
def test_a_clock_that_is_set_kills_nobody(monkeypatch):
    import psutil

    owner = new_owner()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert not is_dead(owner)


def test_a_process_that_the_system_hides_is_not_dead(monkeypatch):
    import psutil

    def hidden(pid):
        raise psutil.NoSuchProcess(pid)

    owner = new_owner()
    monkeypatch.setattr(leases, "_started", lambda pid: None)
    monkeypatch.setattr(psutil, "Process", hidden)
    assert not is_dead(owner)


def test_without_a_boots_id_only_relatives_are_on_one_machine(monkeypatch):
    def absent(self, **_):
        raise FileNotFoundError(self)

    monkeypatch.delenv("VXLAB_BOOT", raising=False)
    leases._boot.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", absent)
        patch.setattr(sys, "platform", "other")
        first = leases._boot()
        leases._boot.cache_clear()
        assert leases._boot() == first == os.environ["VXLAB_BOOT"]
        leases._boot.cache_clear()
        patch.delenv("VXLAB_BOOT")
        assert leases._boot() != first
    os.environ.pop("VXLAB_BOOT")
    leases._boot.cache_clear()
