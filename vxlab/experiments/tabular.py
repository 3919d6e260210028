"""Read rows of text and labels from files: TSV, CSV, JSON lines, JSON and Parquet, one file a split."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

_SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
_SPLIT_NAMES |= {"dev": "validation", "test": "test"}
_STEM = re.compile(r"(?P<split>[a-z]+)(-\d+-of-\d+)?$")  # the hub cuts large splits: train-00000-of-00002.parquet


@dataclass(frozen=True)
class Rows:
    """One split as it was read, with what an error needs to lead back to a row.

    Args:
        frame: the rows; its index is the number of each row in the file, as ``unit`` counts.
        place: the file, or the split of a hub data set, in the words of an error.
        unit: "line" of a text file, or "row" counted from 1.
    """

    frame: pd.DataFrame
    place: str
    unit: str = "row"

    def where(self, position: int) -> str:
        """Say where the row at ``position`` (from 0) was read, such as ``SST-2/dev.tsv, line 12``."""
        return f"{self.place}, {self.unit} {self.frame.index[position]}"


def read_splits(path: Path) -> dict[str, Rows]:
    """Read the splits of a folder, or one file as the training split.

    In a folder the files are named train, validation (or dev, valid, val) and test, with one of the suffixes .csv,
    .tsv, .jsonl, .json or .parquet; they lie in it or in its subfolder data/, and may be cut into the hub's numbered
    pieces. Only train is required.

    Raises:
        VxlabError: a folder without a train file, two files for one split, or a file that cannot be read.
    """
    if path.is_file():
        return {"train": read_rows(path)}
    files = _split_files(path) or _split_files(path / "data")
    if "train" not in files:
        here = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise VxlabError(
            f"{path}: no training file; name it train.csv, .tsv, .jsonl, .json or .parquet (the folder holds {here})"
        )
    return {split: _read_pieces(pieces) for split, pieces in files.items()}


def read_rows(path: Path) -> Rows:
    """Read one file by its suffix.

    Every CSV and TSV cell is read as text; an empty CSV cell is a missing value, an empty TSV field an empty text.

    Raises:
        VxlabError: an unknown suffix, or a malformed file, with the line where the format has lines.
    """
    readers = {
        ".csv": _read_csv,
        ".tsv": read_tsv,
        ".jsonl": _read_json,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    if path.suffix not in readers:
        raise VxlabError(f"{path}: cannot read {path.suffix or 'a file without suffix'}; use {', '.join(SUFFIXES)}")
    return readers[path.suffix](path)


def read_tsv(path: Path, columns: tuple[str, ...] = (), skip_malformed: bool = False) -> Rows:
    r"""Read tab-separated values in which quotes mean nothing, as GLUE's files are written.

    Args:
        path: the file.
        columns: names of the columns of a file without a header; by default the first line is the header.
        skip_malformed: leave out lines with another number of fields than columns, instead of raising.

    Raises:
        VxlabError: an unreadable or empty file, or a line with another number of fields than columns.
    """
    lines = [line.removesuffix("\r") for line in _text(path).split("\n")]  # not splitlines: texts may hold U+2028
    while lines and not lines[-1]:
        lines.pop()
    first = 1 if columns else 2
    header = columns or tuple(lines[0].split("\t") if lines else ())
    fields = {number: line.split("\t") for number, line in enumerate(lines[first - 1 :], start=first)}
    for number in [number for number, row in fields.items() if len(row) != len(header)]:
        row = fields.pop(number)
        if not skip_malformed:
            raise VxlabError(
                f"{_place(path)}, line {number}: {len(row)} tab-separated fields where {len(header)} are needed "
                f"({', '.join(header)})"
            )
    frame = pd.DataFrame(list(fields.values()), columns=list(header), index=list(fields), dtype=object)
    return Rows(frame, _place(path), "line")


def _split_files(folder: Path) -> dict[str, list[Path]]:
    """Find the files of each split in a folder, several only where they are one split's numbered pieces."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _STEM.match(path.stem)
        if path.suffix in SUFFIXES and match and match["split"] in _SPLIT_NAMES:
            found.setdefault(_SPLIT_NAMES[match["split"]], []).append(path)
    for split, paths in found.items():
        if len(paths) > 1 and len({re.sub(r"\d+-of", "-of", path.name) for path in paths}) > 1:
            raise VxlabError(f"{folder}: several files for {split}: {', '.join(p.name for p in paths)}; keep one")
    return found


def _read_pieces(paths: list[Path]) -> Rows:
    if len(paths) == 1:
        return read_rows(paths[0])
    frame = pd.concat([read_rows(path).frame for path in paths], ignore_index=True)
    return _numbered(frame, paths[0])


def _read_csv(path: Path) -> Rows:
    try:
        # dtype=str keeps "007" as it is; of pandas' many words for a missing value only the empty cell is one.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise VxlabError(f"{path}: not a readable CSV file ({str(error).strip().splitlines()[0]})") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas' reading of rows that all have a field too many
        raise VxlabError(f"{path}: not a readable CSV file (rows have more fields than the header)")
    return _numbered(frame, path)


def _read_json(path: Path) -> Rows:
    text = _text(path)
    if text.lstrip().startswith("["):
        records = _parsed(path, text, "")
    else:
        lines = enumerate(text.split("\n"), start=1)
        records = [_parsed(path, line, f", line {number}") for number, line in lines if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise VxlabError(f'{_place(path)}: every row must be an object, such as {{"text": "...", "label": 0}}')
    # dtype=object: otherwise an integer label column with one missing value would turn into floats.
    return _numbered(pd.DataFrame(records, dtype=object), path)


def _parsed(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise VxlabError(f"{_place(path)}{where}: not JSON ({error})") from error


def _read_parquet(path: Path) -> Rows:
    try:
        return _numbered(pd.read_parquet(path), path)
    except (ValueError, OSError) as error:
        raise VxlabError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise VxlabError(f"{path}: not a readable UTF-8 text file ({error})") from error


def _numbered(frame: pd.DataFrame, path: Path) -> Rows:
    return Rows(frame.set_axis(range(1, len(frame) + 1)), _place(path))


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
