"""Tables that took long to compute, kept beside the store's runs."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab._version import __version__
from vxlab.errors import VxlabError
from vxlab.experiments.store.store import Where, open_store

if TYPE_CHECKING:
    import pandas as pd


def kept_table(
    name: str, identity: Mapping[str, Any], compute: "Callable[[], pd.DataFrame]", *, store: Where = None
) -> "pd.DataFrame":
    """Return a computed table: the one that is kept, or else a new one, which is kept from then on.

    It lies in ``tables/`` beside the runs' folders as Parquet, under its name and the hash of its identity and of
    vxlab's version. A file that cannot be read is computed anew; the folder may be deleted at any time.

    Args:
        name: what the table is, in letters, digits, - and _; the start of the file's name.
        identity: all that decides its numbers, such as digests of records, settings and seeds, as JSON values. A run's
            key does not decide them: it may be trained again.
        compute: makes the table; its columns hold numbers, booleans or text.
        store: as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: the name is no name, or the identity holds what JSON cannot.
        OSError: the folder cannot be written.

    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         table = kept_table("squares", {"of": [2]}, lambda: pd.DataFrame({"x": [2], "y": [4]}), store=folder)
    >>> table["y"].tolist()
    [4]
    """
    import pandas as pd

    if not re.fullmatch(r"[\w-]+", name):
        raise VxlabError(f"name={name!r} is not the name of a table; use letters, digits, - and _")
    with open_store(store) as results:
        path = results.folder / "tables" / f"{name}-{_digest(name, identity)[:16]}.parquet"
    if (found := _read(path)) is not None:
        return found
    table = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        table.to_parquet(new, index=False)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return pd.read_parquet(path)  # the same now as the next time


def _read(path: Path) -> "pd.DataFrame | None":
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):  # absent, or not whole
        return None


def _digest(name: str, identity: Mapping[str, Any]) -> str:
    try:
        text = json.dumps({**identity, "vxlab": __version__}, sort_keys=True)
    except TypeError as error:
        raise VxlabError(f"the identity of table {name!r} holds what JSON cannot: {error}; use plain values") from error
    return hashlib.sha256(text.encode()).hexdigest()
