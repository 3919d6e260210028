"""What a model is fine-tuned on: labelled texts in three splits, with their metrics."""

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.glue import GLUE_TASKS, glue_name, read_glue
from vxlab.experiments.hub_data import read_hub
from vxlab.experiments.labelled import Columns, Labels, Reading, label_rows
from vxlab.experiments.rotten_tomatoes import read_rotten_tomatoes
from vxlab.experiments.splits import carve, sample
from vxlab.experiments.tabular import SUFFIXES, read_splits

if TYPE_CHECKING:
    import datasets

_NAMES = ("rotten_tomatoes", *GLUE_TASKS)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(:[\w.-]+)?")
_TEST = 0.2
_VALIDATION = 0.1
_MOST_VALIDATION_ROWS = 2000  # the standard error of an accuracy is then about one point: enough to choose by


@dataclass(frozen=True)
class Task:
    """Hold labelled texts, ready to train and score on.

    Args:
        name: as it was asked for; GLUE's tasks by their short name.
        splits: train, validation and test (MNLI also test_mismatched), with the columns text, text_pair (for
            pairs), label (class id, or float for a regression) and group (where there are groups).
        num_labels: number of classes; 1 for a regression.
        label_names: class names in the order of their ids; () for a regression.
        metrics: what is reported; the first chooses the checkpoint on validation.
        fingerprint: sha256 over the content of every split: other rows are another task.
        source: where the rows came from.
        citation: what to cite, or "".
    """

    name: str
    splits: "dict[str, datasets.Dataset]"
    num_labels: int
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    fingerprint: str
    source: str
    citation: str


def load_task(
    name: str,
    *,
    folder: str | Path | None = None,
    text_columns: tuple[str, ...] = (),
    label_column: str | None = None,
    group_column: str | None = None,
    train_examples: int | None = None,
    seed: int = 0,
) -> Task:
    """Load a task in three splits: train to learn from, validation to choose by, test to report.

    Data that has a validation split but no labelled test (all of GLUE) lends its validation split as our test. What
    is then lacking is carved: test out of train (20 %), and validation out of train (10 %, at most 2,000 rows),
    stratified by label and never through a group. The carving has its own seed, so that all runs see the same rows.

    Args:
        name: ``rotten_tomatoes``; a task of GLUE (``sst2``, ``STS-B``, ...); a file, or a folder of files named
            train, validation and test, as CSV, TSV, JSON lines, JSON or Parquet; or a hub data set, ``org/name`` or
            ``org/name:configuration``.
        folder: where the files are: of a GLUE task its own folder or the one above (default ``VXLAB_GLUE``, and
            without that the hub), of ``rotten_tomatoes`` the folder of its file (default the cache). With any other
            name, a file or folder of your own, which then goes by that name.
        text_columns: of a task of your own, one column, or two for pairs; by default found by their usual names.
        label_column: of a task of your own; by default ``label``, or ``score``.
        group_column: of a task of your own; rows of one group stay in one carved split.
        train_examples: train on a seeded, stratified sample of so many rows; None takes all.
        seed: of the carving and of the sample, not of the run.

    Returns:
        The task.

    Raises:
        VxlabError: an unknown name; a file, split, column, text or label that is lacking or out of range; an empty
            or one-class training set; fewer training rows than asked for.

    Example:
        ``load_task("sst2", folder="glue").splits["train"][0]["text"]``
    """
    columns = Columns(tuple(text_columns), label_column, group_column)
    known = glue_name(name) or name
    reading = _read(known, None if folder is None else Path(folder).expanduser(), columns)
    frames, labels = label_rows(reading)
    frames = _three_splits(frames, seed)
    if train_examples is not None:
        frames["train"] = _sampled(known, frames["train"], train_examples, seed)
    _check_varied(known, frames["train"], labels)
    return Task(
        name=known,
        splits={split: _dataset(frame) for split, frame in frames.items()},
        num_labels=len(labels.names) or 1,
        label_names=labels.names,
        metrics=reading.metrics or _usual_metrics(labels),
        fingerprint=_fingerprint(frames, labels),
        source=reading.source,
        citation=reading.citation,
    )


def _read(name: str, folder: Path | None, columns: Columns) -> Reading:
    """Find the reader that a name calls for. Known names come first: write ./rte for a folder of that name."""
    if name in _NAMES:
        if columns != Columns():
            raise VxlabError(f"{name} has its own columns: leave out text_columns, label_column and group_column")
        return read_rotten_tomatoes(folder) if name == "rotten_tomatoes" else read_glue(name, folder)
    path = folder or Path(name).expanduser()
    if path.exists() and (folder or name):  # the empty name is no task, though Path('') is this folder
        return Reading(read_splits(path), columns, f"local files, {path.name}")
    if folder is not None:
        raise VxlabError(f"folder={folder}: no such file or folder{_nearest(name)}")
    if _HUB_ID.fullmatch(name) and path.suffix not in SUFFIXES:
        return read_hub(name, columns)
    raise VxlabError(
        f"unknown task {name!r}{_nearest(name)}\n"
        f"Name one of {', '.join(_NAMES)}; a file or folder that exists; or a hub data set as org/name."
    )


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _three_splits(frames: dict[str, pd.DataFrame], seed: int) -> dict[str, pd.DataFrame]:
    """Complete train, validation and test, in this order, with further test splits after them."""
    given = dict(frames)
    train, rows = given.pop("train"), len(frames["train"])
    test = given.pop("test", None)
    if test is None:
        test = given.pop("validation", None)
    if test is None:
        train, test = _carved(train, _TEST, seed)
    validation = given.pop("validation", None)
    if validation is None:
        wanted = max(1, min(_VALIDATION * rows, _MOST_VALIDATION_ROWS))
        train, validation = _carved(train, min(wanted / len(train), 0.5), seed)
    return {"train": train, "validation": validation, "test": test, **given}


def _carved(frame: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    groups = frame["group"].to_numpy(dtype=str) if "group" in frame else None
    kept, held = carve(frame["label"].to_numpy(), groups, fraction, seed)
    return frame.iloc[kept], frame.iloc[held]


def _sampled(name: str, train: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    if not 1 <= size <= len(train):
        raise VxlabError(
            f"train_examples={size}: the training split of {name} has {len(train)} rows; ask for 1 to that"
        )
    return train.iloc[sample(train["label"].to_numpy(), size, seed)]


def _check_varied(name: str, train: pd.DataFrame, labels: Labels) -> None:
    if train["label"].nunique() < 2:
        only = train["label"].iloc[0]
        told = f"{labels.names[only]!r}" if labels.names else f"{only:g}"
        raise VxlabError(f"{name}: every one of the {len(train)} training rows has the label {told}; nothing to learn")


def _dataset(frame: pd.DataFrame) -> "datasets.Dataset":
    import datasets

    return datasets.Dataset.from_dict({str(column): frame[column].tolist() for column in frame})


def _fingerprint(frames: dict[str, pd.DataFrame], labels: Labels) -> str:
    digest = hashlib.sha256(json.dumps(labels.names).encode())
    for split, frame in frames.items():
        content: dict[str, Any] = {str(column): frame[column].tolist() for column in frame}
        digest.update(json.dumps([split, content]).encode())
    return digest.hexdigest()


def _usual_metrics(labels: Labels) -> tuple[str, ...]:
    if not labels.names:
        return ("pearson", "spearman")
    return ("accuracy", "f1") if len(labels.names) == 2 else ("accuracy", "f1_macro")
