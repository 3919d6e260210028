"""An exported folder: written whole or not at all, and only in the place of one that nobody has touched since."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError
from vxlab.files import sha256_of, write_folder_whole

MARK_FILE = "vxlab_export.json"
"""What an exported folder is of, and the sha256 of each of its other files."""
_FORMAT = 1


@contextlib.contextmanager
def new_export(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a new folder and what its mark says; put it in its place when it is complete.

    What is put into the mark is written with it, and the files' sha256 are added.

    Raises:
        VxlabError: the folder cannot be written, or holds what no export of vxlab's wrote. It is then as it was.
    """
    require_free(folder)
    try:
        with write_folder_whole(folder) as new:
            mark: dict[str, Any] = {"format": _FORMAT}
            yield new, mark
            mark["files"] = {name: sha256_of(new / name) for name in _names(new)}
            (new / MARK_FILE).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
            require_free(folder)  # exporting may have taken hours
    except OSError as error:
        raise VxlabError(f"path={str(folder)!r} cannot be written ({error}); give a folder that can") from error


def require_free(folder: Path) -> None:
    """Refuse a place where something lies that is not ours to replace.

    An empty folder is free, and so is one that was exported by vxlab and has every file as it was written.

    Raises:
        VxlabError: it is a file, or a folder with other files, or with files that were altered.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise VxlabError(f"path={str(folder)!r} is a file; give a folder that is not there yet")
        if other := _others(folder):
            raise VxlabError(
                f"path={str(folder)!r} holds {other}, which no export wrote; give a folder that is not there yet, or "
                "delete this one"
            )


def read_mark(folder: Path) -> Mapping[str, Any]:
    """Return what an exported folder says of itself; empty where it says nothing."""
    try:
        mark = json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return mark if isinstance(mark, dict) and isinstance(mark.get("files"), dict) else {}


def _others(folder: Path) -> str:
    """Return a file that is not as an export wrote it, "" where all are."""
    written = read_mark(folder).get("files", {})
    for name in _names(folder):
        if name not in (MARK_FILE, *written):
            return name
        if name != MARK_FILE and written[name] != sha256_of(folder / name):
            return f"{name}, altered since"
    return "" if written else f"a damaged {MARK_FILE}"


def _names(folder: Path) -> list[str]:
    """Return every file below a folder; of a link, the link itself."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in files)
