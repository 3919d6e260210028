"""Find the images in the columns of a table: encoded in its cells, as the hub keeps them, or as paths of files."""

import contextlib
import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource, open_image

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip
"""of files that are taken for images; which they are, their content says"""
_KEPT = 3
"""Groups of a Parquet file's rows that are kept: images are read in their order, by several threads."""
_TRIED = 8
"""Rows that are looked at where a file does not say whether its bytes are images."""

Cell = Callable[[int], Any]
"""What returns the cell of a row."""


def parquet_images(path: Path, place: str) -> tuple[dict[str, list[ImageSource]], dict[str, tuple[str, ...]]]:
    """Return a Parquet file's images by column, unread, and the names of classes that ``datasets`` wrote in it.

    Images are structs of bytes and path, as the hub has them, or plain bytes.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        schema, sizes = file.schema_arrow, [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    features = _features(schema.metadata)
    classes = {
        name: tuple(map(str, feature["names"]))
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    found = {}
    for field in schema:
        cells = _Cells(path, field.name, sizes)
        sources = image_cells(cells.read, sum(sizes), place, path.parent, f"{_stamp(path)} {field.name}")
        said = features.get(field.name, {}).get("_type")
        if holds_bytes(field.type) and (said == "Image" or (said in (None, "Value") and hold_images(sources[:_TRIED]))):
            found[field.name] = sources
    return found, classes


def holds_bytes(kind: Any) -> bool:
    """Say whether a column of this type of Arrow's may hold encoded images."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return "bytes" in names and holds_bytes(kind.field("bytes").type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def image_cells(read: Cell, rows: int, place: str, folder: Path | None = None, stamp: str = "") -> list[ImageSource]:
    """Return the images of a column, unread.

    Args:
        read: returns the cell of a row: bytes, or a mapping with bytes, or with the path of a file.
        rows: how many there are.
        place: of the table, in the words of an error.
        folder: in which relative paths start; None is the working folder.
        stamp: what tells this column from others, or ""; rows are numbered after it.
    """
    return [
        ImageSource(
            where := f"{place}, row {row + 1}",
            content=partial(_bytes_of, read, row, where, folder),
            stamp=f"{stamp} {row}" if stamp else "",
        )
        for row in range(rows)
    ]


def image_paths(cells: Sequence[Any], where: Callable[[int], str], folder: Path | None) -> list[ImageSource]:
    """Return the images that a column names by their files.

    Raises:
        VxlabError: a cell is no text. The message names the row.
    """
    for row, cell in enumerate(cells):
        if not isinstance(cell, str) or not cell.strip():
            raise VxlabError(f"{where(row)}: {quote(cell)} is no image and no path of one")
    return [ImageSource(f"{where(row)}, {cell}", _in(folder, cell)) for row, cell in enumerate(cells)]


def hold_images(sources: Sequence[ImageSource]) -> bool:
    """Say whether one of some sources is an image, by its header."""
    for source in sources:
        with contextlib.suppress(VxlabError), open_image(source):
            return True
    return False


def names_image(cell: Any) -> bool:
    """Say whether a cell is a text that ends as the names of image files do."""
    return isinstance(cell, str) and cell.lower().endswith(IMAGE_SUFFIXES)


class _Cells:
    """Read one column of a Parquet file, as many rows at once as the file keeps together."""

    def __init__(self, path: Path, column: str, sizes: Sequence[int]) -> None:
        self._path, self._column = path, column
        self._starts = [0, *accumulate(sizes)]
        self._lock = threading.Lock()
        self._kept: dict[int, Any] = {}

    def read(self, row: int) -> Any:
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            if group not in self._kept:
                self._kept = {**dict([*self._kept.items()][1 - _KEPT :]), group: self._group(group)}
            return self._kept[group][row - self._starts[group]].as_py()

    def _group(self, group: int) -> Any:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self._path) as file:
            return file.read_row_group(group, columns=[self._column]).column(0)


def _bytes_of(read: Cell, row: int, place: str, folder: Path | None) -> bytes:
    import pyarrow

    try:
        cell = read(row)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise VxlabError(f"{place}: not readable ({error})") from error
    if isinstance(cell, Mapping):
        content, path = cell.get("bytes"), cell.get("path")
        return content or (ImageSource(f"{place}, {path}", _in(folder, path)).read() if path else b"")
    return cell or b""


def _in(folder: Path | None, path: str) -> Path:
    return Path(path) if folder is None else folder / path


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """Return what ``datasets`` wrote of the columns in a Parquet file's schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: each for name, each in features.items() if isinstance(each, dict)}
