"""Files that are written whole or not at all, and told apart by what they hold."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a new file's path beside the one given, and put the file in its place when it is written.

    Where the writing fails, what was there stays and the new file goes. Processes and threads may write one file at
    the same time: each writes a file of its own, and the last to finish stays. The folder is made where it is lacking.

    Raises:
        OSError: the folder cannot be made, or the file not be put there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield new
        os.replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_whole(folder: Path) -> Iterator[Path]:
    """Yield a new folder's path beside the one given, and put it in its place when what belongs in it is written.

    Where the writing fails, what was there stays and the new folder goes. What was there goes when the new one is
    complete, whatever it holds: ask first.

    Raises:
        OSError: the folder cannot be made, or the new one not be put there; what was there is then there again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        new.mkdir()
        yield new
        _exchange(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _exchange(folder: Path, new: Path) -> None:
    """Put a folder in the place of another, which goes when that has been done."""
    old = new.with_name(f"{new.name}.old")
    there = folder.exists()
    if there:
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except BaseException:
        if there:
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def written_as(name: str) -> str:
    """Return the pattern of a file's name, and of what a process that was killed while it wrote leaves of it.

    >>> bool(re.fullmatch(written_as("record.json"), ".record.json.00c0ffee"))
    True
    """
    return rf"{re.escape(name)}|\.{re.escape(name)}(\.[0-9a-f]{{8}})?"


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
