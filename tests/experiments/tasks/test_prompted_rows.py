"""Prompts and answers: found or named, one input however many references, each error leading back to its row."""

import json

import datasets
import numpy as np
import pandas as pd
import pytest
from places import ROOT

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.kinds import GENERATION
from vxlab.experiments.tasks.prompted_rows import join_inputs, tell_given_answers
from vxlab.experiments.tasks.task import load_task

INSTRUCTIONS = ROOT.parent / "shared" / "data" / "instruction" / "instruction-data.json"


def _lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def _rows(count, **more):
    return [{"question": f"What is {row} + 1?", "answer": str(row + 1), **more} for row in range(count)]


def test_an_answer_column_makes_a_task_whose_model_writes(tmp_path):
    task = load_task(_lines(tmp_path / "sums.jsonl", _rows(100)), answer_column="answer")
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 70, "validation": 10, "test": 20}
    assert task.splits["train"].column_names == ["text", "answer"]
    assert task.splits["test"].column_names == ["text", "references"]
    row = task.splits["test"][0]
    assert row["references"] == [str(int(row["text"].split()[2]) + 1)]
    assert row["text"].endswith("?\n")
    assert (task.num_labels, task.label_names, task.kind, task.unit) == (0, (), GENERATION, "inputs")
    assert task.metrics == GENERATION.usual_metrics(0)
    assert (task.notes, task.units("test"), task.source) == ((), None, "local files, sums.jsonl")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "parquet"])
def test_every_format_reads_the_same(tmp_path, suffix):
    rows = pd.DataFrame(_rows(50))
    write = {
        "csv": lambda path: rows.to_csv(path, index=False),
        "tsv": lambda path: rows.to_csv(path, index=False, sep="\t"),
        "json": lambda path: path.write_text(json.dumps(_rows(50))),
        "parquet": rows.to_parquet,
    }
    write[suffix](tmp_path / f"sums.{suffix}")
    expected = load_task(_lines(tmp_path / "lines.jsonl", _rows(50)), answer_column="answer").fingerprint
    assert load_task(tmp_path / f"sums.{suffix}", answer_column="answer").fingerprint == expected


def test_rows_with_the_same_prompt_are_one_input_in_the_order_of_the_first():
    rows = pd.DataFrame({"text": ["b", "a", "b", "a", "c"], "answer": ["1", "2", "3", "2", "4"]})
    joined = join_inputs(rows)
    assert joined.to_dict("list") == {"text": ["b", "a", "c"], "references": [["1", "3"], ["2", "2"], ["4"]]}


def test_groups_that_share_a_prompt_are_one_group_of_the_joined_inputs():
    rows = pd.DataFrame(
        {"text": ["p", "q", "p", "r", "s"], "answer": list("12345"), "group": ["x", "x", "y", "y", "z"]}
    )
    joined = join_inputs(rows)
    assert joined["group"].tolist() == ["x", "x", "x", "z"]


def test_inputs_of_one_group_are_one_unit_and_stay_in_one_split(tmp_path):
    rows = [row | {"book": f"b{number // 4}"} for number, row in enumerate(_rows(200))]
    rows += [rows[0] | {"book": "b7"}]
    task = load_task(_lines(tmp_path / "sums.jsonl", rows), answer_column="answer", group_column="book")
    books = [set(each["group"]) for each in task.splits.values()]
    assert not books[0] & books[1] | books[0] & books[2] | books[1] & books[2]
    units = task.units("test")
    assert len(set(zip(units.tolist(), task.splits["test"]["group"], strict=True))) == len(books[2])
    assert task.unit == "groups (book)"


def test_carving_never_parts_a_prompt(tmp_path):
    rows = [row | {"answer": f"{row['answer']}{'!' * number}"} for number in range(3) for row in _rows(50)]
    task = load_task(_lines(tmp_path / "sums.jsonl", rows), answer_column="answer")
    texts = [set(each["text"]) for each in task.splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 50
    assert all(len(each) == 3 for each in task.splits["test"]["references"])
    assert len(task.splits["train"]) == 3 * len(texts[0])


def test_a_sample_of_train_is_of_its_rows_and_a_smaller_one_part_of_it(tmp_path):
    path = _lines(tmp_path / "sums.jsonl", _rows(100))
    whole, some, few = (load_task(path, answer_column="answer", train_examples=size) for size in (None, 30, 10))
    texts = [set(task.splits["train"]["text"]) for task in (whole, some, few)]
    assert list(map(len, texts)) == [70, 30, 10]
    assert texts[2] < texts[1] < texts[0]
    assert some.splits["test"].to_dict() == whole.splits["test"].to_dict()


def test_the_fingerprint_follows_the_prompts(tmp_path):
    path = _lines(tmp_path / "sums.jsonl", _rows(60))
    plain = load_task(path, answer_column="answer")
    same = load_task(path, answer_column="answer", prompt_template="{question}\n")
    other = load_task(path, answer_column="answer", prompt_template="Q: {question}\nA:")
    assert plain.fingerprint == same.fingerprint != other.fingerprint
    assert other.splits["train"]["text"][0].startswith("Q: What is")


def test_a_prompt_found_by_its_name_says_what_it_leaves_out(tmp_path):
    path = _lines(tmp_path / "sums.jsonl", _rows(60, context="sums"))
    with pytest.warns(DataWarning, match="column 'question' alone is the prompt, and not used are context"):
        found = load_task(path, answer_column="answer")
    assert load_task(path, answer_column="answer", text_columns="question").fingerprint == found.fingerprint
    whole = load_task(path, answer_column="answer", prompt_template="{context}: {question}\n")
    assert whole.splits["train"]["text"][0].startswith("sums: What is")


def test_a_place_may_stay_empty_and_is_counted_but_not_every_place(tmp_path):
    rows = _rows(60, context="sums")
    rows[3]["context"] = ""
    rows[4]["context"] = None
    named = {"answer_column": "answer", "prompt_template": "{context} {question}"}
    with pytest.warns(DataWarning, match="column 'context', which has a place in the prompt, is empty in 2 of 60 rows"):
        load_task(_lines(tmp_path / "sums.jsonl", rows), **named)
    rows[4]["question"] = " "
    with pytest.raises(VxlabError, match=r"sums.jsonl, line 5: the prompt is empty; column 'context', 'question' need"):
        load_task(_lines(tmp_path / "sums.jsonl", rows), **named)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": " "}, "line 8: the answer in column 'answer' is empty; write it, leave the row out, or name"),
        ({"answer": None}, "line 8: the answer in column 'answer' is missing; it must be a string"),
        ({"answer": 3}, "line 8: the answer in column 'answer' is 3; it must be a string"),
        ({"answer": ["3", "4"]}, r"line 8: the answer in column 'answer' is \['3', '4'\]; it must be a string"),
        ({"answer": "\ud83d"}, "line 8: the answer in column 'answer' holds half of a character"),
        ({"question": ""}, "line 8: the prompt is empty; column 'question' needs a text"),
        ({"question": 7}, "line 8: the text in column 'question' is 7; it must be a string"),
        ({"question": "\udc00"}, "line 8: the text in column 'question' holds half of a character"),
    ],
)
def test_a_bad_row_is_named_by_its_file_and_line(tmp_path, row, message):
    rows = _rows(60)
    rows[7] |= row
    with pytest.raises(VxlabError, match=f"sums.jsonl, {message}"):
        load_task(_lines(tmp_path / "sums.jsonl", rows), answer_column="answer")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"answer_column": "reply"}, "no column 'reply' among question, answer.*answer_column="),
        ({"answer_column": "question"}, "no column known to hold the prompt among answer. Name one with text_columns="),
        ({"answer_column": "answer", "text_columns": "q"}, "no column 'q' among question, answer"),
        ({"answer_column": "answer", "text_columns": "answer"}, "answer_column='answer' is one of text_columns"),
        ({"answer_column": "answer", "text_columns": ("question", "id")}, r"needs prompt_template=.*'{question} {id}'"),
        (
            {"answer_column": "answer", "label_kind": "classes"},
            "and label_kind='classes' of one with labels; leave",
        ),
        ({"answer_column": "answer", "label_column": "answer"}, "and label_column='answer' of one with labels; leave"),
        (
            {"prompt_template": "{question}", "label_column": "answer"},
            "and label_column='answer' of one with labels; leave",
        ),
        ({"prompt_template": "{question}"}, "prompt_template= needs answer_column=, one of question, answer"),
        ({"prompt_template": "{question}", "text_columns": "question"}, "the template names its columns; leave text_c"),
        ({"answer_column": "answer", "prompt_template": "{quest}"}, "no column 'quest' among question, answer"),
        ({"answer_column": "answer", "prompt_template": "{answer}"}, "holds the answer, {answer}"),
        ({"answer_column": "answer", "prompt_template": " "}, "prompt_template=' ' names nothing"),
        ({"answer_column": 3}, "answer_column=3 is an int; it must be a text or None"),
        ({}, "no column known to hold the label among no columns. .*answer_column="),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, named, message):
    with pytest.raises(VxlabError, match=message):
        load_task(_lines(tmp_path / "sums.jsonl", _rows(60)), **named)


def test_several_columns_that_may_be_the_prompt_are_named(tmp_path):
    path = _lines(tmp_path / "sums.jsonl", _rows(60, text="a sum"))
    with pytest.raises(VxlabError, match=r"several columns may hold the prompt: question, text. Name one with text_co"):
        load_task(path, answer_column="answer")


@pytest.mark.parametrize("answers", ["lacking", "missing", "empty"])
def test_a_test_split_without_answers_is_left_out(tmp_path, answers):
    _lines(tmp_path / "train.jsonl", _rows(60))
    alone = load_task(tmp_path, answer_column="answer")
    rows = [{"question": f"{row}?"} | ({} if answers == "lacking" else {"answer": None if answers == "missing" else ""})
            for row in range(9)]  # fmt: skip
    _lines(tmp_path / "test.jsonl", rows)
    with pytest.warns(DataWarning, match="the split is left out\n- the test split is carved out of train"):
        assert load_task(tmp_path, answer_column="answer").fingerprint == alone.fingerprint


def test_a_test_split_without_some_answer_is_refused(tmp_path):
    _lines(tmp_path / "train.jsonl", _rows(60))
    _lines(tmp_path / "test.jsonl", [*_rows(5), {"question": "?", "answer": ""}])
    with pytest.raises(VxlabError, match=r"test.jsonl, line 6: the answer in column 'answer' is empty"):
        load_task(tmp_path, answer_column="answer")


def test_answers_that_their_prompts_give_are_counted_and_choices_are_none():
    frame = pd.DataFrame({
        "text": ["Say: it is by the river today.", "Yes or no?", "What is it?\n42\n", "say it is by the riverside"],
        "answer": ["it is by the river today", "no", "42", "it is by the river"],
    })  # fmt: skip
    assert "2 of the 4 rows of test;" in tell_given_answers({"train": frame, "test": frame})[0]
    assert tell_given_answers({"train": frame}) == ()


def test_one_answer_for_all_is_said(tmp_path):
    path = _lines(tmp_path / "sums.jsonl", [row | {"kind": "sum"} for row in _rows(60)])
    with pytest.warns(DataWarning, match="all 42 training rows have the answer 'sum'; is answer_column= the right"):
        load_task(path, answer_column="kind", text_columns="question")


def _alpaca(count):
    rows = [{"instruction": f"Add 1 to {row}.", "input": "", "output": str(row + 1)} for row in range(count)]
    return [row | {"input": "in words"} if number % 2 else row for number, row in enumerate(rows)]


def test_alpacas_columns_are_known(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(_alpaca(60)))
    task = load_task(path)
    short, long = (next(text for text in task.splits["train"]["text"] if ("### Input:" in text) is given)
                   for given in (False, True))  # fmt: skip
    assert short.startswith("Below is an instruction that describes a task. Write a response")
    assert "task, paired with an input that provides further context. Write" in long
    assert long.endswith(".\n\n### Input:\nin words\n\n### Response:")
    assert short.endswith(".\n\n### Response:")
    assert load_task(path, answer_column="output").fingerprint == task.fingerprint
    own = load_task(path, prompt_template="{instruction}\n", answer_column="output")
    assert own.splits["train"]["text"][0].startswith("Add 1")
    with pytest.warns(DataWarning, match="column 'input', which has a place in the prompt, is empty in 30 of 60"):
        load_task(path, prompt_template="{instruction} {input}\n")


def test_alpacas_columns_beside_a_label_are_no_prompts(tmp_path):
    rows = [row | {"label": number % 2, "text": f"{number}"} for number, row in enumerate(_alpaca(60))]
    path = _lines(tmp_path / "rated.jsonl", rows)
    assert load_task(path).num_labels == 2
    assert load_task(path, answer_column="output").num_labels == 0


@pytest.mark.skipif(not INSTRUCTIONS.is_file(), reason="no instruction-data.json in ../shared/data/instruction")
def test_real_instructions_are_read_whole():
    task = load_task("instructions", folder=INSTRUCTIONS)
    answers = len(task.splits["train"]) + sum(
        len(r) for s in ("validation", "test") for r in task.splits[s]["references"]
    )
    assert answers == 1100
    assert len({text for rows in task.splits.values() for text in rows["text"]}) == len(
        set(task.splits["train"]["text"])
    ) + len(task.splits["validation"]) + len(task.splits["test"])


def test_the_hubs_names_of_classes_may_be_answers(monkeypatch):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = {"text": [f"film {row}" for row in range(40)], "label": [0, 1] * 20}
    found = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})
    monkeypatch.setattr(datasets, "load_dataset", lambda path, configuration: found)
    task = load_task("org/films", answer_column="label")
    assert set(task.splits["train"]["answer"]) == {"bad", "good"}
    assert load_task("org/films").num_labels == 2


def test_classes_and_numbers_stay_what_they_were(tmp_path):
    rows = [{"question": f"{row}?", "answer": "yes", "label": row % 2} for row in range(60)]
    task = load_task(_lines(tmp_path / "pairs.jsonl", rows))
    assert (task.num_labels, task.splits["train"].column_names) == (2, ["text", "text_pair", "label"])


def test_strata_of_prompts_are_all_alike(tmp_path):
    task = load_task(_lines(tmp_path / "sums.jsonl", _rows(60)), answer_column="answer")
    assert np.unique(task.kind.strata(task.splits["test"][:])).tolist() == [0]
    assert task.constant == 0.0
    assert task.conflicts == (0, 0)
