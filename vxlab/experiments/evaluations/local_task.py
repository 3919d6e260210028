"""A task of lm-eval on files of one's own, where the hub is out of reach or the data are others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import read_rows
from vxlab.words import first_line, nearest

if TYPE_CHECKING:
    import datasets

_SUFFIXES = (".json", ".jsonl", ".parquet")
"""Formats that tell a number from its digits, and hold lists: what a template reads of a CSV would be guessed."""
_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class LocalTask:
    """One of lm-eval's tasks, prompts, answers and scores as they are there, on documents in files.

    Raises:
        VxlabError: a file is not there, or in another format.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
    ...     LocalTask("arc_easy", {"test": file.name}).template
    'arc_easy'
    """

    template: str
    """the task's name, such as ``arc_easy``"""
    files: Mapping[str, str | Path]
    """by the name that the template has for a split (``test``, ``validation``, ``train``, ``dev``): JSON, JSON lines or
    Parquet with the columns that the template reads"""
    field: str | None = None
    """the name under which a JSON file holds the documents, ``examples`` in BIG-Bench Hard's; None: it is a list"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", settle("template", self.template, str))
        if not isinstance(self.files, Mapping) or not self.files:
            raise VxlabError(f"files={quote(self.files)} must be files by split, such as {{'test': 'test.jsonl'}}")
        files = {settle("split", name, str): Path(settle("file", file, str)) for name, file in self.files.items()}
        for file in files.values():
            if not file.expanduser().is_file():
                raise VxlabError(f"{self.template}: {str(file)!r} is no file; name one of documents")
            if file.suffix.lower() not in _SUFFIXES:
                raise VxlabError(f"{self.template}: {file.name} is none of {', '.join(_SUFFIXES)}; save it as one")
        object.__setattr__(self, "files", {name: file.expanduser().absolute() for name, file in files.items()})

    def settings(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Return what replaces the template's own data: splits without a file are none.

        Args:
            template: the packaged task's settings.

        Raises:
            VxlabError: a file is of a split that the template does not read, or none is of one that it tests on.
        """
        named = {name: template.get(name) for name in _SPLITS}
        known = sorted({name for name in named.values() if name})
        if strange := sorted(set(self.files) - set(known)):
            raise VxlabError(f"{self.template} reads no split {strange[0]!r}{nearest(strange[0], known, 'it reads')}")
        kept = {name: split if split in self.files else None for name, split in named.items()}
        if kept["test_split"] is None and kept["validation_split"] is None:
            tested = named["test_split"] or named["validation_split"]
            raise VxlabError(f"{self.template} is tested on its split {tested!r}; give a file of that")
        data = {"dataset_path": None, "dataset_name": None, "dataset_kwargs": None}
        return {**kept, **data, "custom_dataset": partial(_read_documents, self.files, self.field)}


def _read_documents(files: Mapping[str, str | Path], field: str | None, **_: Any) -> "dict[str, datasets.Dataset]":
    """Read files as they are now: what datasets keeps of one is told from a later one by its time alone."""
    return {split: _read_file(Path(file), field) for split, file in files.items()}


def _read_file(file: Path, field: str | None) -> "datasets.Dataset":
    import datasets
    import pyarrow.parquet

    if file.suffix.lower() == ".parquet":
        return datasets.Dataset(pyarrow.parquet.read_table(file))
    if field is not None:
        return datasets.Dataset.from_list(_read_field(file, field))
    frame = read_rows(file).frame
    return datasets.Dataset.from_list(frame.where(frame.notna(), None).to_dict("records"))


def _read_field(file: Path, field: str) -> list[Any]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))[field]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"no {field!r} in it" if isinstance(error, KeyError | TypeError) else first_line(error)
        raise VxlabError(f"{file.name} cannot be read: {said}; name the field that holds the documents") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise VxlabError(f"{file.name}: its {field!r} is no list of documents; name the field that holds them")
    return rows
