"""Read rows of text and labels from files: TSV, CSV, JSON lines, JSON and Parquet, one file a split."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows.delimited import Table, list_names, parse_csv, parse_tsv
from vxlab.experiments.tasks.rows.image_columns import parquet_images
from vxlab.experiments.tasks.rows.json_rows import parse_json
from vxlab.words import first_line

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
SPLIT_NAMES |= {"dev": "validation", "test": "test"}
"""how files are named, and which split each is"""
_HASH = r"-[0-9a-f]{16}"
# the hub cuts: train-00000-of-00002.parquet, in older data sets with a hash after it
_STEM = re.compile(rf"(?P<split>[a-z]+)(-\d+-of-(?P<pieces>\d+)({_HASH})?)?$")


@dataclass(frozen=True)
class Rows:
    """One split as it was read, with what an error needs to lead back to a row.

    Args:
        frame: the rows; its index is the number of each row in the file, as ``unit`` counts.
        place: the file, or the split of a hub data set, in the words of an error.
        unit: "line" of a text file, or "row" counted from 1.
        notes: what the user should know of the file, in sentences.
        classes: names of the classes, by column, where the file numbers them from 0.
        folder: in which relative paths of image files start; None where there is none.
    """

    frame: pd.DataFrame
    place: str
    unit: str = "row"
    notes: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path | None = None

    def where(self, position: int) -> str:
        """Say where the row at ``position`` (from 0) was read, such as ``SST-2/dev.tsv, line 12``."""
        return f"{self.place}, {self.unit} {self.frame.index[position]}"


def read_splits(path: Path) -> dict[str, Rows]:
    """Read the splits of a folder, or one file as the training split.

    In a folder the files are named train, validation (or dev, valid, val) and test, with one of the suffixes .csv,
    .tsv, .jsonl, .json or .parquet, in small or capital letters; they lie in it or in its subfolder data/, and may be
    cut into the hub's numbered pieces. Only train is required. Other files of the same suffixes are named in a
    note.

    Raises:
        VxlabError: a folder without a train file, two files for one split, a piece that is lacking, or a file that
            cannot be read.
    """
    if path.is_file():
        return {"train": read_rows(path)}
    files, unused = find_splits(path)
    if "train" not in files:
        here = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise VxlabError(
            f"{path}: no training file; name it train.csv, .tsv, .jsonl, .json or .parquet (the folder holds {here})"
        )
    splits = {split: read_pieces(pieces) for split, pieces in files.items()}
    kinds = {piece.suffix.lower() for pieces in files.values() for piece in pieces}
    if unused := [name for name in unused if Path(name).suffix.lower() in kinds]:
        note = f"{path.name}: not used, being named neither train, validation nor test: {list_names(unused)}"
        splits["train"] = replace(splits["train"], notes=(*splits["train"].notes, note))
    return splits


def find_splits(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Find the files of each split in a folder, or in its subfolder data/: several where they are one split's pieces.

    Returns:
        The files by split, and the names of those that are of none.

    Raises:
        VxlabError: two files for one split, or a piece that is lacking.
    """
    files, unused = _files_by_split(folder)
    return (files, unused) if files else _files_by_split(folder / "data")


def read_rows(path: Path) -> Rows:
    """Read one file by its suffix.

    Every CSV and TSV cell is read as text; an empty CSV cell is a missing value, an empty TSV field an empty text.

    Raises:
        VxlabError: an unknown suffix, or a malformed file, with the line where the format has lines.
    """
    readers = {
        ".csv": lambda path: _numbered(parse_csv(_text(path), _place(path)), _place(path)),
        ".tsv": read_tsv,
        ".jsonl": _read_json,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        packed = "unpack it first, and " if suffix in (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar") else ""
        raise VxlabError(f"{path}: cannot read {suffix or 'a file without suffix'}; {packed}use {', '.join(SUFFIXES)}")
    return replace(readers[suffix](path), folder=path.parent)


def read_pieces(paths: list[Path]) -> Rows:
    """Read a split's one file, or its numbered pieces.

    Raises:
        VxlabError: pieces with other columns than the first, or what :func:`read_rows` raises.
    """
    if len(paths) == 1:
        return read_rows(paths[0])
    pieces = [read_rows(path) for path in paths]
    for piece in pieces:
        if list(piece.frame) != list(pieces[0].frame):
            raise VxlabError(
                f"{piece.place}: columns {list_names(list(piece.frame))}, where {pieces[0].place} has "
                f"{list_names(list(pieces[0].frame))}; the pieces of one split need the same"
            )
        if piece.classes != pieces[0].classes:
            raise VxlabError(f"{piece.place}: other names of classes than {pieces[0].place}; one split needs the same")
    frame = pd.concat([piece.frame for piece in pieces], ignore_index=True)
    return replace(pieces[0], frame=_from_one(frame), notes=tuple(note for piece in pieces for note in piece.notes))


def read_tsv(path: Path, columns: tuple[str, ...] = (), skip_malformed: bool = False) -> Rows:
    """Read tab-separated values in which quotes mean nothing, as GLUE's files are written.

    Args:
        path: the file.
        columns: names of the columns of a file without a header; by default the first line is the header.
        skip_malformed: leave out lines with another number of fields than columns, instead of raising.

    Raises:
        VxlabError: an unreadable file, or a line with another number of fields than columns.
    """
    return _numbered(parse_tsv(_text(path), _place(path), columns, skip_malformed), _place(path))


def _files_by_split(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Find the files of each split, several only where they are one split's numbered pieces, and the names unused."""
    found: dict[str, list[Path]] = {}
    unused: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _STEM.match(path.stem.lower())
        if path.suffix.lower() not in SUFFIXES:
            continue
        if match and match["split"] in SPLIT_NAMES:
            found.setdefault(SPLIT_NAMES[match["split"]], []).append(path)
        else:
            unused.append(path.name)
    for split, paths in found.items():
        _check_pieces(folder, split, paths)
    return found, unused


def _check_pieces(folder: Path, split: str, paths: list[Path]) -> None:
    names = [re.sub(rf"(-of-\d+){_HASH}", r"\1", path.name) for path in paths]
    if len({re.sub(r"\d+-of", "-of", name) for name in names}) > 1 or len(set(names)) < len(names):
        raise VxlabError(f"{folder}: several files for {split}: {', '.join(p.name for p in paths)}; keep one")
    pieces = _STEM.match(paths[0].stem.lower())
    if pieces and pieces["pieces"] and len(paths) != int(pieces["pieces"]):
        raise VxlabError(f"{folder}: {len(paths)} of the {int(pieces['pieces'])} pieces of {split}; fetch the others")


def _read_json(path: Path) -> Rows:
    rows, unit = parse_json(_text(path), _place(path))
    # dtype=object: otherwise an integer label column with one missing value would turn into floats.
    return Rows(pd.DataFrame(list(rows.values()), index=list(rows), dtype=object), _place(path), unit)


def _read_parquet(path: Path) -> Rows:
    import pyarrow

    try:
        images, classes = parquet_images(path, _place(path))
        frame = _read_others(path, images) if images else pd.read_parquet(path)
    except (ValueError, OSError, TypeError, KeyError, pyarrow.ArrowException) as error:
        raise VxlabError(f"{path}: not a readable Parquet file ({first_line(error)})") from error
    return Rows(_from_one(frame.set_axis([str(name) for name in frame], axis=1)), _place(path), classes=classes)


def _read_others(path: Path, images: Mapping[str, list[ImageSource]]) -> pd.DataFrame:
    """Return a Parquet file's rows, with its images unread: they may be more than the memory holds."""
    import pyarrow.parquet

    names = list(pyarrow.parquet.read_schema(path).names)
    table = pyarrow.parquet.read_table(path, columns=[name for name in names if name not in images])
    frame = table.to_pandas(ignore_metadata=True) if table.num_columns else pd.DataFrame()
    for name, sources in images.items():
        frame[name] = pd.Series(sources, dtype=object)
    return frame


def _text(path: Path) -> str:
    """Return a file's text, or say which line is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VxlabError(f"{path}: not readable ({error.strerror or error})") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise VxlabError(f"{path}: the file is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise VxlabError(
            f"{path}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save the file as UTF-8, "
            "from latin-1 or whatever it is"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise VxlabError(f"{path}, line {line}: a NUL byte, so no text file, or a damaged one; save it as UTF-8 text")
    return text


def _numbered(table: Table, place: str) -> Rows:
    frame = pd.DataFrame(
        list(table.records.values()), columns=list(table.header), index=list(table.records), dtype=object
    )
    return Rows(frame, place, "line", table.notes)


def _from_one(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(range(1, len(frame) + 1))


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
