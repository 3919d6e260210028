"""lm-eval's packaged tasks on files: the same documents, whatever their format, and refusals by name."""

import json
import os
from pathlib import Path
from typing import Any

import outside
import pandas as pd
import pytest

import vxlab
from vxlab.experiments.evaluations.outside_tasks import OutsideTask, load_outside_tasks


def _loaded(template: str, files: Any, **more: Any) -> OutsideTask:
    (task,) = load_outside_tasks(vxlab.LocalTask(template, files, **more))
    return task


def test_documents_are_the_same_in_every_format(tmp_path: Path) -> None:
    lines = outside.write_arc(tmp_path / "arc.jsonl")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    (tmp_path / "arc.json").write_text(json.dumps(rows))
    (tmp_path / "named.json").write_text(json.dumps({"examples": rows}))
    pd.DataFrame(rows).to_parquet(tmp_path / "arc.parquet")
    files = [tmp_path / f"arc.{suffix}" for suffix in ("jsonl", "json", "parquet")]
    contents = {_loaded("arc_easy", {"test": file}).content for file in files}
    contents.add(_loaded("arc_easy", {"test": tmp_path / "named.json"}, field="examples").content)
    assert len(contents) == 1


def test_a_template_on_files_is_the_template_that_a_yaml_includes(
    documents: dict[str, dict[str, Path]], templates: Path
) -> None:
    for name, files in documents.items():
        (included,) = load_outside_tasks(name, task_folder=templates)
        found = _loaded(name, files)
        assert found.shots == included.shots
        assert found.content == included.content


def test_a_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    file = outside.write_arc(tmp_path / "arc.jsonl")
    first, time = _loaded("arc_easy", {"test": file}).content, file.stat().st_mtime_ns
    outside.write_arc(file, first=1)
    os.utime(file, ns=(time, time))
    assert _loaded("arc_easy", {"test": file}).content != first


def test_examples_come_from_the_file_of_their_split(documents: dict[str, dict[str, Path]]) -> None:
    found = _loaded("gsm8k", documents["gsm8k"])
    assert found.shots == {"gsm8k": 5}
    (task,) = found.loaded["tasks"].values()
    assert len(task.fewshot_docs()) == len(task.eval_docs) == 6


@pytest.mark.parametrize(
    ("files", "field", "said"),
    [
        ({}, None, r"files={} must be files by split"),
        ({"test": "nowhere.jsonl"}, None, r"arc_easy: 'nowhere.jsonl' is no file"),
        ({"test": "rows.csv"}, None, r"rows.csv is none of .json, .jsonl, .parquet"),
        ({"tset": "rows.json"}, None, r"arc_easy reads no split 'tset'; did you mean 'test'"),
        ({"train": "rows.json"}, None, r"arc_easy is tested on its split 'test'; give a file of that"),
        ({"test": "rows.json"}, "examples", r"rows.json cannot be read: no 'examples' in it"),
        ({"test": "rows.json"}, None, r"arc_easy.* cannot be loaded"),
    ],
)
def test_what_is_no_file_of_documents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], field: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("question\nwhat?\n")
    (tmp_path / "rows.json").write_text('[{"text": "no question"}]')
    with pytest.raises(vxlab.VxlabError, match=said):
        _loaded("arc_easy", files, field=field)


def test_a_group_is_no_template(documents: dict[str, dict[str, Path]]) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"template='mmlu' stands for several tasks"):
        _loaded("mmlu", documents["arc_easy"])
