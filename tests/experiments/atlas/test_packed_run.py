"""A row says what its run was, and one that was changed is refused by name."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from toy_atlas import ITEMS, change_row, fill_store, toy_run

from vxlab.errors import VxlabError
from vxlab.experiments.atlas import packed_run
from vxlab.experiments.atlas.packed_run import pack_run, require_same_results, unpack_run
from vxlab.experiments.scoring import compute
from vxlab.experiments.store.ended_run import EndedRun


@pytest.fixture
def run(tmp_path: Path) -> EndedRun:
    with fill_store(tmp_path / "runs.db", 0) as store:
        return next(store.ended())


def test_a_run_comes_back_as_it_was(run: EndedRun) -> None:
    again = unpack_run(pack_run(run))
    assert again._replace(predictions=None) == run._replace(predictions=None)
    before, after = load(run.predictions), load(again.predictions)
    assert np.array_equal(before["test.logits"].argmax(1), after["test.logits"].argmax(1))
    assert np.array_equal(before["test.labels"], after["test.labels"])
    assert pack_run(again) == pack_run(run)


def test_a_run_that_diverged_has_no_predictions(tmp_path: Path) -> None:
    with fill_store(tmp_path / "runs.db", diverged=3) as store:
        (run,) = store.ended()
    row = pack_run(run)
    assert (row["status"], row["answers"], row["asked"]) == ("diverged", None, None)
    assert unpack_run(row) == run


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "key": "0" * 64}


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    return change_row(row, "spec", learning_rate=0.5)


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return change_row(row, "identity", model="other weights")


def _score(row: dict[str, Any]) -> dict[str, Any]:
    metrics = json.loads(row["record"])["metrics"]
    higher = [each | {"value": 0.99} if each["split"] == "test" else each for each in metrics]
    return change_row(row, "record", metrics=higher)


def _no_metrics(row: dict[str, Any]) -> dict[str, Any]:
    task = json.loads(row["record"])["task"]
    return change_row(row, "record", task=task | {"metrics": []})


def _unknown_metric(row: dict[str, Any]) -> dict[str, Any]:
    task = json.loads(row["record"])["task"]
    return change_row(row, "record", task=task | {"metrics": ["luck"]})


def _prediction(row: dict[str, Any]) -> dict[str, Any]:
    classes = load(row["answers"])["test.classes"]
    classes[0] = 1 - classes[0]
    return {**row, "answers": save({"test.classes": classes})}


def _label(row: dict[str, Any]) -> dict[str, Any]:
    labels = load(row["asked"])["test.labels"]
    labels[0] = 1 - labels[0]
    return {**row, "asked": save({"test.labels": labels})}


def _class(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "answers": save({"test.classes": np.full(ITEMS, 9, dtype=np.uint8)})}


def _fewer(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "answers": save({"test.classes": load(row["answers"])["test.classes"][:-1]})}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_key, r"run 000000000000 \(LoRA r=8 on rotten_tomatoes, seed 0\): the key of its settings .* is [0-9a-f]{12}"),
        (_settings, "the key of its settings and of what they stood for is"),
        (_identity, "the key of its settings and of what they stood for is"),
        (_score, r"its record says accuracy=0\.99 on test, and its predictions score 0\.\d+; one of the two"),
        (_prediction, "its record says accuracy=.* and its predictions score"),
        (_label, "its record says accuracy=.* and its predictions score"),
        (_class, r"cannot be read \(IndexError"),
        (_fewer, "of 59 predictions and 60 labels"),
        (_no_metrics, "its record cannot be read"),
        (_unknown_metric, "unknown metric 'luck'"),
        (lambda row: {**row, "answers": b"half"}, r"cannot be read \(SafetensorError"),
        (lambda row: {**row, "answers": None}, r"cannot be read \(TypeError"),
        (lambda row: {**row, "answers": save({})}, "it finished, and has no predictions for split='test'"),
        (lambda row: {**row, "record": row["record"][:-1]}, r"cannot be read \(JSONDecodeError"),
        (lambda row: {**row, "status": "failed"}, "an atlas holds runs that ended"),
    ],
)  # fmt: skip
def test_a_row_that_was_changed_is_refused(
    run: EndedRun, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    with pytest.raises(VxlabError, match=told):
        unpack_run(change(pack_run(run)))


def test_a_store_that_was_changed_is_not_packed(run: EndedRun) -> None:
    with pytest.raises(VxlabError, match="the key of its settings and of what they stood for is"):
        pack_run(run._replace(key="0" * 64))
    with pytest.raises(VxlabError, match="its record is of another run"):
        pack_run(run._replace(record=run.record | {"spec": run.spec | {"epochs": 9}}))
    with pytest.raises(VxlabError, match="its store has no predictions of it"):
        pack_run(run._replace(predictions=None))
    with pytest.raises(VxlabError, match=r"run [0-9a-f]{12} \(LoRA r=8 on rotten_tomatoes, seed 0\): "):
        pack_run(run._replace(predictions=b"half"))


def test_folders_go_by_their_last_part_and_what_may_quote_the_data_is_left_out(tmp_path: Path) -> None:
    given = {"model": "/data/someone/model", "task": "/data/someone/films.csv", "prompt_template": "/short {text}"}
    record = toy_run(tmp_path / "a", fields=given)
    fields = record.fields()
    kept = {"notes": ["one answer to everything: 'a secret'"], "name": given["task"], "label_names": ["/a", "/a/b"]}
    fields["task"] |= kept
    predictions = (record.folder / "predictions.safetensors").read_bytes()
    run = EndedRun(record.key, record.status, record.spec, record.identity, fields, predictions, 1.0)
    row = pack_run(run)
    assert "someone" not in str(row)
    assert "secret" not in str(row)
    again = unpack_run(row)
    assert [again.spec[name] for name in given] == ["model", "films.csv", "/short {text}"]
    assert again.key == again.record["key"] == run.key
    assert again.record["task"] | kept == fields["task"]
    assert (again.record["task"]["notes"], again.record["task"]["label_names"]) == ([], ["/a", "/a/b"])
    assert fields["task"]["notes"] != []


def test_two_trainings_are_one_run_where_their_numbers_are(run: EndedRun) -> None:
    require_same_results(run, run._replace(at=7.0, record=run.record | {"train_seconds": 1e6}), ("one", "other"))
    metrics = [row | {"value": row["value"] / 2} for row in run.record["metrics"]]
    other = run._replace(record=run.record | {"metrics": metrics})
    with pytest.raises(
        VxlabError, match=r"is in one and in other with other results \(finished, test score 0\.\d+ and"
    ):
        require_same_results(run, other, ("one", "other"))


@pytest.mark.parametrize(("outputs", "off", "refused"), [(1, 1e-8, False), (1, 1e-5, True), (2, 1e-8, True)])
def test_outputs_in_float32_may_round_a_regressions_score_and_nothing_else(
    outputs: int, off: float, refused: bool
) -> None:
    """A probe's score is of its float64 outputs; classes come out the same."""
    metric = "pearson" if outputs == 1 else "accuracy"
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(20, outputs)).astype(np.float32)
    labels = logits[:, 0] + draw.normal(size=20).astype(np.float32) if outputs == 1 else np.arange(20) % 2
    said = compute([metric], logits, labels)[metric] + off
    task = {"metrics": [metric], "num_labels": outputs}
    record = SimpleNamespace(task=task, score=lambda *asked: said, units=lambda *asked: None)
    arrays = {"test.logits": logits, "test.labels": labels}
    with pytest.raises(VxlabError, match="its predictions score") if refused else nullcontext():
        packed_run._require_scores("a run", record, arrays)  # type: ignore[arg-type]
