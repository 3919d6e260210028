"""Runs that come to an atlas or to a store: the user's own part of the atlas, and files from other machines."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.atlas.atlas_file import read_atlas, write_atlas
from vxlab.experiments.atlas.packed_run import pack_run, require_same_results, unpack_run
from vxlab.experiments.atlas.packing import pack_rows
from vxlab.experiments.atlas.shipped import atlas_files
from vxlab.experiments.atlas.unpacking import merge_runs, read_runs
from vxlab.experiments.store import EndedRun, Store
from vxlab.paths import atlas_folder, shipped_path

_OWN = "own.parquet"


class Counted(NamedTuple):
    """How many runs came to a place."""

    place: str
    new: int
    known: int
    """that were there before, with the same results"""


def add_to_atlas(results: Store, keys: Iterable[str]) -> Counted:
    """Pack a store's runs into the user's own file of the atlas, where none of its files has them.

    The file is ``own.parquet`` in :func:`vxlab.paths.atlas_folder`; what comes with vxlab is never changed.

    Args:
        results: the store.
        keys: of runs that ended.

    Raises:
        VxlabError: as :func:`vxlab.experiments.atlas.pack`; or the atlas has one of the runs with other results, and
            then nothing is added; or ``VXLAB_ATLAS`` names what comes with vxlab.
    """
    folder = atlas_folder()
    if folder.resolve() == shipped_path("data", "atlas").resolve():
        raise VxlabError(f"VXLAB_ATLAS={str(folder)!r} is the atlas that comes with vxlab; name a folder of your own")
    file, rows = folder / _OWN, pack_rows(results, keys)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VxlabError(
            f"{folder} cannot be made: {error.strerror or error}; set VXLAB_ATLAS to a folder that can be written"
        ) from error
    with FileLock(folder / ".lock"):
        known = _known(merge_runs(atlas_files()), [unpack_run(row) for row in rows], "the atlas", results.name)
        if new := [row for row in rows if row["key"] not in known]:
            write_atlas(file, [*(read_atlas(file) if file.is_file() else []), *new])
    return Counted(str(file), len(new), len(known))


def import_atlas(path: str | Path, results: Store) -> Counted:
    """Take the runs of a file of the atlas into a store, where they count as trained: a sweep goes on from there.

    They have scores and predictions and no adapters.

    Args:
        path: of the file, from :func:`vxlab.experiments.atlas.pack` on another machine perhaps.
        results: the store.

    Raises:
        VxlabError: as :func:`vxlab.experiments.atlas.unpack`; or the store has one of the runs with other results, or
            is only read: then nothing is taken.
    """
    results.require_writable()
    file = Path(settle("path", path, str)).expanduser().absolute()
    found = list(read_runs(file))
    there = [unpack_run(pack_run(run)) for run in results.ended([run.key for run in found])]
    known = _known(there, found, results.name, str(file))
    results.take_in(run for run in found if run.key not in known)
    return Counted(results.name, len(found) - len(known), len(known))


def _known(there: Sequence[EndedRun], found: Sequence[EndedRun], place: str, source: str) -> Mapping[str, EndedRun]:
    """Return the runs of two places that both have, by key; refuse those whose results differ."""
    before = {run.key: run for run in there}
    both = {run.key: run for run in found if run.key in before}
    for key, run in both.items():
        require_same_results(before[key], run, (place, source))
    return both
