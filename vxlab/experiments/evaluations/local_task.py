"""A task of lm-eval on files of one's own, where the hub is out of reach or the data are others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.words import list_in_words, nearest

_READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class LocalTask:
    """One of lm-eval's tasks, prompt, answers and scores as they are there, on documents in files.

    >>> LocalTask("arc_easy", {"test": "arc_easy.test.jsonl"}).template
    'arc_easy'
    """

    template: str
    """the task's name, such as ``arc_easy``"""
    files: Mapping[str, str | Path]
    """by the name that the template has for a split: ``test``, ``validation``, ``train``, ``dev``; JSON, JSON lines,
    CSV or Parquet with the columns that the template reads"""
    field: str | None = None
    """of a JSON file that holds the documents under a name, that name: ``examples`` of BIG-Bench-Hard's files"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", settle("template", self.template, str))
        if not isinstance(self.files, Mapping) or not self.files:
            raise VxlabError(f"files={quote(self.files)} must be files by split, such as {{'test': 'test.jsonl'}}")
        files = {settle("split", name, str): Path(settle("file", file, str)) for name, file in self.files.items()}
        object.__setattr__(self, "files", {name: file.expanduser().absolute() for name, file in files.items()})
        if lost := [file for file in self.files.values() if not Path(file).is_file()]:
            raise VxlabError(f"{self.template}: {str(lost[0])!r} is not there; name a file of documents")
        if len(kinds := {Path(file).suffix.lower() for file in self.files.values()}) > 1 or not kinds <= set(_READERS):
            raise VxlabError(
                f"{self.template}: files end in {list_in_words(sorted(kinds))}; give all as one of "
                f"{', '.join(_READERS)}"
            )

    def settings(self, template: Mapping[str, Any]) -> dict[str, Any]:
        """Return what replaces the template's own data: its splits without a file are none.

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
        suffix = Path(next(iter(self.files.values()))).suffix.lower()
        reader: dict[str, Any] = {"field": self.field} if self.field else {}
        reader |= {"sep": "\t"} if suffix == ".tsv" else {}
        # What datasets has kept of an earlier file with this name and time would be taken for this one.
        reader |= {"download_mode": "force_redownload"}
        data = {name: str(file) for name, file in self.files.items()}
        return {
            **kept,
            "dataset_path": _READERS[suffix],
            "dataset_name": None,
            "dataset_kwargs": {"data_files": data, **reader},
        }
