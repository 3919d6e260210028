"""The runs of a store as one DataFrame, and that DataFrame as a file."""

import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.errors import VxlabError
from vxlab.experiments import NO_LAYERS, RunRecord, layers, method_label, rank_of
from vxlab.experiments.provenance import identity_columns
from vxlab.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "key": "string", "status": "string", "model": "string", "quantisation": "string", "task": "string",
    "method": "string", "label": "string",
    "rank": "Int64", "targets": "string", "learning_rate": "float64", "head_learning_rate": "float64", "seed": "Int64",
    "epochs": "Int64", "ends_after": "float64", "batch_size": "Int64", "train_examples": "Int64", "shots": "Int64",
    "draw": "Int64", "precision": "string",
    "weights": "string", "data": "string", "versions": "string", "metric": "string",
    "validation": "float64", "validation_loss": "float64", "test": "float64",
    "backbone": "Int64", "head": "Int64", "bytes_stored": "Int64",
    "steps": "Int64", "step_seconds": "float64", "train_seconds": "float64", "peak_memory": "Int64",
    "attempts": "Int64", "error": "string", "finished_at": "string", "folder": "string",
}  # fmt: skip
"""Every column and its type; scores are fractions, times in seconds, sizes in bytes."""

ORDER = [
    "task", "model", "quantisation", "method", "rank", "label", "targets", "shots", "learning_rate",
    "head_learning_rate", "draw", "seed", "key",
]  # fmt: skip
"""How rows are sorted: by what they are, so that a table does not depend on which run ended first."""

_FROM_SPEC = ("model", "task", "learning_rate", "head_learning_rate", "seed", "epochs", "batch_size", "train_examples")
_FROM_RECORD = ("bytes_stored", "steps", "step_seconds", "train_seconds", "peak_memory", "finished_at")


def frame(rows: Iterable[dict[str, Any]]) -> "pd.DataFrame":
    """Return one row a run, sorted by :data:`ORDER`, with the columns and types of :data:`COLUMNS`.

    Args:
        rows: of key, status, spec, identity, attempts, error, at (epoch seconds or None), folder and record (a
            RunRecord or None).
    """
    import pandas as pd

    table = pd.DataFrame(map(_row, rows), columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values(ORDER, kind="stable", ignore_index=True)


def without_repeats(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Drop what is another's run again: a method that goes on no layers, under other targets.

    Args:
        runs: of the store's table, with ``candidate``.
    """
    made_of = ["candidate", "learning_rate", "head_learning_rate", "shots", "draw", "seed", "status"]
    again = runs.duplicated(made_of) & (runs["targets"] == NO_LAYERS) & runs["status"].isin(("finished", "diverged"))
    return runs[~again]


def write(table: "pd.DataFrame", path: Path) -> Path:
    """Write a table as ``.parquet`` or ``.csv``, whole or not at all.

    Raises:
        VxlabError: the suffix is another, or the file cannot be written.
    """
    require_export(path)
    try:
        with write_whole(path) as new:
            table.to_parquet(new, index=False) if path.suffix == ".parquet" else table.to_csv(new, index=False)
    except OSError as error:
        raise VxlabError(f"path={str(path)!r} cannot be written: {error.strerror or error}") from error
    return path


def require_export(path: Path) -> Path:
    """Return a path to export to, or raise VxlabError: its format is not known, or no file can be put there.

    Nothing is written: folders that are lacking are made with the file.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise VxlabError(f"path={str(path)!r} ends in {path.suffix or 'nothing'!r}; choose .parquet or .csv")
    if path.is_dir():
        raise VxlabError(f"path={str(path)!r} cannot be written: it is a folder; name a file")
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    if not there.is_dir():
        raise VxlabError(f"path={str(path)!r} cannot be written: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise VxlabError(f"path={str(path)!r} cannot be written: nothing may be put into {there}")
    return path


def _row(run: dict[str, Any]) -> dict[str, Any]:
    spec, identity, at, record = (run[name] for name in ("spec", "identity", "at", "record"))
    method = spec["method"]
    return {
        **{name: run[name] for name in ("key", "status", "attempts", "error")},
        "method": method["name"],
        "label": method_label(method),
        "rank": rank_of(method),
        "targets": layers(method, spec["targets"]),
        "precision": identity.get("precision", spec["precision"]),
        **identity_columns(identity),
        "finished_at": at and datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds"),
        "folder": str(run["folder"]),
        **{name: spec[name] for name in _FROM_SPEC},
        "quantisation": spec.get("quantisation"),
        "ends_after": spec.get("ends_after", 1.0),
        "shots": spec.get("shots"),
        "draw": spec.get("draw", 0) if "shots" in spec else None,
        **({} if record is None else _results(record)),
    }


def _results(record: RunRecord) -> dict[str, Any]:
    return {
        "metric": record.task["metrics"][0],
        "validation": record.score(split="validation"),
        "validation_loss": record.score("loss", split="validation"),
        "test": record.score(),
        "backbone": record.parameters["backbone"],
        "head": record.parameters["head"],
        **{name: getattr(record, name) for name in _FROM_RECORD},
    }
