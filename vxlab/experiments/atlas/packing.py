"""Pack a store's runs into a file of the atlas."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.atlas.atlas_file import write_atlas
from vxlab.experiments.atlas.packed_run import pack_run
from vxlab.experiments.store import Store


def pack(results: Store, path: str | Path, keys: Iterable[str] | None = None) -> Path:
    """Write a store's runs that ended as Parquet, one row a run.

    A row holds all that a sweep's tables are made of: settings, what they stood for, the record with its curve and its
    hardware, and the predictions, packed: of a classification the class of each item (and no logits), of a regression
    its outputs, of what writes or chooses the statistics of each item. No text of the data is in it, nothing that a
    model wrote, no adapter, and of folders of this machine the last part of their names.

    Args:
        results: the store.
        path: of the file, ``.parquet``.
        keys: of the runs wanted; None takes all that ended.

    Returns:
        The path.

    Raises:
        VxlabError: a run has not ended or is not in the store, or has another key than its settings say, or other
            scores than its predictions; or there is none; or the file cannot be written.
    """
    file = require_parquet(settle("path", path, str))
    write_atlas(file, pack_rows(results, keys))
    return file


def pack_rows(results: Store, keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return a store's runs as rows of a file of the atlas.

    Args:
        results, keys: as :func:`pack` takes them.

    Raises:
        VxlabError: as :func:`pack`, of the runs.
    """
    wanted = None if keys is None else list(dict.fromkeys(keys))
    rows = {run.key: pack_run(run) for run in results.ended(wanted)}
    if missing := [key for key in wanted or () if key not in rows]:
        raise VxlabError(
            f"{len(missing)} of {len(wanted or ())} runs have not ended in {results.name}: {missing[0][:12]}"
            + (", …" if len(missing) > 1 else "")
        )
    if not rows:
        raise VxlabError(f"{results.name} has no run that ended, of those wanted; train some first")
    return list(rows.values())


def require_parquet(path: str) -> Path:
    """Return the path of a file of the atlas, or raise VxlabError where it is called otherwise."""
    file = Path(path).expanduser().absolute()
    if file.suffix != ".parquet":
        raise VxlabError(f"path={path!r} ends in {file.suffix or 'nothing'!r}; an atlas is .parquet")
    return file
