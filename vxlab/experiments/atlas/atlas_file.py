"""The file of an atlas: Parquet, one row a run, of a format that is counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vxlab.errors import VxlabError
from vxlab.files import write_whole

FORMAT = 1
"""Counts up whenever a file has other columns, or the same with another meaning."""

_MARK = b"vxlab atlas"
_TEXTS, _BYTES = ("key", "status", "spec", "identity", "record"), ("answers", "asked")


def write_atlas(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of :func:`vxlab.experiments.atlas.packed_run.pack_run`, whole or not at all, sorted by their keys.

    Raises:
        VxlabError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [*((name, pa.string()) for name in _TEXTS), ("at", pa.float64()),
               *((name, pa.binary()) for name in _BYTES)]  # fmt: skip
    schema = pa.schema(columns, metadata={_MARK: str(FORMAT)})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: (row["spec"], row["key"])), schema=schema)
    try:
        with write_whole(path) as new:
            # In one group of rows, so that what was asked stands there once for all runs on the same rows.
            pq.write_table(
                table, new, compression="zstd", compression_level=19, row_group_size=max(1, len(rows)),
                use_dictionary=["status", "identity", "asked"], dictionary_pagesize_limit=2**30,
            )  # fmt: skip
    except OSError as error:
        raise VxlabError(f"path={str(path)!r} cannot be written: {error.strerror or error}") from error


def read_atlas(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of :func:`write_atlas`.

    Raises:
        VxlabError: there is none, or it has another format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=["asked"]) as file:
            _require_format(path, file.schema_arrow)
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        told = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise VxlabError(f"atlas {str(path)!r} {told}; name a file that vxlab atlas wrote") from error
    return rows


def _require_format(path: Path, schema: Any) -> None:
    mark = (schema.metadata or {}).get(_MARK)
    if mark is None:
        raise VxlabError(f"{str(path)!r} is Parquet and no atlas; name a file that vxlab atlas wrote")
    if mark != str(FORMAT).encode():
        newer = mark.isdigit() and int(mark) > FORMAT
        todo = "upgrade vxlab" if newer else "pack it anew from its store: vxlab atlas export FILE --store STORE"
        raise VxlabError(f"atlas {str(path)!r} has format {mark.decode()!r}, and this vxlab reads {FORMAT}; {todo}")
    if lacking := {*_TEXTS, *_BYTES, "at"} - set(schema.names):
        raise VxlabError(f"atlas {str(path)!r} lacks the columns {', '.join(sorted(lacking))}; fetch it again")
