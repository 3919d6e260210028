"""Questions of published sets: the prompts and answers that lm-eval's own tasks ask with, and rows that do not ask."""

import json
from pathlib import Path

import pandas as pd
import pytest
from places import ROOT

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.files import Rows, read_rows
from vxlab.experiments.tasks.sets.catalogue import CHOICE_SETS

COMMONSENSE = ROOT.parent / "shared" / "data" / "commonsense"
REAL = {
    "arc_easy": "arc_easy.test",
    "arc_challenge": "arc_challenge.test",
    "openbookqa": "openbookqa.test",
    "piqa": "piqa.validation",
    "siqa": "siqa.validation",
    "hellaswag": "hellaswag.validation_sample",
}
PACKAGED = {
    "arc_easy": "arc/arc_easy",
    "arc_challenge": "arc/arc_challenge",
    "openbookqa": "openbookqa/openbookqa",
    "piqa": "piqa/piqa",
    "siqa": "siqa/siqa",
    "hellaswag": "hellaswag/hellaswag",
    "winogrande": "winogrande/default",
    "boolq": "super_glue/boolq/default",
}
CHOICES = {"text": ["soup", "a spoon", "two forks"], "label": ["A", "B", "C"]}
ROWS = {
    "arc_easy": [
        {"question": "What stirs?", "choices": CHOICES, "answerKey": "B"},
        {"question": "What is\nhot?", "choices": CHOICES | {"label": ["1", "2", "3"]}, "answerKey": "1"},
    ],
    "arc_challenge": [{"question": "Which {two} prick?", "choices": CHOICES, "answerKey": "C"}],
    "openbookqa": [{"question_stem": "One eats soup with", "choices": CHOICES, "answerKey": "B"}],
    "piqa": [
        {"goal": "Open a jar", "sol1": "turn the lid ", "sol2": "turn the jar", "label": 0},
        {"goal": "", "sol1": "  wait", "sol2": "push", "label": 1},
    ],
    "siqa": [
        {"context": "Kim fell.", "question": "Why?", "answerA": "ice", "answerB": "sun", "answerC": "no", "label": "1"},
        {"context": "", "question": "Kim fell. Why?", "answerA": "ice", "answerB": "fun", "answerC": "", "label": "3"},
    ],
    "hellaswag": [
        {
            "activity_label": "Frying eggs",
            "ctx_a": "[header] How to fry an egg [title] Heat the pan. [step] Wait  for it.",
            "ctx_b": "the Egg",
            "endings": ["goes in. [title] Salt it.", " goes  out [substeps] then.", "is [a] egg", "hatches."],
            "label": "0",
        },
        {"activity_label": "Rowing", "ctx_a": "A man rows.", "ctx_b": "", "endings": list("abcd"), "label": "3"},
    ],
    "winogrande": [
        {"sentence": "The cup left the shelf as _ was full.", "option1": "cup", "option2": "shelf", "answer": "2"},
        {"sentence": "_ won, said Kim_s friend.", "option1": "Kim", "option2": "Lee", "answer": "1"},
    ],
    "boolq": [
        {"passage": "Cats are not dogs.", "question": "are cats dogs", "label": 0},
        {"passage": "Ice is\ncold. ", "question": "is ice cold", "label": 1},
    ],
}  # fmt: skip


def ask(name: str, rows: Rows) -> Rows:
    columns = set(rows.frame)
    return next(each for each in CHOICE_SETS[name].questions if columns.issuperset(each.columns)).ask(rows)


def made(name: str, **other: object) -> Rows:
    rows = [row | other for row in ROWS[name]]
    return Rows(pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype=object), f"{name}/test.jsonl", "line")


def asked_by_lm_eval(name: str, file: Path, folder: Path) -> list[tuple[list[tuple[str, str]], int]]:
    """Return of each row of a file lm-eval's prompts with what follows each, and which is right."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    packaged = Path(lm_eval.__file__).parent / "tasks" / f"{PACKAGED[name]}.yaml"
    (folder / "task.yaml").write_text(
        f"include: {packaged}\ntask: on_file\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {{data_files: {{test: {file}}}}}\n"
        "training_split: null\nvalidation_split: null\nfewshot_split: null\ntest_split: test\n",
        encoding="utf-8",
    )
    task = TaskManager(include_path=str(folder), include_defaults=False).load(["on_file"])["tasks"]["on_file"]
    found = []
    for number, doc in enumerate(task.test_docs()):
        requests = task.construct_requests(doc, task.fewshot_context(doc, 0), metadata=("on_file", number, 1))
        right = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
        found.append(([request.args for request in requests], int(right)))
    return found


def pairs(rows: Rows) -> list[tuple[list[tuple[str, str]], int]]:
    return [
        (
            [
                (context, f" {choice}")
                for context, choice in zip(
                    row.get("contexts", [row["text"]] * len(row["choices"])), row["choices"], strict=True
                )
            ],
            row["label"],
        )
        for row in rows.frame.to_dict("records")
    ]


@pytest.fixture
def lm_eval_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "tasks").mkdir()
    return tmp_path / "tasks"


@pytest.mark.parametrize("name", CHOICE_SETS)
def test_made_up_rows_are_asked_as_lm_eval_asks_them(name, lm_eval_folder):
    file = lm_eval_folder.parent / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS[name])), encoding="utf-8")
    assert pairs(ask(name, made(name))) == asked_by_lm_eval(name, file, lm_eval_folder)


@pytest.mark.skipif(not COMMONSENSE.is_dir(), reason="no commonsense sets in ../shared/data/commonsense")
@pytest.mark.parametrize("name", REAL)
def test_fifty_real_rows_are_asked_as_lm_eval_asks_them(name, lm_eval_folder):
    lines = (COMMONSENSE / f"{REAL[name]}.jsonl").read_text(encoding="utf-8").splitlines()
    odd = [line for line in lines[50:] if '"E"]' in line or '"C"]' in line]
    file = lm_eval_folder.parent / "rows.jsonl"
    file.write_text("\n".join([*lines[:50], *odd]), encoding="utf-8")
    assert pairs(ask(name, read_rows(file))) == asked_by_lm_eval(name, file, lm_eval_folder)


def test_boolq_has_its_answer_under_two_names():
    (own,) = ask("boolq", Rows(pd.DataFrame([{"passage": "p", "question": "q", "answer": True}]), "x")).frame["label"]
    assert own == 1
    assert ask("boolq", made("boolq")).frame["label"].tolist() == [0, 1]


def test_a_label_that_is_not_told_is_minus_one():
    for name, column, secret in [
        ("piqa", "label", -1), ("hellaswag", "label", ""), ("winogrande", "answer", ""),
        ("arc_easy", "answerKey", None), ("siqa", "label", float("nan")),
    ]:  # fmt: skip
        assert set(ask(name, made(name, **{column: secret})).frame["label"]) == {-1}


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("arc_easy", {"answerKey": "D"}, "the right answer is 'D', which is none of A, B, C"),
        (
            "openbookqa",
            {"choices": ["soup"], "answerKey": "B"},
            "answerKey is 'B'; it must be the right answer's number",
        ),
        ("openbookqa", {"choices": "soup"}, "choices is 'soup'; it must be a list of answers"),
        ("arc_easy", {"choices": {"text": ["a", "b"], "label": ["A"]}}, "2 answers have the labels A; each needs one"),
        ("arc_easy", {"choices": {"text": ["a", "b"], "label": ["A", "A"]}}, "2 answers have the labels A, A"),
        ("siqa", {"label": "0"}, "label is '0'; it must be the right answer's number, 1 to 3"),
        ("siqa", {"label": "4"}, "label is '4'"),
        ("siqa", {"label": "B"}, "label is 'B'"),
        ("piqa", {"label": 2}, "label is 2; it must be the right answer's number, 0 to 1"),
        ("piqa", {"label": 0.5}, "label is 0.5"),
        ("piqa", {"sol1": None}, "sol1 is None; it must be a string"),
        ("piqa", {"goal": "\ud800"}, "goal holds half of a character"),
        ("hellaswag", {"endings": None}, "endings is None; it must be a list of answers"),
        ("winogrande", {"sentence": "Nothing lacks."}, "the sentence 'Nothing lacks.' has no gap"),
        ("boolq", {"label": 7}, "label is 7; it must be the right answer's number, 0 to 1"),
    ],
)
def test_rows_that_do_not_ask_are_refused_by_file_and_row(name, other, told):
    with pytest.raises(VxlabError, match=rf"{name}/test.jsonl, line 1: {told}"):
        ask(name, made(name, **other))
