"""One run as a row of an atlas, and back, with all that can be checked of it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save

from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label, run_key
from vxlab.experiments.atlas.packed_answers import pack_answers, unpack_answers
from vxlab.experiments.scoring import compute
from vxlab.experiments.store import ENDED, EndedRun
from vxlab.paths import without_folders

_PLACES = ("model", "task", "task_folder", "chat_template")
"""of a spec, what may be a folder; what lies there is in the key by its content"""
_ROW, _PREDICTED = ("key", "spec", "identity", "status"), ".logits"
"""of a record, the fields that stand in the row itself"""
_ROUNDING, _ROUNDING_OF_OUTPUTS = 1e-9, 1e-6
"""Two sums of the same numbers in another order differ by less; of a regression, whose outputs are kept in float32
where a probe's score is of its float64 ones, by so much."""


def pack_run(run: EndedRun) -> dict[str, Any]:
    """Return the row of a run: its settings, its record without absolute folders or texts, its predictions packed.

    Where the model or the data was a folder, its last part stays: what they were is in the run's identity, by content.

    Raises:
        VxlabError: the run has another key than its own, or its predictions do not score as its record says.
    """
    name = run_in_words(run.key, run.spec)
    _require_key(name, run.key, run.spec, run.identity)
    if run.record["key"] != run.key or run_key(run.record["spec"], run.identity) != run.key:
        raise VxlabError(f"{name}: its record is of another run; see vxlab runs verify")
    answers, asked = _packed(name, run)
    row = {
        "key": run.key,
        "status": run.status,
        "at": run.at,
        "spec": _text(
            {field: without_folders(value) if field in _PLACES else value for field, value in run.spec.items()}
        ),
        "identity": _text(run.identity),
        "record": _text(_without_places(run.record)),
        "answers": answers,
        "asked": asked,
    }
    unpack_run(row)
    return row


def unpack_run(row: Mapping[str, Any]) -> EndedRun:
    """Return the run of a row, checked: its key is computed again, and every test score from its predictions.

    Raises:
        VxlabError: either is not what the row says, or the row cannot be read.
    """
    try:
        return _unpacked(row)
    except VxlabError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, SafetensorError) as error:
        told = f"run {str(row['key'])[:12]} cannot be read ({type(error).__name__}: {error})"
        raise VxlabError(f"{told}; it is damaged, or of another version of vxlab") from error


def run_in_words(key: str, spec: Mapping[str, Any]) -> str:
    """Name a run for a reader who may have to find it."""
    seed = "" if spec.get("seed") is None else f", seed {spec['seed']}"
    return f"run {key[:12]} ({method_label(spec['method'])} on {without_folders(spec['task'])}{seed})"


def require_same_results(one: EndedRun, other: EndedRun, places: tuple[str, str]) -> None:
    """Refuse two trainings of one run whose numbers differ; times and machines may.

    Args:
        one, other: under one key.
        places: where each is, in words.

    Raises:
        VxlabError: their scores or predictions differ; both places are named.
    """
    told = [_results(run) for run in (one, other)]
    if told[0] == told[1]:
        return
    scores = [_scored(run) for run in (one, other)]
    raise VxlabError(
        f"{run_in_words(one.key, one.spec)} is in {places[0]} and in {places[1]} with other results ({scores[0]} and "
        f"{scores[1]}): they were trained apart, and the key says that they are one run; leave it out of one of the two"
    )


def _results(run: EndedRun) -> tuple[Any, ...]:
    return run.status, run.record["metrics"], run.record["best_epoch"], run.predictions


def _scored(run: EndedRun) -> str:
    record = RunRecord.read(run.record, Path())
    score = math.nan if record is None else record.score()
    return run.status if math.isnan(score) else f"{run.status}, test score {score:.6g}"


def _require_key(name: str, key: str, spec: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    if (own := run_key(spec, identity)) != key:
        raise VxlabError(
            f"{name}: the key of its settings and of what they stood for is {own[:12]}…; a run is taken under its own "
            "key alone, so train it again"
        )


def _without_places(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says beside the row: without notes, which may quote the data, and without folders."""
    plain: dict[str, Any] = without_folders({field: value for field, value in record.items() if field not in _ROW})
    kept = {"label_names": record["task"].get("label_names", []), "notes": []}
    plain["task"] |= {field: value for field, value in kept.items() if field in record["task"]}
    return plain


def _packed(name: str, run: EndedRun) -> tuple[bytes | None, bytes | None]:
    if run.status != "finished":
        return None, None
    if run.predictions is None:
        raise VxlabError(f"{name} finished, and its store has no predictions of it; see vxlab runs verify")
    try:
        return pack_answers(run.predictions, run.record["task"]["num_labels"])
    except (VxlabError, SafetensorError) as error:
        raise VxlabError(f"{name}: {error}") from error


def _unpacked(row: Mapping[str, Any]) -> EndedRun:
    spec, identity, fields = (json.loads(row[column]) for column in ("spec", "identity", "record"))
    name = run_in_words(row["key"], spec)
    _require_key(name, row["key"], spec, identity)
    fields |= {"key": row["key"], "spec": spec, "identity": identity, "status": row["status"]}
    record = RunRecord.read(fields, Path())
    if record is None or record.status not in ENDED or not record.task["metrics"]:
        raise VxlabError(f"{name}: its record cannot be read; an atlas holds runs that ended, by this version of vxlab")
    predictions = None
    if record.status == "finished":
        arrays = unpack_answers(row["answers"], row["asked"], record.task["num_labels"])
        _require_scores(name, record, arrays)
        predictions = save(arrays)
    return EndedRun(row["key"], row["status"], spec, identity, fields, predictions, row["at"])


def _require_scores(name: str, record: RunRecord, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a run whose predictions do not score as its record says, in every metric of its task on every split."""
    rounding = _ROUNDING_OF_OUTPUTS if record.task["num_labels"] == 1 else _ROUNDING
    splits = [array.removesuffix(_PREDICTED) for array in arrays if array.endswith(_PREDICTED)]
    for split in {"test", *splits}:
        for metric, score in _scores(name, record, split, arrays).items():
            said = record.score(metric, split)
            # Two NaN are alike: a prediction that is none has no score.
            if not np.isclose(said, score, rtol=rounding, atol=rounding, equal_nan=True):
                raise VxlabError(
                    f"{name}: its record says {metric}={said:.9g} on {split}, and its predictions score {score:.9g}; "
                    "one of the two was changed, so train it again"
                )


def _scores(name: str, record: RunRecord, split: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    if not {f"{split}{_PREDICTED}", f"{split}.labels"} <= set(arrays):
        raise VxlabError(f"{name}: it finished, and has no predictions for split={split!r}")
    try:
        return compute(record.task["metrics"], arrays[f"{split}{_PREDICTED}"], arrays[f"{split}.labels"])
    except VxlabError as error:
        raise VxlabError(f"{name}: {error}") from error


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
