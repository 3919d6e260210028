"""Held-out tasks are asked on local files where lm-eval's templates can read them, and else from the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
from outside import write_arc

import vxlab
from vxlab.experiments.evaluations import LocalTask
from vxlab.studies.forgetting import NO_HARNESS, find_held_out, held_out_tasks, smoke_instructions

MODULE = "vxlab.studies.forgetting.held_out_tasks"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what would be loaded: the hub has what goes by a name."""
    found: list[Any] = []
    monkeypatch.setattr(f"{MODULE}.plan_evaluation", lambda tasks, **_: found.extend(tasks))
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    return found


def test_files_of_the_folder_are_taken_and_the_rest_is_the_hubs(tmp_path: Path, loaded: list[Any]) -> None:
    write_arc(tmp_path / "arc_easy.test.jsonl")
    found = find_held_out("small", ["arc_easy", "piqa", "mmlu"], tmp_path, 7)
    local, *hub = found.names
    assert isinstance(local, LocalTask)
    assert local.files == {"test": tmp_path / "arc_easy.test.jsonl"}
    assert hub == ["piqa", "mmlu"]
    assert loaded == list(found.names)
    assert (
        "on local files arc_easy (arc_easy.test.jsonl); with its own documents from the hub piqa and mmlu" in found.told
    )
    assert found.told.endswith("the first 7 documents of each.")


def test_the_environments_folder_counts_and_the_scale_names_the_tasks(
    tmp_path: Path, loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arc(tmp_path / "ARC-e.test.jsonl")
    monkeypatch.setenv("VXLAB_SETS", str(tmp_path))
    found = find_held_out("small")
    assert isinstance(found.names[0], LocalTask)
    assert found.names[1:] == ("openbookqa", "piqa")


def test_a_split_that_is_lacking_and_a_copy_of_other_columns_are_left_to_the_hub(
    tmp_path: Path, loaded: list[Any]
) -> None:
    write_arc(tmp_path / "arc_easy.train.jsonl")
    rows = [{"instruction": "Which? Answer format: answer1/answer2", "output": "answer1", "answer": "answer1"}]
    (tmp_path / "arc_challenge.test.json").write_text(json.dumps(rows))
    assert find_held_out("small", ["arc_easy", "arc_challenge"], tmp_path).names == ("arc_easy", "arc_challenge")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, loaded: list[Any]) -> None:
    with pytest.raises(vxlab.VxlabError, match="nowhere: no such folder"):
        find_held_out("small", ["arc_easy"], tmp_path / "nowhere")


def test_without_lm_eval_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.find_spec", lambda name: None)
    found = find_held_out("small")
    assert (found.names, found.told) == ((), NO_HARNESS)
    assert found.evaluate([]) is None


def test_the_smoke_questions_are_read_by_lm_evals_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    found = find_held_out("smoke")
    assert [each.template for each in found.names if isinstance(each, LocalTask)] == ["arc_easy"]
    with pytest.raises(vxlab.VxlabError, match="arc_eazy"):
        find_held_out("smoke", ["arc_eazy"], smoke_instructions().sets)
    assert held_out_tasks.NO_HARNESS == NO_HARNESS
