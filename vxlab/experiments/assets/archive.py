"""Open one file inside a wheel, another zip, or a source package."""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from vxlab.errors import VxlabError


@contextmanager
def open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a member of an archive to read it; nothing is unpacked, and nothing is run.

    archive: a .tar.gz, or else a zip.
    name: the member's whole name.

    Raises VxlabError where the archive is broken, lacks the member, or has a link or a folder of that name.
    """
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive, "r:gz") as packed, _find_member(packed, name) as member:
                yield member
        else:
            with ZipFile(archive) as zipped, zipped.open(name) as member:
                yield member
    except (BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, EOFError) as error:
        raise VxlabError(
            f"{archive.name} cannot be unpacked: {error}. The manifest and the package do not fit."
        ) from error
    except KeyError as error:
        raise VxlabError(f"{archive.name} has no member {name!r}, which the manifest lists") from error


def _find_member(packed: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open the first member of that name: no more of the archive is read than lies before it."""
    found = next((member for member in packed if member.name == name), None)
    if found is None:
        raise KeyError(name)
    content = packed.extractfile(found) if found.isreg() else None
    if content is None:
        raise tarfile.TarError(f"{name} is no plain file")
    return content
