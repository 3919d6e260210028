"""Records: written whole or not at all, read back as they were, and believed only when complete."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import vxlab
from vxlab.experiments.record import RunRecord

METRICS = [
    {"epoch": 1, "split": "validation", "metric": "accuracy", "value": 0.5},
    {"epoch": 2, "split": "validation", "metric": "accuracy", "value": 0.75},
    {"epoch": 2, "split": "validation", "metric": "f1", "value": 0.6},
    {"epoch": 2, "split": "test", "metric": "accuracy", "value": 0.7},
    {"epoch": 2, "split": "test", "metric": "f1", "value": 0.65},
]


def _record(folder: Path, **changes: Any) -> RunRecord:
    settings: dict[str, Any] = {
        "key": "ab" * 32, "spec": {"model": "tiny", "targets": ["query"]}, "status": "finished",
        "task": {"name": "toy", "metrics": ["accuracy", "f1"]}, "metrics": METRICS,
        "curve": [{"step": 1, "epoch": 0.5, "loss": 0.7, "learning_rate": 1e-3}], "best_epoch": 2,
        "parameters": {"backbone": 10, "head": 2, "total": 100}, "layers": 1, "bytes_stored": 48, "steps": 2,
        "step_seconds": 0.1, "train_seconds": 0.3, "peak_memory": 1000, "precision": "float32",
        "hardware": {"device": "cpu"}, "versions": {"vxlab": "0"}, "finished_at": "2030-01-01T00:00:00+00:00",
        "identity": {"model": "0a", "precision": "float32"},
    }  # fmt: skip
    return RunRecord(**settings | changes, folder=folder)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = _record(tmp_path)
    record.save()
    assert RunRecord.load(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_records_fields_are_plain_json_and_make_the_same_record(tmp_path: Path) -> None:
    record = _record(tmp_path / "here")
    fields = json.loads(json.dumps(record.fields(), allow_nan=False))
    assert RunRecord.from_fields(fields, tmp_path / "there") == record
    assert RunRecord.from_fields(fields, tmp_path / "there").folder == tmp_path / "there"
    with pytest.raises(KeyError):
        RunRecord.from_fields({"key": "ab"}, tmp_path)


def test_a_record_from_before_identities_is_read(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(_without("identity"))
    loaded = RunRecord.load(tmp_path)
    assert loaded is not None
    assert loaded.identity == {}


def test_a_record_moves_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    _record(tmp_path / "here").save()
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = RunRecord.load(tmp_path / "there")
    assert loaded is not None
    assert loaded.folder == tmp_path / "there"


def test_no_number_is_null_in_the_file_and_nan_again_in_the_record(tmp_path: Path) -> None:
    metrics = [{"epoch": 1, "split": "validation", "metric": "loss", "value": float("nan")}]
    curve = [{"step": 1, "epoch": 0.5, "loss": float("inf"), "learning_rate": 1e-3}]
    _record(tmp_path, metrics=metrics, curve=curve, best_epoch=None, step_seconds=math.nan).save()
    text = (tmp_path / "record.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    loaded = RunRecord.load(tmp_path)
    assert loaded is not None
    assert [math.isnan(value) for value in (loaded.metrics[0]["value"], loaded.curve[0]["loss"], loaded.step_seconds)]
    assert loaded.best_epoch is None
    assert math.isnan(loaded.score())


def test_a_record_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = _record(tmp_path)
    record.save()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        dataclasses.replace(record, status="diverged").save()
    assert RunRecord.load(tmp_path) == record


def _without(name: str) -> bytes:
    fields = {key: value for key, value in dataclasses.asdict(_record(Path())).items() if key not in ("folder", name)}
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b"{}", _without("status"), _without("metrics"), _without("")[:-30],
     _without("")[:-1] + b', "unknown": 1}', _without("").replace(b'"curve": [{', b'"curve": [3, {')],
)  # fmt: skip
def test_a_damaged_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    assert RunRecord.load(tmp_path) is None


def test_a_whole_record_is_not_damaged(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(_without(""))
    assert RunRecord.load(tmp_path) == _record(tmp_path)
    assert RunRecord.load(tmp_path / "nowhere") is None


def test_a_score_is_of_the_chosen_epoch(tmp_path: Path) -> None:
    record = _record(tmp_path)
    assert (record.score(), record.score("f1"), record.score(split="validation")) == (0.7, 0.65, 0.75)
    assert math.isnan(record.score("pearson"))
    assert math.isnan(_record(tmp_path, best_epoch=None).score())
    assert _record(tmp_path, best_epoch=1).score(split="validation") == 0.5


def test_the_tables_have_a_row_for_each_entry(tmp_path: Path) -> None:
    record = _record(tmp_path)
    assert record.metrics_table().to_dict("records") == METRICS
    assert record.curve_table().to_dict("records") == record.curve
    assert list(_record(tmp_path, curve=[]).curve_table()) == ["step", "epoch", "loss", "learning_rate"]


def test_predictions_are_those_of_the_split(tmp_path: Path) -> None:
    logits, labels = torch.randn(3, 2), torch.tensor([0, 1, 1])
    save_file({"test.logits": logits, "test.labels": labels}, tmp_path / "predictions.safetensors")
    record = _record(tmp_path)
    assert all(map(torch.equal, record.predictions(), (logits, labels)))
    with pytest.raises(vxlab.VxlabError, match=r"run abababababab \(finished\) holds no predictions for split='train'"):
        record.predictions("train")
    with pytest.raises(vxlab.VxlabError, match=r"\(diverged\) holds no predictions for split='test'"):
        _record(tmp_path, status="diverged").predictions()


def test_what_a_notebook_prints_of_a_record_fits_a_screen(tmp_path: Path) -> None:
    rows = [{"step": i, "epoch": 1.0, "loss": 0.7, "learning_rate": 1e-3} for i in range(500)]
    shown = repr(_record(tmp_path, curve=rows))
    assert "status='finished'" in shown
    assert len(shown) < 700


def test_another_training_of_a_run_has_another_digest_wherever_it_lies(tmp_path: Path) -> None:
    record = _record(tmp_path)
    record.save()
    found = RunRecord.load(tmp_path)
    assert found is not None
    moved = dataclasses.replace(found, folder=tmp_path / "elsewhere", kept=b"predictions")
    assert record.digest == found.digest == moved.digest
    assert dataclasses.replace(record, train_seconds=record.train_seconds + 1).digest != record.digest
