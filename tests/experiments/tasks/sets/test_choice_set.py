"""Commonsense sets by name: to choose from in their own fields, to be written as LLM-Adapters has them."""

import json
from pathlib import Path

import datasets
import pytest
from places import ROOT

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.kinds import GENERATION, MULTIPLE_CHOICE
from vxlab.experiments.tasks.task import load_task

SHARED = ROOT.parent / "shared" / "data"


def arc(number: int, **other: object) -> dict[str, object]:
    choices = {"text": [f"dog {number}", f"cat {number}", "neither"], "label": ["A", "B", "C"]}
    return {"question": f"Which barks {number}?", "choices": choices, "answerKey": "A", **other}


def adapters(number: int, **other: object) -> dict[str, object]:
    asked = f"Which barks {number}?\n\nAnswer1: dog Answer2: cat\n\nAnswer format: answer1/answer2"
    right = f"answer{1 + number % 2}"
    return {"instruction": asked, "input": "", "output": f"the correct answer is {right}", "answer": right, **other}


def write(folder: Path, **splits: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def official(folder: Path, first: int = 0) -> Path:
    splits = {"train": range(20), "validation": range(20, 24), "test": range(24, 30)}
    made = {split: [arc(number) for number in numbers] for split, numbers in splits.items()}
    made["test"][0] |= {"answerKey": "B"} if not first else {}
    return write(folder, **made)


def test_own_fields_are_multiple_choice_in_the_official_splits(tmp_path):
    task = load_task("ARC-e", folder=official(tmp_path / "ARC-Easy"))
    assert (task.name, task.kind, task.num_labels) == ("arc_easy", MULTIPLE_CHOICE, 0)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 20, "validation": 4, "test": 6}
    assert task.splits["test"][0] == {
        "text": "Question: Which barks 24?\nAnswer:",
        "choices": ["dog 24", "cat 24", "neither"],
        "label": 1,
    }
    assert task.metrics == ("acc", "acc_norm", "log_likelihood")
    assert (task.source, task.notes) == ("local files, arc_easy, to choose from", ())
    assert "Clark" in task.citation


def test_the_folder_may_be_named_by_the_environment_and_holds_many_sets(tmp_path, monkeypatch):
    official(tmp_path / "ARC-Easy")
    official(tmp_path / "ARC-Challenge", first=1)
    monkeypatch.setenv("VXLAB_SETS", str(tmp_path))
    assert load_task("arc_easy").splits["test"]["label"][0] == 1
    assert load_task("ARC-Challenge").splits["test"]["label"][0] == 0


def test_a_test_without_labels_gives_way_to_validation_as_glues_does(tmp_path):
    rows = [{"goal": f"g{number}", "sol1": "a", "sol2": "b", "label": number % 2} for number in range(50)]
    secret = [row | {"goal": f"s{number}", "label": -1} for number, row in enumerate(rows)]
    task = load_task("piqa", folder=write(tmp_path, train=rows[:40], validation=rows[40:], test=secret))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 36, "validation": 4, "test": 10}
    assert task.splits["test"]["text"][0] == "Question: g40\nAnswer:"
    assert task.notes == ()


def test_a_test_that_should_have_labels_and_has_none_is_told(tmp_path):
    official(tmp_path)
    secret = [arc(number, answerKey="") for number in range(50, 60)]
    with pytest.warns(DataWarning, match=r"test.jsonl: none of its 10 rows has a label; the split is left out"):
        task = load_task("arc_easy", folder=write(tmp_path, test=secret))
    assert len(task.splits["test"]) == 4


def test_winogrande_has_a_context_for_each_choice(tmp_path):
    rows = [
        {"sentence": f"Kim hid {number} nuts from Lee as _ was hungry.",
         "option1": "Kim", "option2": "Lee", "answer": "2"}
        for number in range(9)
    ]  # fmt: skip
    task = load_task("WinoGrande", folder=write(tmp_path, train=rows[:6], validation=rows[6:8], test=rows[8:]))
    assert task.splits["test"][0] == {
        "text": "Kim hid 8 nuts from Lee as _ was hungry.",
        "choices": ["was hungry."] * 2,
        "label": 1,
        "contexts": ["Kim hid 8 nuts from Lee as Kim", "Kim hid 8 nuts from Lee as Lee"],
    }


def test_llm_adapters_copies_are_written_and_validation_is_carved(tmp_path):
    folder = write(tmp_path / "dataset" / "ARC-Challenge", train=[*map(adapters, range(20))], test=[adapters(20)])
    task = load_task("arc_challenge", folder=tmp_path)
    assert task.kind == GENERATION
    assert task.metrics == ("log_likelihood", "answer_word", "exact_match")
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2, "test": 1}
    written = task.splits["test"][0]
    assert written["text"].endswith("Answer format: answer1/answer2\n\n### Response:")
    assert written["references"] == ["the correct answer is answer1"]
    assert "LLM-Adapters' copy, to be written" in task.source
    task = load_task("arc_challenge", folder=folder, prompt_template="{instruction}\n")
    assert task.splits["test"]["text"][0].endswith("answer2\n")


def test_one_split_alone_is_carved_and_that_is_told(tmp_path):
    with pytest.warns(DataWarning, match="no train split: arc_easy/test.jsonl is trained on, so that scores"):
        task = load_task("arc_easy", folder=write(tmp_path / "arc_easy", test=[*map(arc, range(20))]))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 14, "validation": 2, "test": 4}


def test_a_row_that_is_trained_on_is_told(tmp_path):
    folder = write(tmp_path, train=[*map(arc, range(20))], validation=[arc(20)], test=[arc(1), arc(21)])
    with pytest.warns(DataWarning, match=r"1 of the 2 rows of test \(50.0 %\) are in train too"):
        load_task("arc_easy", folder=folder)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answerKey": "D"}, "the right answer is 'D', which is none of A, B, C"),
        ({"choices": {"text": ["a"], "label": ["A"]}}, "column 'choices' holds 1 answer"),
        ({"choices": {"text": ["a", " "], "label": ["A", "B"]}}, "entry 1 of column 'choices' is empty"),
        ({"answerKey": ""}, "label -1 is none of the 3 choices"),
    ],
)
def test_rows_that_cannot_be_answered_are_refused(tmp_path, row, told):
    rows = [arc(1), arc(2, **row)]
    with pytest.raises(VxlabError, match=f"test.jsonl, line 2: {told}"):
        load_task("arc_easy", folder=write(tmp_path, train=[arc(0)], validation=[arc(3)], test=rows))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "answer3"}, "the answer is 'answer3', which is none of answer1, answer2"),
        ({"answer": "solution1"}, "the answer is 'solution1', which is none of answer1, answer2"),
        ({"answer": None}, "the answer is None, which is none of"),
        ({"output": "the correct answer is answer1"}, "the answer is answer2, and the output '.*answer1' lacks it"),
        ({"output": ""}, "the answer is answer2, and the output '' lacks it"),
    ],
)
def test_copies_whose_answer_is_not_offered_or_not_written_are_refused(tmp_path, row, told):
    with pytest.raises(VxlabError, match=f"test.jsonl, line 1: {told}"):
        load_task("arc_easy", folder=write(tmp_path, train=[adapters(0)], test=[adapters(1, **row)]))


def test_other_columns_are_named(tmp_path):
    odd = {"question": "q", "stem": "s", "answerKey": "A"}
    with pytest.raises(
        VxlabError, match=r"arc_easy needs the columns question, choices, answerKey or instruction, out"
    ):
        load_task("arc_easy", folder=write(tmp_path, train=[odd]))
    folder = write(tmp_path / "b", train=[arc(0)], test=[adapters(1)])
    with pytest.raises(VxlabError, match=r"test.jsonl: no column 'question' among instruction, input, output, answer"):
        load_task("arc_easy", folder=folder)
    with pytest.raises(VxlabError, match="prompt_template= is for LLM-Adapters' copy of arc_easy"):
        load_task("arc_easy", folder=write(tmp_path / "c", train=[arc(0)]), prompt_template="{question}")
    with pytest.raises(VxlabError, match="arc_easy has its own columns: leave out label_column"):
        load_task("arc_easy", folder=folder, label_column="answerKey")


def test_the_hubs_copy_is_read(monkeypatch):
    asked = []

    def load(path, configuration):
        asked.append((path, configuration))
        shelf = {"train": range(20), "validation": range(20, 24), "test": range(24, 30)}
        return datasets.DatasetDict(
            {split: datasets.Dataset.from_list([*map(arc, numbers)]) for split, numbers in shelf.items()}
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    task = load_task("arc_challenge")
    assert asked == [("allenai/ai2_arc", "ARC-Challenge")]
    assert task.splits["test"]["choices"][0] == ["dog 24", "cat 24", "neither"]
    assert task.source == "Hugging Face hub, allenai/ai2_arc:ARC-Challenge, to choose from"


def test_a_name_that_is_nearly_one_is_told():
    with pytest.raises(VxlabError, match="unknown task 'helaswag'; did you mean 'hellaswag'"):
        load_task("helaswag")


@pytest.mark.skipif(not (SHARED / "commonsense").is_dir(), reason="no commonsense sets in ../shared/data")
def test_the_real_sets_are_read_whole_and_their_overlaps_told():
    with pytest.warns(DataWarning, match=r"3 of the 2376 rows of test \(0.1 %\) are in train too"):
        task = load_task("ARC-e", folder=SHARED / "commonsense")
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 2026, "validation": 225, "test": 2376}
    assert {len(each) for each in task.splits["test"]["choices"]} == {3, 4, 5}
    with pytest.warns(
        DataWarning, match=r"twice among the choices of 3 rows of 4957 \(the first is line 1456\)"
    ) as told:
        load_task("OBQA", folder=SHARED / "commonsense")
    assert "12 of the 500 rows of test (2.4 %) are in train too" in str(told[0].message)
    with pytest.warns(DataWarning, match="5 rows of 1954 .*; of 1 it is the right one"):
        load_task("siqa", folder=SHARED / "commonsense")


@pytest.mark.skipif(not (SHARED / "llm_adapters").is_dir(), reason="no sets of LLM-Adapters in ../shared/data")
@pytest.mark.parametrize(("name", "sizes"), [("boolq", (8484, 943, 3270)), ("arc_challenge", (1007, 112, 1172))])
def test_the_real_copies_are_read_whole(name, sizes):
    task = load_task(name, folder=SHARED / "llm_adapters")
    assert tuple(map(len, task.splits.values())) == sizes
    assert task.notes == ()


@pytest.mark.filterwarnings("ignore:the data set hellaswag")
def test_questions_on_one_source_are_one_unit_and_stay_in_one_split(tmp_path: Path) -> None:
    rows = [
        {"activity_label": "Diving", "ctx_a": f"A diver {number} jumps.", "ctx_b": "then", "label": str(number % 4),
         "endings": [f"{ending} {number}" for ending in "abcd"], "source_id": f"video {number // 3}"}
        for number in range(120)
    ]  # fmt: skip
    task = load_task("hellaswag", folder=write(tmp_path / "hellaswag", train=rows))
    videos = [set(task.splits[split]["group"]) for split in ("train", "validation", "test")]
    assert not videos[0] & videos[1] | videos[0] & videos[2] | videos[1] & videos[2]
    assert task.unit == "groups (source_id)"
    assert len(set(task.units("test").tolist())) == len(task.splits["test"]) // 3
    for row in rows:
        row["source_id"] = ""
    alone = load_task("hellaswag", folder=write(tmp_path / "blank", train=rows))
    assert alone.units("test") is None
