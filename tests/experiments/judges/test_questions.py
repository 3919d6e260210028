"""MT-Bench's files as they are read, real and made up."""

import pytest
import toy_bench

from vxlab import VxlabError
from vxlab.experiments.judges.questions import read_bench


@toy_bench.here
def test_the_real_files_are_read_whole():
    bench = read_bench(toy_bench.REAL)
    assert [question.number for question in bench.questions] == list(range(81, 161))
    guided = {question.category for question in bench.questions if question.references}
    assert guided == {"math", "reasoning", "coding"}
    assert sum(question.references is not None for question in bench.questions) == 30
    assert bench.notes == ()
    assert "judged by their prompts" in bench.source


@toy_bench.here
def test_the_real_prompts_are_filled_as_pythons_format_fills_them():
    bench = read_bench(toy_bench.REAL, [111, 81])
    maths, writing = bench.questions
    system, user = bench.messages(maths, ["5", "6 {x}"], 2)
    assert system["role"] == "system"
    assert "6 {x}" in user["content"]
    assert maths.references[1] in user["content"]
    assert maths.turns[0] in user["content"]
    (_, user) = bench.messages(writing, ["Aloha", "Ahoy"], 1)
    assert "Aloha" in user["content"]
    assert "Ahoy" not in user["content"]
    assert bench.messages(writing, ["Aloha", "Ahoy"], 1)[0]["content"] == "You are a helpful assistant."


def test_a_folder_is_read(tmp_path, monkeypatch):
    folder = toy_bench.write_bench(tmp_path / "bench")
    monkeypatch.setenv("VXLAB_MT_BENCH", folder)
    bench = read_bench()
    assert bench == read_bench(folder)
    assert bench.questions[1].references == ("4", "8")
    assert bench.messages(bench.questions[2], ["Water.", "{Ice}"], 2)[1]["content"] == (
        "Q What is rain? A Water. Q And {snow}? A {Ice}"
    )
    assert bench.messages(bench.questions[1], ["4", "8"], 1)[1]["content"] == "Q What is 2 + 2? R 4 A 4"


def test_without_prompts_our_own_are_taken_and_told(tmp_path):
    bench = read_bench(toy_bench.write_bench(tmp_path / "bench", own_prompts=True))
    assert "vxlab's own prompts" in bench.source
    for question in bench.questions:
        for turn in (1, 2):
            (_, user) = bench.messages(question, ["ANSWER ONE", "ANSWER TWO"], turn)
            assert question.turns[0] in user["content"]
            assert ("ANSWER TWO" in user["content"]) == (turn == 2)
            assert user["content"].endswith("Rating: [[5]]")
    assert bench.prompts_hash != read_bench(toy_bench.write_bench(tmp_path / "theirs")).prompts_hash


def test_without_references_the_judge_sees_none_and_that_is_told(tmp_path):
    bench = read_bench(toy_bench.write_bench(tmp_path / "bench", references=False))
    assert bench.questions[1].references is None
    assert bench.notes == (
        "1 question of math, reasoning and coding without a reference answer: the judge was shown none, and may take "
        "what is wrong for right.",
    )
    assert bench.messages(bench.questions[1], ["5", "9"], 1)[1]["content"] == "Q What is 2 + 2? A 5"


def test_questions_are_chosen_by_number(tmp_path):
    folder = toy_bench.write_bench(tmp_path / "bench")
    assert [question.number for question in read_bench(folder, [3, 1]).questions] == [3, 1]
    for wanted, told in (([9], "9 is not there"), ([], "one or more"), ([1, 1], "each question once")):
        with pytest.raises(VxlabError, match=told):
            read_bench(folder, wanted)


def test_the_hubs_copy_is_read_by_its_own_columns(monkeypatch):
    from datasets import Dataset

    rows = [
        {"prompt": each["turns"], "prompt_id": each["question_id"], "category": each["category"],
         "reference": ["4", "8"] if each["category"] == "math" else []}
        for each in toy_bench.QUESTIONS
    ]  # fmt: skip
    monkeypatch.delenv("VXLAB_MT_BENCH", raising=False)
    monkeypatch.setattr(
        "vxlab.experiments.judges.questions.hub_splits", lambda path, name: {"train": Dataset.from_list(rows)}
    )
    bench = read_bench()
    assert bench.questions[1].references == ("4", "8")
    assert bench.questions[0].references is None
    assert "Hugging Face hub" in bench.source
    assert bench.notes == ()


FIRST = toy_bench.QUESTIONS[0]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"questions": [FIRST, FIRST]}, "question 1 stands there twice"),
        ({"questions": [{**FIRST, "turns": ["one"]}]}, "must be two texts"),
        ({"questions": [{**FIRST, "turns": ["one", " "]}]}, "must be two texts"),
        ({"questions": [{**FIRST, "question_id": "one"}]}, "must be a whole number"),
        ({"questions": [{**FIRST, "category": None}]}, "must be a word"),
        ({"prompts": toy_bench.prompts()[:2]}, "lacks the prompt 'single-v1-multi-turn'"),
        ({"prompts": toy_bench.prompts("{answer}")}, "has the places answer"),
        ({"prompts": toy_bench.prompts("{question.__class__}{answer}")}, "it must have answer, question"),
        ({"prompts": toy_bench.prompts("{")}, "write a brace"),
    ],
)  # fmt: skip
def test_broken_files_are_refused(tmp_path, changed, told):
    with pytest.raises(VxlabError, match=told):
        read_bench(toy_bench.write_bench(tmp_path / "bench", **changed))


def test_a_folder_without_questions_is_refused(tmp_path):
    with pytest.raises(VxlabError, match=r"lacks question\.jsonl"):
        read_bench(tmp_path)
    with pytest.raises(VxlabError, match="is no folder"):
        read_bench(tmp_path / "nowhere")
