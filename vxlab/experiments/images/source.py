"""Where an encoded image is: in a file, or in a row of a table."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vxlab.errors import VxlabError


@dataclass(frozen=True)
class ImageSource:
    """An encoded image, unread.

    Args:
        place: where it is, in the words of an error, such as ``photos/train/cat/1.jpg`` or ``test.parquet, row 12``.
        path: its file, or None.
        content: its bytes, where it is not in a file of its own.
    """

    place: str
    path: Path | None = None
    content: bytes | None = None

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            VxlabError: the file cannot be read.
        """
        if self.path is None:
            return self.content or b""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise VxlabError(f"{self.place}: not readable ({error.strerror or error})") from error

    def sha256(self) -> str:
        """Return the sha256 of its bytes, by which equal images are known."""
        return hashlib.sha256(self.read()).hexdigest()
