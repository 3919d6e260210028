"""A run's folder on the disk: what a run writes there, how much it holds, and how it is deleted."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vxlab.adapters.saving import SETTINGS_FILE, TENSORS_FILE
from vxlab.errors import VxlabError
from vxlab.experiments import ADAPTER_FOLDER, PREDICTIONS_FILE, RECORD_FILE
from vxlab.files import written_as

CHECKPOINTS, LOCK = "checkpoints", ".lock"
REMOVED = ".removed-"
"""Begins the name that a folder has while it is being deleted."""

_HALF = rf"\.{ADAPTER_FOLDER}-.*"
"""What a killed process of earlier versions leaves of an adapter that it was writing."""

_FILES = re.compile(rf"{written_as(RECORD_FILE)}|{written_as(PREDICTIONS_FILE)}|{re.escape(LOCK)}")
_WITHIN = {
    ADAPTER_FOLDER: re.compile(rf"{written_as(SETTINGS_FILE)}|{written_as(TENSORS_FILE)}|{_HALF}"),
    CHECKPOINTS: re.compile(r"(tmp-)?checkpoint-\d+"),
}


def size(path: Path) -> int:
    """Return the bytes of all files in a folder, or of a file; 0 where there is none. Links are not followed."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            return path.lstat().st_size
        return 0
    return sum(size(each) for each in _listed(path))


def is_at_work(folder: Path) -> bool:
    """Say whether a process trains in a folder now."""
    lock = folder / LOCK
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a disk that cannot be written, where nobody trains
        return False


def clear(folder: Path) -> None:
    """Delete what a run wrote into its folder, and leave what else lies there."""
    if folder.is_symlink():
        raise VxlabError(f"{folder} is a link, and what it leads to is not deleted; take it away by hand")
    left = _foreign(folder)
    for path in _listed(folder):
        if not any(each.is_relative_to(path) for each in left):
            _delete(path)
    _delete(folder / RECORD_FILE)  # or what is left would count as a finished run


def require_deletable(folder: Path) -> None:
    """Refuse to delete a folder that is not a run's, or is being trained in.

    Raises:
        VxlabError: the path is a link or a file, holds what no run writes, or a process trains there now.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise VxlabError(f"{folder} is a {'link' if folder.is_symlink() else 'file'} and no run's folder; it is left")
    if found := sorted(str(path.relative_to(folder)) for path in _foreign(folder)):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise VxlabError(f"{folder} holds what no run writes: {found[0]}{more}; move it elsewhere first")
    if is_at_work(folder):
        raise VxlabError(f"a process trains in {folder} now; wait until it ends, or end it")


@contextlib.contextmanager
def discard(folder: Path) -> Iterator[None]:
    """Take a run's folder away at once, and delete it where all goes well in between; else put it back.

    Raises:
        VxlabError: as :func:`require_deletable`, or the folder cannot be moved.
    """
    require_deletable(folder)
    if not folder.exists():
        yield
        return
    aside = folder.with_name(f"{REMOVED}{folder.name}-{secrets.token_hex(4)}")
    try:
        folder.rename(aside)
    except OSError as error:
        raise VxlabError(f"{folder} cannot be deleted: {error.strerror or error}") from error
    try:
        yield
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a run that has ended, and nothing else."""
    require_deletable(folder)
    _delete(folder / CHECKPOINTS)


def _foreign(folder: Path) -> list[Path]:
    """Return what lies in a folder that no run writes there."""
    found = []
    for path in _listed(folder):
        within = _WITHIN.get(path.name)
        if path.is_symlink():
            found.append(path)
        elif path.is_dir() and within:
            found += [each for each in _listed(path) if each.is_symlink() or not within.fullmatch(each.name)]
        elif not re.fullmatch(_HALF if path.is_dir() else _FILES, path.name):
            found.append(path)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return [Path(each.path) for each in os.scandir(folder)]
    except OSError:
        return []


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
