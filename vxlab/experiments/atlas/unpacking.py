"""Unpack files of the atlas into a store that is only read."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vxlab._version import __version__
from vxlab.checks import settle_list
from vxlab.errors import VxlabError
from vxlab.experiments.atlas.atlas_file import FORMAT, read_atlas
from vxlab.experiments.atlas.packed_run import require_same_results, unpack_run
from vxlab.experiments.store import EndedRun, Store, write_snapshot
from vxlab.files import sha256_of
from vxlab.paths import cache_folder


def unpack(paths: str | Path | Iterable[str | Path]) -> Store:
    """Return the runs of files of the atlas as one store that is only read.

    It lies in the cache folder under the sha256 of what the files hold, and is made where it is not there: then every
    row is checked. A run that several files have is taken from the first.

    Args:
        paths: of the files.

    Raises:
        VxlabError: a file is lacking, is none of the atlas or has another format; a row's key is not that of its
            settings, or its scores are not those of its predictions; two files have one run with other results; or the
            cache folder cannot be written.
    """
    listed = settle_list("paths", paths, (str, Path), "files of the atlas")
    files = [Path(path).expanduser().absolute() for path in listed]
    if not files:
        raise VxlabError("paths is empty; name one file of the atlas or more")
    file = cache_folder() / "atlas" / f"{_digest(files)}.db"
    if not file.is_file():
        runs = merge_runs(files)
        try:
            write_snapshot(file, runs)
        except OSError as error:
            raise VxlabError(
                f"the atlas cannot be unpacked into {file.parent}: {error.strerror or error}; set VXLAB_CACHE to a "
                "folder that can be written"
            ) from error
    return Store(file, read_only=True)


def read_runs(file: Path) -> Iterator[EndedRun]:
    """Yield the runs of a file of the atlas, each checked.

    Raises:
        VxlabError: as :func:`unpack`; the file is named.
    """
    for row in read_atlas(file):
        try:
            yield unpack_run(row)
        except VxlabError as error:
            raise VxlabError(f"atlas {str(file)!r}: {error}") from error


def merge_runs(files: Sequence[Path]) -> list[EndedRun]:
    """Return the runs of several files, each once.

    Raises:
        VxlabError: as :func:`unpack`.
    """
    found: dict[str, tuple[EndedRun, Path]] = {}
    for file in files:
        for run in read_runs(file):
            if run.key in found:
                before, place = found[run.key]
                require_same_results(before, run, (str(place), str(file)))
            else:
                found[run.key] = run, file
    return [run for run, _ in found.values()]


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{FORMAT} {__version__}".encode())
    for file in files:
        try:
            digest.update(sha256_of(file).encode())
        except OSError as error:
            raise VxlabError(f"atlas {str(file)!r} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
