"""Rows with answers to choose from: what is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import vxlab
from vxlab.errors import VxlabError

ROW = {"question": "Which?", "choices": ["a", "b", "c"], "label": 1}


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    folder.mkdir(exist_ok=True)
    for split in ("train", "validation", "test"):
        made = [{**row, "question": f"{row.get('question', '')} {split} {n}"} for n, row in enumerate(rows)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, made)), encoding="utf-8")
    return str(folder)


def test_the_label_is_a_place_or_the_answer(tmp_path: Path) -> None:
    task = vxlab.load_task(write(tmp_path / "t", [ROW, ROW | {"label": "c"}, ROW | {"label": 0}]))
    assert task.splits["train"]["label"][:] == [1, 2, 0]
    assert task.splits["test"]["choices"][0] == ["a", "b", "c"]


def test_a_template_writes_the_prompt(tmp_path: Path) -> None:
    task = vxlab.load_task(write(tmp_path / "t", [ROW, ROW]), prompt_template="Q: {question}\nA:")
    assert task.splits["train"]["text"][0] == "Q: Which? train 0\nA:"


def test_a_template_goes_with_a_label_of_another_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", [{**ROW, "label": 2, "gold": place} for place in (0, 1)])
    task = vxlab.load_task(folder, prompt_template="Q: {question}\nA:", label_column="gold")
    assert task.splits["train"]["label"][:] == [0, 1]
    assert task.splits["train"]["text"][1] == "Q: Which? train 1\nA:"


def test_a_split_without_labels_is_left_out_and_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", [ROW, ROW | {"label": 0}] * 10)
    lines = [json.dumps(ROW | {"question": f"other {n}", "label": -1}) for n in range(5)]
    (Path(folder) / "test.jsonl").write_text("\n".join(lines))
    with pytest.warns(match="none of its 5 rows has a label; the split is left out"):
        task = vxlab.load_task(folder)
    assert len(task.splits["test"]) == 20


def test_an_answer_that_stands_there_twice_is_told(tmp_path: Path) -> None:
    twins = [ROW, ROW | {"choices": ["a", "b", "a"]}, ROW | {"choices": ["a", "b", "b"]}]
    told = r"test.jsonl: the same answer stands twice among the choices of 2 rows of 3 \(the first is line 2\); of 1 it"
    with pytest.warns(match=told):
        vxlab.load_task(write(tmp_path / "t", twins))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"choices": ["a"]}, "holds 1 answer"),
        ({"choices": ["a", " "]}, "entry 1 of column 'choices' is empty"),
        ({"choices": "abc"}, "must be a list of texts"),
        ({"label": 3}, "label 3 is none of the 3 choices"),
        ({"label": -1}, "label -1 is none of the 3 choices"),
        ({"label": "B"}, "label 'B' is none of the 3 choices"),
        ({"label": True}, "label True is none of the 3 choices"),
        ({"label": None}, "is none of the 3 choices"),
        ({"label": 0.5}, "label 0.5 is none of the 3 choices"),
        ({"contexts": ["x", "y"]}, "2 contexts and 3 choices"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(VxlabError, match=f"jsonl, line 2: .*{told}"):
        vxlab.load_task(write(tmp_path / "t", [ROW | _even(row), ROW | row]))


def _even(row: dict[str, Any]) -> dict[str, Any]:
    return {"contexts": ["x", "y", "z"]} if "contexts" in row else {}


def test_the_same_question_with_other_answers_is_no_copy_and_in_another_order_one(tmp_path: Path) -> None:
    folder = Path(write(tmp_path / "t", [ROW]))
    again = [ROW | {"question": "Which? train 0", "choices": choices} for choices in (["c", "b", "a"], ["d", "b", "a"])]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, again)), encoding="utf-8")
    with pytest.warns(match="1 of the 2 rows of test"):
        task = vxlab.load_task(folder)
    assert task.overlap["test"] == {"train": 1, "validation": 0}


def test_places_that_may_be_counted_from_one_are_told(tmp_path: Path) -> None:
    with pytest.warns(match="the first choice is the right one in none of 20 rows; are places counted from 1"):
        vxlab.load_task(write(tmp_path / "t", [ROW, ROW | {"label": 2}] * 10))


def test_a_prompt_that_all_questions_share_makes_neither_one_unit_nor_copies_of_them(tmp_path: Path) -> None:
    asked = [{"text": "Which is right?", "choices": [f"It is {n}.", f"It are {n}."], "label": n % 2} for n in range(60)]
    (path := tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    task = vxlab.load_task(path)
    assert [len(task.splits[split]) for split in ("train", "validation", "test")] == [42, 6, 12]
    assert task.units("test") is None


def test_questions_that_differ_in_their_contexts_alone_are_no_copies(tmp_path: Path) -> None:
    asked = [
        {"text": "Which?", "choices": ["is so", "is so"], "contexts": [f"{n} or 1", f"{n} or 2"], "label": n % 2}
        for n in range(60)
    ]
    (path := tmp_path / "gaps.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    task = vxlab.load_task(path)
    assert task.units("test") is None
    assert task.overlap["test"] == {"train": 0, "validation": 0}


def test_questions_with_one_prompt_among_many_are_one_unit(tmp_path: Path) -> None:
    asked = [{"text": f"Which {n // 2}?", "choices": [f"a {n}", f"b {n}"], "label": n % 2} for n in range(100)]
    (path := tmp_path / "goals.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    task = vxlab.load_task(path)
    assert len(set(task.units("test").tolist())) == len(task.splits["test"]) // 2


def test_a_kind_of_labels_that_was_named_makes_a_task_of_labels(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", [ROW, ROW | {"label": 0}])
    task = vxlab.load_task(folder, text_columns="question", label_kind="classes")
    assert task.kind.name == "classification"


def test_two_columns_that_may_be_the_prompt_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VxlabError, match="several columns may hold the prompt"):
        vxlab.load_task(write(tmp_path / "t", [ROW | {"text": "x"}] * 2))
