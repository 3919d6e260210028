"""What the processes do that share a results store in a test."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from toy_records import IDENTITY, stored_record, toy_spec

from vxlab.experiments.store.store import Store, new_owner


def take_all(where: str, folder: Path, keys: Sequence[str], said: Path) -> None:
    """Lease what is to be had of the keys, finish it, and write down each key that the store has acknowledged."""
    owner = new_owner()
    with Store(where, folder=folder) as store, said.open("a") as file:
        for key in keys:
            if store.lease(key, toy_spec(), IDENTITY, owner, failed_before=None):
                store.finish(stored_record(folder, key), owner)
                file.write(f"{key}\n")
                file.flush()


def hold(where: str, folder: Path, keys: Sequence[str], said: Path) -> None:
    """Lease the keys and live on until killed."""
    owner = new_owner()
    with Store(where, folder=folder) as store:
        for key in keys:
            store.lease(key, toy_spec(), IDENTITY, owner, failed_before=None)
        said.write_text(owner)
        multiprocessing.Event().wait()


@contextlib.contextmanager
def running(work: Any, *arguments: Sequence[Any]) -> Iterator[list[BaseProcess]]:
    """Start a process for each tuple of arguments, all forked from one that has imported torch; leave none behind."""
    context = multiprocessing.get_context("forkserver")
    # Not this module: the server that they are forked from does not find the tests.
    context.set_forkserver_preload(
        ["vxlab.experiments.store.store", "vxlab.experiments.scoring.metrics", "safetensors.torch"]
    )
    processes: list[BaseProcess] = [context.Process(target=work, args=each, daemon=True) for each in arguments]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()
