"""Mathematics with its reasoning, and instructions, by name: prompts, answers, and what they are tested on."""

import json
from pathlib import Path

import datasets
import pytest
from places import ROOT

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.scoring import TEXT_METRICS, require_answers
from vxlab.experiments.tasks.kinds import GENERATION
from vxlab.experiments.tasks.sets.catalogue import CHOICE_SETS, IMAGE_SETS, SETS
from vxlab.experiments.tasks.task import load_task

SHARED = ROOT.parent / "shared" / "data"
METAMATH = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response: Let's think step by step."
)


def grade(number: int, **other: object) -> dict[str, object]:
    return {"question": f"What is {number} + 1?", "answer": f"<<{number}+1={number + 1}>>\n#### {number + 1}", **other}


def proof(number: int, **other: object) -> dict[str, object]:
    return {"problem": f"Halve ${number}$.", "solution": rf"It is $\boxed{{\frac{{{number}}}{{2}}}}$.", **other}


def meta(number: int, **other: object) -> dict[str, object]:
    answer = f"We add one.\n#### {number}\nThe answer is: {number}"
    return {"query": f"What precedes {number + 1}?", "response": answer, "type": "GSM_Rephrased", **other}


def mixed(name: str, number: int, **other: object) -> dict[str, object]:
    words = CHOICE_SETS[name].words
    asked, right = f"{name} {number}?\n\nAnswer format: {'/'.join(words)}", words[number % 2]
    return {"instruction": asked, "input": "", "output": f"the correct answer is {right}", "answer": right, **other}


def write(file: Path, rows: list[dict[str, object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows) if file.suffix == ".json" else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file.parent


def commonsense(folder: Path) -> Path:
    write(folder / "ft-training_set" / "commonsense_15k.json", [mixed("piqa", number) for number in range(20)])
    for name in CHOICE_SETS:
        write(folder / "dataset" / name / "test.json", [mixed(name, number) for number in range(50, 53)])
    return folder


def test_gsm8ks_answers_are_as_published_and_prompts_as_lm_evals(tmp_path):
    write(tmp_path / "train.jsonl", [*map(grade, range(20))])
    task = load_task("GSM8K", folder=write(tmp_path / "test.jsonl", [grade(30)]))
    assert (task.kind, task.metrics) == (GENERATION, ("log_likelihood", "flexible_number", "hash_number"))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2, "test": 1}
    assert task.splits["test"][0] == {
        "text": "Question: What is 30 + 1?\nAnswer:",
        "references": ["<<30+1=31>>\n#### 31"],
    }
    assert task.notes == ()
    own = load_task("gsm8k", folder=tmp_path, prompt_template="{question} =")
    assert own.splits["test"]["text"][0] == "What is 30 + 1? ="


def test_math_is_tested_on_math_500(tmp_path):
    write(tmp_path / "math" / "math500.jsonl", [proof(30)])
    own = write(tmp_path / "math" / "train.jsonl", [*map(proof, range(20))])
    for folder in (tmp_path, own):
        task = load_task("MATH", folder=folder)
        assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2, "test": 1}
    assert task.splits["test"][0] == {
        "text": "Problem:\nHalve $30$.\n\nSolution:",
        "references": [r"It is $\boxed{\frac{30}{2}}$."],
    }
    assert (task.name, task.metrics) == ("math", ("log_likelihood", "math", "math_strict"))


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        (
            "gsm8k",
            grade(1, answer="It is 2."),
            "the answer is 'It is 2.', without '#### ' and the answer that is scored",
        ),
        ("gsm8k", grade(1, answer=None), "the answer is None, without"),
        ("math", proof(1, solution="It is 2."), r"the solution is 'It is 2.', without '\\\\boxed'"),
    ],
)
def test_an_answer_that_says_nothing_to_score_is_refused(tmp_path, name, row, told):
    good = grade if name == "gsm8k" else proof
    write(tmp_path / "train.jsonl", [*map(good, range(5))])
    with pytest.raises(VxlabError, match=f"test.jsonl, line 2: {told}"):
        load_task(name, folder=write(tmp_path / "test.jsonl", [good(7), row]))


def test_other_columns_are_named(tmp_path):
    with pytest.raises(VxlabError, match=r"no column 'question' among problem, solution. gsm8k needs question, answer"):
        load_task("gsm8k", folder=write(tmp_path / "train.jsonl", [proof(1)]))


def test_metamathqa_is_tested_on_gsm8k_by_the_prompt_it_is_trained_with(tmp_path):
    write(tmp_path / "gsm8k" / "test.jsonl", [grade(30), grade(31)])
    task = load_task("MetaMathQA", folder=write(tmp_path / "MetaMathQA-395K.json", [*map(meta, range(20))]))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2, "test": 2}
    assert task.splits["train"][0] == {
        "text": METAMATH.format("What precedes 1?"),
        "answer": "We add one.\n#### 0\nThe answer is: 0",
    }
    first = task.splits["test"][0]
    assert (first["text"], first["references"]) == (METAMATH.format("What is 30 + 1?"), ["<<30+1=31>>\n#### 31"])
    assert set(task.splits["test"]["set"]) == {"gsm8k"}
    assert task.metrics == ("log_likelihood", "gsm8k", "gsm8k_strict")
    assert load_task("metamathqa", folder=tmp_path / "MetaMathQA-395K.json").fingerprint == task.fingerprint


def test_metamathqa_math_trains_on_the_same_and_is_tested_on_math(tmp_path):
    write(tmp_path / "math" / "math500.jsonl", [proof(30)])
    task = load_task("metamathqa_math", folder=write(tmp_path / "MetaMathQA-395K.json", [*map(meta, range(20))]))
    assert len(task.splits["train"]) == 18
    assert task.splits["test"]["text"] == [METAMATH.format("Halve $30$.")]
    assert task.metrics == ("log_likelihood", "math", "math_strict")


def test_answers_that_never_say_what_is_scored_and_a_test_that_is_trained_on_are_told(tmp_path):
    rows = [*map(meta, range(18)), meta(18, response="It is 18."), meta(19, query="What is 30 + 1?")]
    write(tmp_path / "gsm8k" / "test.jsonl", [grade(30), grade(31)])
    with pytest.warns(DataWarning, match="1 of 20 answers lack 'The answer is: ', by which tests are") as told:
        load_task("metamathqa", folder=write(tmp_path / "MetaMathQA-395K.json", rows))
    assert "1 of the 2 rows of test (50.0 %) are in train too" in str(told[0].message)


def test_a_mixture_is_tested_on_the_eight_sets_which_each_row_names(tmp_path):
    task = load_task("commonsense_15k", folder=commonsense(tmp_path))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2, "test": 24}
    assert task.splits["test"]["set"] == [name for name in CHOICE_SETS for _ in range(3)]
    assert task.splits["test"]["references"][:2] == [["the correct answer is true"], ["the correct answer is false"]]
    assert task.splits["test"]["text"][0].endswith("Answer format: true/false\n\n### Response:")
    assert "set" not in task.splits["train"].column_names
    assert task.metrics == ("log_likelihood", "answer_word", "exact_match")


def test_a_set_that_a_mixture_is_tested_on_must_be_there_and_right(tmp_path):
    folder = commonsense(tmp_path)
    write(folder / "dataset" / "winogrande" / "test.json", [mixed("winogrande", 1, answer="option3")])
    with pytest.raises(
        VxlabError, match=r"commonsense_15k is tested on boolq, .* winogrande/test.json, row 1: the answ"
    ):
        load_task("commonsense_15k", folder=folder)
    (folder / "dataset" / "winogrande" / "test.json").unlink()
    with pytest.raises(VxlabError, match=r"commonsense_15k is tested on boolq, piqa, .*: no file of winogrande"):
        load_task("commonsense_15k", folder=folder)


def test_rows_that_ask_the_same_are_one_item_and_that_is_told(tmp_path):
    folder = commonsense(tmp_path)
    write(folder / "dataset" / "siqa" / "test.json", [mixed("siqa", 1), mixed("siqa", 2), mixed("siqa", 1)])
    with pytest.warns(DataWarning, match="siqa/test.json: 1 of 3 rows ask what one before them asks, and are one item"):
        assert len(load_task("commonsense_15k", folder=folder).splits["test"]) == 23


def test_what_is_on_no_hub_asks_for_files(monkeypatch):
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    with pytest.raises(VxlabError, match="commonsense_170k is on no hub page of its authors: give folder="):
        load_task("commonsense_170k")


def test_alpacas_empty_outputs_are_left_out(tmp_path):
    rows = [{"instruction": f"Say {number}.", "input": "", "output": str(number)} for number in range(30)]
    rows[4]["output"] = " "
    with pytest.warns(DataWarning, match="1 of 30 rows have no output, and are left out"):
        task = load_task("alpaca", folder=write(tmp_path / "alpaca_data.json", rows))
    assert sum(len(each) for each in task.splits.values()) == 29
    assert task.splits["test"]["text"][0].startswith("Below is an instruction that describes a task. Write")


def test_the_hubs_copies_are_joined(monkeypatch):
    asked = []

    def load(path, configuration):
        asked.append((path, configuration))
        if path == "HuggingFaceH4/MATH-500":
            return datasets.DatasetDict(test=datasets.Dataset.from_list([proof(100)]))
        rows = [proof(7 * len(asked) + number) for number in range(7)]
        return datasets.DatasetDict(train=datasets.Dataset.from_list(rows), test=datasets.Dataset.from_list(rows))

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    task = load_task("math")
    assert {path for path, _ in asked[:7]} == {"EleutherAI/hendrycks_math"}
    assert len({configuration for _, configuration in asked[:7]}) == 7
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 44, "validation": 5, "test": 1}
    assert task.splits["test"]["text"] == ["Problem:\nHalve $100$.\n\nSolution:"]


def test_every_set_is_described():
    for name, described in SETS.items():
        known = {"accuracy", "f1_macro"} if name in IMAGE_SETS else {"acc", "acc_norm", *TEXT_METRICS}
        assert known.issuperset(described.metrics), name
        assert described.citation


@pytest.mark.skipif(not (SHARED / "gsm8k").is_dir(), reason="no GSM8K in ../shared/data")
def test_the_real_mathematics_is_read_whole():
    task = load_task("gsm8k", folder=SHARED)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 6726, "validation": 747, "test": 1319}
    require_answers(task.metrics, task.splits["test"]["references"])
    with pytest.warns(DataWarning, match="no train split: math/math500.jsonl is trained on, so that"):
        task = load_task("math", folder=SHARED)
    assert sum(map(len, task.splits.values())) == 500
    require_answers(task.metrics, task.splits["test"]["references"])
