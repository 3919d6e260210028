"""Processes that write to a bank and are killed, and such that read it meanwhile: forks of one that has imported all.

    python bank_children.py WHAT FOLDER [NUMBER]

prints what it saw as JSON. Every row's numbers follow from its name, so that any row that is read can be judged.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

import vxlab
from vxlab.adapters.bank import index as index_module
from vxlab.adapters.bank import shards
from vxlab.errors import VxlabError

BATCH = 50


def run(what: str, folder: Path, number: int = 0) -> dict:
    """Run one of the functions below in a new process, and return what it printed."""
    command = [sys.executable, __file__, what, str(folder), str(number)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def row_of(name: str, width: int) -> Tensor:
    """Return the row that goes with a name."""
    return torch.randn(width, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def rows_of(names: list[str], width: int) -> Tensor:
    return torch.stack([row_of(name, width) for name in names])


def kill_while_adding(folder: Path, kills: int) -> dict:
    """Kill a writer again and again at random moments; after each, look for all that it had acknowledged."""
    chance, kept = random.Random(0), 0
    said: dict[str, set[str]] = {"added": set(), "removing": set(), "removed": set()}
    for kill in range(kills):
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.close(reading)
            _add_for_ever(folder, f"k{kill:03d}", writing)
        os.close(writing)
        lines = os.fdopen(reading)
        lines.readline()
        time.sleep(chance.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for line in lines:
            if line.endswith("\n"):
                what, *names = line.split()
                said[what].update(names)
        with vxlab.AdapterBank.open(folder, writable=True) as bank:
            kept = bank.verify()
            wanted = sorted(said["added"] - said["removing"])
            assert torch.equal(bank.rows_of(wanted), rows_of(wanted, bank.layout.width))
            assert not said["removed"] & {*bank}
            _require_whole_batches({*bank} - said["added"])
    return {**{what: len(names) for what, names in said.items()}, "kept": kept}


def _add_for_ever(folder: Path, start: str, writing: int) -> None:
    """Add adapters alone and in batches, remove some and compact, saying what was done."""
    bank, number = vxlab.AdapterBank.open(folder, writable=True), 0
    os.write(writing, b"open\n")
    while True:
        number += 1
        single, batch = f"{start}-{number}", [f"{start}-{number}-{each}" for each in range(BATCH)]
        bank.add_many([single], rows_of([single], bank.layout.width))
        os.write(writing, f"added {single}\n".encode())
        bank.add_many(batch, rows_of(batch, bank.layout.width))
        os.write(writing, f"added {' '.join(batch)}\n".encode())
        if number % 3 == 0:
            os.write(writing, f"removing {single}\n".encode())
            bank.remove(single)
            os.write(writing, f"removed {single}\n".encode())
            bank.compact()


def _require_whole_batches(there: set[str]) -> None:
    """Raise where a part of a batch is there."""
    batches = Counter(name.rpartition("-")[0] for name in there if name.count("-") == 2)
    assert set(batches.values()) <= {BATCH}, batches


def kill_at_every_step(folder: Path, _: int) -> dict:
    """Kill a writer before and after every call that changes a file, while it adds, and while it compacts."""
    names, steps = [f"a{each:03d}" for each in range(40)], {}
    with vxlab.AdapterBank.open(folder, writable=True) as bank:
        bank.add_many(names, rows_of(names, width := bank.layout.width))
        for name in names[::3]:
            bank.remove(name)
        before = [*bank]
    for what, work in (("adding", _add_batch), ("compacting", vxlab.AdapterBank.compact)):
        steps[what], ended = 0, 1
        while ended:
            copy = folder.with_name(f"{what}-{steps[what]}")
            shutil.copytree(folder, copy)
            if not (child := os.fork()):
                _work_until(steps[what] + 1, copy, work)
            ended = os.waitpid(child, 0)[1]
            _check_after_a_kill(copy, before, width)
            steps[what] += bool(ended)
    return steps


def _check_after_a_kill(folder: Path, before: list[str], width: int) -> None:
    for writable in (False, True):
        with vxlab.AdapterBank.open(folder, writable=writable) as bank:
            there = [*bank]
            assert len(bank) == bank.verify() == len(there)
            assert torch.equal(bank.rows_of(there), rows_of(there, width))
            new = [name for name in there if name not in before]
            assert [name for name in there if name in before] == before
            assert not new or new == BATCH_OF_NEW
    with contextlib.closing(sqlite3.connect(folder / "index.sqlite")) as index:
        (counted,) = index.execute("SELECT count(*) FROM shards").fetchone()
    assert len(list(folder.glob("*.safetensors"))) == counted


BATCH_OF_NEW = [f"b{each:03d}" for each in range(10)]


def _add_batch(bank: vxlab.AdapterBank) -> None:
    bank.add_many(BATCH_OF_NEW, rows_of(BATCH_OF_NEW, bank.layout.width))


def _work_until(step: int, folder: Path, work: Callable[[vxlab.AdapterBank], None]) -> None:
    """Do some work, and end by SIGKILL at the given step of it; end in order where it has fewer."""
    bank = vxlab.AdapterBank.open(folder, writable=True)
    left = [step]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*given: object, **named: object) -> object:
            count()
            found = call(*given, **named)
            count()
            return found

        return counted

    def write_by_halves(file, content: memoryview, offset: int) -> None:
        count()
        half = len(content) // 2
        plain(file, content[:half], offset)
        count()
        plain(file, content[half:], offset + half)
        count()

    plain, index = shards._write, index_module.BankIndex
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(shards, "_write", write_by_halves))
        patches.enter_context(mock.patch.object(os, "fsync", around(os.fsync)))
        patches.enter_context(mock.patch.object(Path, "unlink", around(Path.unlink)))
        for name in ("put", "grow", "move", "drop"):
            patches.enter_context(mock.patch.object(index, name, around(getattr(index, name))))
        patches.enter_context(mock.patch.object(index, "writing", around_context(index.writing, count)))
        work(bank)
    os._exit(0)


def around_context(call: Callable[..., object], count: Callable[[], None]) -> Callable[..., object]:
    @contextlib.contextmanager
    def counted(*given: object) -> Iterator[None]:
        with call(*given):
            yield
            count()
        count()

    return counted


def read_while_adding(folder: Path, readers: int) -> dict:
    """Let processes read while one adds, removes and compacts; return what they saw."""
    pipes = []
    for number in range(readers):
        reading, writing = os.pipe()
        if not os.fork():
            _read_for(2.0, folder, number, writing)
        os.close(writing)
        pipes.append(reading)
    added, end = 0, time.monotonic() + 2.5
    with vxlab.AdapterBank.open(folder, writable=True) as bank:
        while time.monotonic() < end:
            names = [f"m{added + each:06d}" for each in range(20)]
            bank.add_many(names, rows_of(names, bank.layout.width))
            added += 20
            bank.remove(names[7])
            if added % 100 == 0:
                bank.compact()
        told = [json.loads(os.fdopen(pipe).read()) for pipe in pipes]
        return {"added": added, "kept": bank.verify(), "readers": told}


def _read_for(seconds: float, folder: Path, number: int, writing: int) -> None:
    chance, end, reads, most, wrong = random.Random(number), time.monotonic() + seconds, 0, 0, ""
    try:
        with vxlab.AdapterBank.open(folder) as bank:
            while time.monotonic() < end:
                most = max(most, len(bank))
                there = [name for name in bank if int(name[1:]) % 20 != 7]  # which are removed again
                names = chance.sample(there, 3) if len(there) > 3 else []
                if names and not torch.equal(bank.rows_of(names), rows_of(names, bank.layout.width)):
                    wrong = f"other rows of {names}"
                reads += bool(names)
    except Exception as error:
        wrong = repr(error)
    os.write(writing, json.dumps({"reads": reads, "most": most, "wrong": wrong}).encode())
    os._exit(0)


def fill_the_disk(folder: Path, _: int) -> dict:
    """Add more than files may hold, at limits that cut it short at many places; return how many calls were refused."""
    names, refused = [f"x{each:03d}" for each in range(200)], []
    with vxlab.AdapterBank.open(folder, writable=True) as bank:
        rows, hard = rows_of(names, bank.layout.width), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        before, size = [*bank], max(path.stat().st_size for path in folder.iterdir())
        for limit in range(size + 100, 2 * size + rows.numel() * 4, 40_001):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                bank.add_many(names, rows)
                break
            except VxlabError as error:
                refused.append(str(error))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            assert [*bank] == before
            assert bank.verify() == len(before)
        assert torch.equal(bank.rows_of(names), rows)
    return {"refused": refused}


def read_in_a_fork(folder: Path, _: int) -> dict:
    """Read in a forked process by the bank that the parent has open for writing, which goes on with it."""
    bank = vxlab.AdapterBank.open(folder, writable=True)
    first = [*bank][:1]
    if not os.fork():
        try:
            bank.remove(*first)
        except VxlabError as error:
            told = torch.equal(bank.rows_of(first), rows_of(first, bank.layout.width)) and "in the process" in str(
                error
            )
            os._exit(0 if told else 1)
        os._exit(2)
    status = os.wait()[1]
    bank.add_many(["new"], rows_of(["new"], bank.layout.width))
    return {"status": status, "there": bank.verify()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
