"""The runs of a store to look after: which are there, whether they are whole, and what may be deleted."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vxlab.adapters.saving import read_settings, read_tensors
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, PREDICTIONS_FILE, RunRecord, family_name
from vxlab.experiments.store import run_folder
from vxlab.experiments.store.store import ENDED, Store

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("failed", "stopped", "orphans", "unlisted", "checkpoints")
"""What :func:`leftovers` finds: failed runs; runs that were stopped or killed; folders of no run in the store, those in
which no run ended, and those that hold one that ended; and checkpoints of runs that have ended."""

_NAME = re.compile(r"[0-9a-f]{16}")


class Leftover(NamedTuple):
    """Something that may be deleted."""

    kind: str
    """one of :data:`KINDS`"""
    name: str
    """of the run's key, or of its folder, 16 digits"""
    path: Path
    """what would be deleted from the disk"""
    size: int
    """bytes on the disk"""
    key: str | None = None
    """of the row that would be deleted; None where none would be"""
    kept: str = ""
    """why it is not deleted, "" where it may be"""


def runs_table(store: Store, **wanted: str | None) -> "pd.DataFrame":
    """Return the store's table with ``size``, the bytes of each run's folder.

    Args:
        store: to look at.
        wanted: ``task``, ``model``, ``method`` or ``status`` of the runs; a folder may be named by its last part, a
            method as settings or as figures call it.

    Raises:
        VxlabError: no run has it; those that there are are named.
    """
    table = store.table()
    for column, value in wanted.items():
        if value is None:
            continue
        names = {name: {name, *_other_names(column, name)} for name in table[column].unique()}
        own = [name for name, known in names.items() if value.lower() in {each.lower() for each in known}]
        if not own and len(table):
            known = ", ".join(sorted(Path(name).name for name in names))
            raise VxlabError(f"{column}={value!r} is of no run in {store.name}; there are {known}")
        table = table[table[column].isin(own)]
    return table.assign(size=[run_folder.size(Path(folder)) for folder in table["folder"]]).reset_index(drop=True)


def full_key(store: Store, start: str) -> str:
    """Return the key of the one run, or imported adapter, whose key begins so.

    Raises:
        VxlabError: none does, or several do.
    """
    known = [*store.table()["key"], *(record.key for record in store.imports.records())]
    keys = [key for key in known if start and key.startswith(start.lower())]
    if len(keys) != 1:
        told = "is of no run" if not keys else f"begins the keys of {len(keys)} runs ({keys[0][:16]}, {keys[1][:16]}"
        raise VxlabError(f"KEY {start!r} {told}{', …)' if keys else ''} in {store.name}; see vxlab runs list")
    return str(keys[0])


def problems(store: Store) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a store's runs: the key or the folder's name, and what it is in words.

    Of every run that ended: its folder and its record are there, the adapter's file has its sha256, and the predictions
    are those of the database. And no folder is without a row.
    """
    table = store.table()
    for key in table.loc[table["status"].isin(ENDED), "key"]:
        for said in _problems(store, key):
            yield key, said
    for folder in _folders(store):
        if folder.name not in _folder_names(table):
            yield folder.name, "the folder has no row in the store"


def leftovers(store: Store, kinds: Sequence[str] = KINDS) -> list[Leftover]:
    """Return what may be deleted of a store, largest first; nothing is deleted here.

    Args:
        store: to look at.
        kinds: of :data:`KINDS`.
    """
    store.release_dead()
    table = store.table()
    found = []
    for key, status, path in zip(table["key"], table["status"], map(Path, table["folder"]), strict=True):
        if status in ("failed", "stopped") and status in kinds:
            found.append(Leftover(status, key[:16], path, run_folder.size(path), key, _kept(path) or _whole(path, key)))
        checkpoints = path / run_folder.CHECKPOINTS
        if status in ENDED and "checkpoints" in kinds and checkpoints.is_dir():
            found.append(Leftover("checkpoints", key[:16], checkpoints, run_folder.size(checkpoints), kept=_kept(path)))
    names = _folder_names(table)
    found += [each for path in _folders(store, removed=True) if path.name not in names
              for each in [_without_row(path, store)] if each.kind in kinds]  # fmt: skip
    return sorted(found, key=lambda each: (KINDS.index(each.kind), -each.size, each.name))


def delete(store: Store, leftover: Leftover) -> None:
    """Delete what :func:`leftovers` found.

    Raises:
        VxlabError: it is not to be deleted, or is being trained by now.
    """
    if leftover.kept:
        raise VxlabError(leftover.kept)
    if leftover.key is not None:
        store.remove(leftover.key)
    elif leftover.kind == "checkpoints":
        run_folder.delete_checkpoints(leftover.path.parent)
    else:
        with run_folder.discard(leftover.path):
            pass


def _without_row(path: Path, store: Store) -> Leftover:
    ended = RunRecord.load(path) if _NAME.fullmatch(path.name) else None
    kind = "orphans" if ended is None else "unlisted"
    kept = _kept(path) or (_recent(path) if ended is None else _of_a_neighbour(ended.key, store))
    return Leftover(kind, path.name, path, run_folder.size(path), kept=kept)


def _of_a_neighbour(key: str, store: Store) -> str:
    """Return why an ended run of no row here is left: stores beside each other may share their runs' folder."""
    for file in sorted(store.folder.parent.glob(f"{store.folder.name}.*")):
        if str(file) == store.name or not file.is_file() or file.suffix.endswith(("-wal", "-shm")):
            continue
        try:
            with Store(file, folder=store.folder, patience=1) as other:
                if other.status([key]):
                    return f"the store {file} has it"
        except VxlabError:  # no store
            continue
    return ""


def _whole(folder: Path, key: str) -> str:
    """Return why the folder of a run that did not end is left."""
    if RunRecord.whole(folder, key) is None:
        return ""
    return f"{folder} holds the run as it ended; ask for it again, and the store takes it up"


def _other_names(column: str, name: str) -> tuple[str, ...]:
    if column == "method":
        return (family_name({"name": name}),)
    return (Path(name).name,) if column in ("task", "model") else ()


def _problems(store: Store, key: str) -> Iterator[str]:
    try:
        record = store.record(key)
    except VxlabError:
        yield "its record in the store cannot be read"
        return
    if record is None:  # taken out meanwhile
        return
    kept = store.predictions_file(key)
    if record.status == "finished" and kept is None:
        yield "the store has no predictions of it"
    if not record.folder.is_dir():
        yield f"its folder {record.folder} is gone; scores and predictions are kept, the adapter is lost"
        return
    beside = RunRecord.load(record.folder)
    if beside is None:
        yield "record.json is missing or damaged"
    elif beside.fields() != record.fields():
        other = "run" if beside.key != key else "training of it"
        yield f"record.json is of another {other} than the store's"
    yield from _adapter_problems(record.folder / ADAPTER_FOLDER)
    if kept is not None:
        yield from _predictions_problems(record.folder / PREDICTIONS_FILE, kept)


def _adapter_problems(folder: Path) -> Iterator[str]:
    try:
        read_tensors(folder, read_settings(folder))
    except VxlabError as error:
        yield str(error)


def _predictions_problems(file: Path, kept: bytes) -> Iterator[str]:
    try:
        if file.read_bytes() != kept:
            yield f"{PREDICTIONS_FILE} is not what the store has"
    except OSError as error:
        yield f"{PREDICTIONS_FILE} cannot be read ({error.strerror}); the store has it"


def _folders(store: Store, removed: bool = False) -> list[Path]:
    """Return the folders that are named as runs' are, with those that were being deleted where wanted."""
    if not store.folder.is_dir():
        return []
    every = [path for path in store.folder.iterdir() if path.is_dir() and not path.is_symlink()]
    return sorted(p for p in every if _NAME.fullmatch(p.name) or (removed and p.name.startswith(run_folder.REMOVED)))


def _folder_names(table: "pd.DataFrame") -> set[str]:
    return {Path(folder).name for folder in table["folder"]}


def _kept(folder: Path) -> str:
    """Return why a folder is not to be deleted."""
    try:
        run_folder.require_deletable(folder)
    except VxlabError as error:
        return str(error)
    return ""


def _recent(folder: Path) -> str:
    """Return why a folder without a row is left: torchrun's processes lease a run when it ends."""
    if folder.name.startswith(run_folder.REMOVED):
        return ""
    latest = max((path.lstat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
    hours = (time.time() - latest) / 3600
    return f"{folder} changed {hours:.1f} hours ago, and may be in work; after a day it may go" if hours < 24 else ""
