"""What is timed of mixed batches: every way in every round, and of PEFT what it has."""

from pathlib import Path

import pytest

import vxlab
from vxlab.studies.many import DECODE, PASS, PREFILL, mixed_throughput

METHODS = [vxlab.LoRA(rank=2), vxlab.LoRAXS(rank=2)]


def timed(model: str, labels: int, folder: Path, **changed: object):
    given = {"rows": 3, "tokens": [4, 6], "rounds": 2, "folder": folder, "progress": False} | changed
    return mixed_throughput(model, labels, METHODS, "query-value", **given)


def test_an_encoders_batches_are_one_pass_each_and_only_lora_is_pefts(tiny_model: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    table = timed(tiny_model, 2, tmp_path)
    assert table["candidate"].tolist() == ["LoRA r=2"] * 2 + ["LoRA-XS r=2"] * 2
    assert set(table["stage"]) == {PASS}
    assert table["tokens"].tolist() == [4, 6, 4, 6]
    for name in ("one", "mixed"):
        assert [len(each) for each in table[name]] == [2] * 4
        assert all(seconds > 0 for each in table[name] for seconds in each)
    assert [len(each) for each in table["peft"]] == [2, 2, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_writes_has_prefill_and_decoding_apart(tiny_writer: str, tmp_path: Path) -> None:
    table = timed(tiny_writer, 0, tmp_path, tokens=[5])
    assert table["stage"].tolist() == [PREFILL, DECODE] * 2
    assert table["tokens"].tolist() == [5, 1] * 2
    assert all(len(each) == 2 for each in table["mixed"])


def test_without_peft_its_column_is_empty(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [len(each) for each in timed(tiny_model, 2, tmp_path, tokens=[4])["peft"]] == [0, 0]
