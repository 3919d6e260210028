"""``vxlab evaluate``: a run by the start of its key, or a model by its name, and what tuning lost in words."""

import re
from pathlib import Path

import outside
import pytest
import toy_writers
from toy_records import key_of, toy_spec

import vxlab
from vxlab.cli import commands as cli
from vxlab.experiments.store.store import Store


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    outside.write_templates(tmp_path, {"arc_easy": {"test": outside.write_arc(tmp_path / "arc.jsonl")}})
    return tmp_path


def test_a_run_stands_against_its_base(
    tiny_writer: str, toy_prompts: str, templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, max_new_tokens=0, epochs=1)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    common = ["--tasks", "arc_easy", "--task-folder", str(templates), "--limit", "4", "--store", str(tmp_path)]
    capsys.readouterr()
    assert cli.main(["evaluate", record.key[:10], *common, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith(("task", "arc_easy  "))]
    assert re.split(r"  +", lines[0]) == [
        "task", "metric", "filter", "candidate", "seed", "score", "against base", "95 %", "p",
    ]  # fmt: skip
    assert [re.split(r"  +", line)[1:4] for line in lines[1:3]] == [
        ["acc", "none", "untuned base"], ["acc_norm", "none", "untuned base"],
    ]  # fmt: skip
    assert "LoRA r=4" in lines[3]
    assert " to " in lines[3]
    assert "untuned base" in printed.splitlines()[-1]
    assert cli.main(["evaluate", tiny_writer, *common, "--precision", "bfloat16"]) == 0
    assert cli.main(["evaluate", tiny_writer, "--tasks", "arc_easy,arc_eazy", *common[2:]]) == 2
    assert "task='arc_eazy' is none of lm-eval's; did you mean 'arc_easy'" in capsys.readouterr().err
    with Store(tmp_path) as store:
        assert len(store.evaluations.find()) == 3


def test_what_is_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path) as store:
        store.lease(key_of(0), toy_spec(), {}, "host:1:0.0:me", failed_before=None)
    for name, said in (("0123456789", "is of no run"), (key_of(0)[:12], "has not ended")):
        assert cli.main(["evaluate", name, "--tasks", "arc_easy", "--store", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err
