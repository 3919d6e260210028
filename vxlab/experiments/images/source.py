"""Where an encoded image is: in a file, or in a row of a table."""

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from vxlab.errors import VxlabError


@dataclass(frozen=True)
class ImageSource:
    """An encoded image, unread.

    Args:
        place: where it is, in the words of an error, such as ``photos/train/cat/1.jpg`` or ``test.parquet, row 12``.
        path: its file, or None.
        content: its bytes, or what reads them, where it is not in a file of its own.
        stamp: what tells the bytes of ``content`` from others without reading them; "" where nothing does.
    """

    place: str
    path: Path | None = None
    content: bytes | Callable[[], bytes] | None = None
    stamp: str = ""

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            VxlabError: the file cannot be read.
        """
        if self.path is None:
            return (self.content() if callable(self.content) else self.content) or b""
        try:
            return self.path.read_bytes()
        except (OSError, ValueError) as error:  # a NUL byte in a path is a ValueError
            raise VxlabError(f"{self.place}: not readable ({getattr(error, 'strerror', None) or error})") from error

    def sha256(self) -> str:
        """Return the sha256 of its bytes, by which equal images are known."""
        return hashlib.sha256(self.read()).hexdigest()

    @property
    def state(self) -> Hashable:
        """What changes with its bytes and needs no reading: a file's size and time, or its stamp; None if unknown."""
        if self.path is None:
            return self.stamp or None
        try:
            found = self.path.stat()
        except (OSError, ValueError):
            return None
        return str(self.path), found.st_size, found.st_mtime_ns
