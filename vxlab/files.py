"""Files that are written whole or not at all, and told apart by what they hold."""

import contextlib
import hashlib
import os
import re
import secrets
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
