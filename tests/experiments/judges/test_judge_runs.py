"""MT-Bench from end to end: a tiny model and runs of it, made-up questions, and a stub that judges."""

import dataclasses
import io
import logging
import math
import re
from contextlib import redirect_stdout

import pytest
import toy_bench
import toy_writers
from stub_judge import Answer, stub_judge

import vxlab
from vxlab import Judge, VxlabError, judge_runs
from vxlab.experiments.judges.judge import NO_JUDGE
from vxlab.experiments.store import Store

KEY = "sk-test-" + 6 * "a1B2c3"
TOKENS = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def bench(place):
    return toy_bench.write_bench(place / "bench")


@pytest.fixture(scope="module")
def template(place):
    path = place / "chat.jinja"
    path.write_text(toy_writers.CHAT)
    return str(path)


@pytest.fixture(scope="module")
def runs(place, tiny_writer, toy_prompts):
    """Two seeds of LoRA."""
    specs = [toy_writers.spec(tiny_writer, toy_prompts, seed=seed, epochs=1, max_new_tokens=0) for seed in (0, 1)]
    return [vxlab.run(spec, store=place / "runs.db", progress=False) for spec in specs]


def _say(number, asked):
    """Rate by the length of what is asked, so that the same is always rated alike."""
    return Answer(f"Rating: [[{1 + len(asked['messages'][1]['content']) % 10}]]")


def _judge(url, **changed):
    return Judge(**{"url": url, "model": "stub", "attempts": 1, "timeout": 5.0} | changed)


def _rate(runs, url, bench, template, store, **changed):
    usual = {"store": store, "folder": bench, "chat_template": template, "max_new_tokens": TOKENS, "progress": False,
             "device": "cpu"}  # fmt: skip
    return judge_runs(runs, _judge(url), **usual | changed)


def test_the_base_stands_first_and_every_answer_is_rated_once(place, runs, bench, template):
    with stub_judge(_say) as stub:
        found = _rate(runs, stub.url, bench, template, place / "runs.db", repeats=2)
        asked = len(stub.asked)
        table = found.table()
        assert list(table["candidate"]) == ["untuned base", "LoRA r=4"]
        assert list(table["runs"]) == [1, 2]
        assert list(table["rated"]) == [16, 32]
        assert list(table["unparsable"]) == [0, 0]
        assert {"turn_1", "turn_2", "writing", "math", "stem"} <= set(table)
        assert asked == 2 * found.ratings["answer"].nunique() <= 48
        again = _rate(runs, stub.url, bench, template, place / "runs.db", repeats=2)
        assert len(stub.asked) == asked
    assert again.ratings.equals(found.ratings)
    assert found.noise.deviation == 0
    assert table["rating"].iloc[0] == pytest.approx(found.ratings[found.ratings["run"] == ""]["rating"].mean())
    assert math.isnan(table["difference"].iloc[0])
    assert table["low"].iloc[1] <= table["difference"].iloc[1] <= table["high"].iloc[1]
    assert table["difference"].iloc[1] == pytest.approx(table["rating"].iloc[1] - table["rating"].iloc[0])


def test_what_is_shown_says_who_judged_how_and_when(place, runs, bench, template):
    with stub_judge(_say) as stub:
        shown = str(_rate(runs, stub.url, bench, template, place / "runs.db", repeats=2))
    assert re.search(
        r"rated 1 to 10 by stub \(answered as stub-0613\), temperature 0, \d{4}-\d\d-\d\d; MT-Bench's own files, "
        r"judged by their prompts \(sha256 [0-9a-f]{12}\)",
        shown,
    )
    assert "Answers: greedy, up to 6 tokens a turn, float32, by the chat template of the file given." in shown
    assert "it repeats itself exactly" in shown
    assert "untuned base" in shown


def test_the_second_turn_is_asked_behind_the_first_answer(place, tiny_writer, bench, template):
    with stub_judge(_say) as stub, Store(place / "single.db") as store:
        found = _rate(tiny_writer, stub.url, bench, template, store)
    assert list(found.table()["candidate"]) == ["untuned base"]
    asked = [each["messages"][1]["content"] for each in stub.asked]
    firsts = [each for each in asked if each.startswith("Q Name a place. A ") and "another" not in each]
    seconds = [each for each in asked if "Q Name another. A " in each]
    assert len(firsts) == len(seconds) == 1
    assert seconds[0].startswith(firsts[0])
    assert any(each.startswith("R 4 8 Q What is 2 + 2?") for each in asked)
    assert "was not measured" in str(found)


def test_answers_are_the_models_own_greedy_ones(place, tiny_writer, template, bench):
    """Against transformers' own chat and generate, one question at a time."""
    import torch

    from vxlab.experiments.models import load_tokenizer

    with stub_judge(_say) as stub, Store(place / "own.db") as store:
        _rate(tiny_writer, stub.url, bench, template, store)
    model, tokenizer = vxlab.load_model(tiny_writer, 0), load_tokenizer(tiny_writer)
    turns = []
    for question in ("Say hello.", "Say it again."):
        turns.append({"role": "user", "content": question})
        ids = tokenizer.apply_chat_template(
            turns, chat_template=toy_writers.CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.inference_mode():
            written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
        turns.append({"role": "assistant", "content": tokenizer.decode(written[0, ids.shape[1] :], True).strip()})
    asked = f"Q Say hello. A {turns[1]['content']} Q Say it again. A {turns[3]['content']}"
    assert asked in [each["messages"][1]["content"] for each in stub.asked]


def test_the_same_judge_asked_twice_gives_its_noise(place, tiny_writer, bench, template):
    """A judge that says 4 and then 6 of every answer: a standard deviation of √2 within each."""
    heard: dict[str, int] = {}

    def say(number, asked):
        content = asked["messages"][1]["content"]
        heard[content] = heard.get(content, 0) + 1
        return Answer(f"[[{2 + 2 * heard[content]}]]")

    with stub_judge(say) as stub:
        found = _rate(tiny_writer, stub.url, bench, template, place / "noisy.db", repeats=2)
    assert found.noise == (pytest.approx(math.sqrt(2)), 8, 8)
    assert found.table()["judge_error"].iloc[0] == pytest.approx(math.sqrt(2 / 16))
    assert "The judge's own noise: sd 1.41 points between ratings of one answer (8 answers)" in str(found)


def test_what_could_not_be_rated_is_counted_and_is_no_zero(place, runs, bench, template):
    def say(number, asked):
        return Answer("No.") if "rain" in asked["messages"][1]["content"] else Answer("[[8]]")

    with stub_judge(say) as stub:
        found = _rate(runs, stub.url, bench, template, place / "runs2.db")
    table = found.table()
    assert list(table["unparsable"]) == [2, 4]
    assert list(table["rated"]) == [6, 12]
    assert list(table["rating"]) == [8.0, 8.0]
    assert table["stem"].isna().all()
    assert "6 of 24 ratings could not be had; they are in no mean and no difference." in str(found)
    assert "6 of 8 answers' places, those that are rated in every run" in found.verdict()
    assert "cannot be told apart from the untuned base: 0.00 points" in found.verdict().replace("+0.00", "0.00")


def test_a_judge_of_no_ratings_at_all_still_gives_a_table(place, tiny_writer, bench, template):
    with stub_judge(lambda number, asked: Answer("Lovely.")) as stub:
        found = _rate(tiny_writer, stub.url, bench, template, place / "none.db", questions=[1])
    assert list(found.table()["rated"]) == [0]
    assert found.table()["rating"].isna().all()
    assert "No candidate was rated" in str(found)


def test_killed_while_it_rates_it_goes_on(place, tiny_writer, bench, template):
    failing = [True]

    def say(number, asked):
        return Answer(status=500, body="{}") if failing[0] and number >= 3 else _say(number, asked)

    with stub_judge(say) as stub, Store(place / "stopped.db") as store:
        with pytest.raises(VxlabError, match="3 of 8 ratings are kept"):
            _rate(tiny_writer, stub.url, bench, template, store)
        failing[0], before = False, len(stub.asked)
        assert list(_rate(tiny_writer, stub.url, bench, template, store).table()["rated"]) == [8]
        assert len(stub.asked) == before + 5


def test_the_key_is_in_no_output_and_in_no_store(place, tiny_writer, bench, template, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_JUDGE", KEY)
    caplog.set_level(logging.DEBUG)
    shown = io.StringIO()
    with stub_judge(lambda number, asked: Answer(f"[[5]] says {KEY}", model=f"stub {KEY}")) as stub:
        judge = _judge(stub.url, key_variable="MY_JUDGE")
        with redirect_stdout(shown):
            found = judge_runs(
                tiny_writer,
                judge,
                store=place / "keyed.db",
                folder=bench,
                chat_template=template,
                max_new_tokens=TOKENS,
            )
        assert stub.keys == {f"Bearer {KEY}"}
    told = [shown.getvalue(), *capfd.readouterr(), str(found), repr(found), repr(judge), found.ratings.to_csv()]
    assert not any(KEY in text for text in [*told, caplog.text])
    for file in place.rglob("keyed*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes()


def test_without_a_judge_a_line_says_what_is_needed(tiny_writer):
    with pytest.raises(VxlabError, match="No judge was given") as caught:
        judge_runs(tiny_writer, None)
    assert str(caught.value) == NO_JUDGE
    with pytest.raises(VxlabError, match="judge is of type str"):
        judge_runs(tiny_writer, KEY)


def test_a_model_without_a_chat_template_is_refused(tiny_writer, bench, place):
    with stub_judge() as stub:
        with pytest.raises(VxlabError, match="has no chat template, and MT-Bench is a chat of two turns"):
            _rate(tiny_writer, stub.url, bench, "tokenizer", place / "bare.db")
        assert stub.asked == []


def test_a_chat_longer_than_the_model_reads_is_refused(tiny_writer, template, place):
    long = [{"question_id": 1, "category": "stem", "turns": ["why? " * 100, "And?"]}]
    folder = toy_bench.write_bench(place / "long", questions=long)
    with stub_judge() as stub, pytest.raises(VxlabError, match=r"question 1, turn 1: the chat .* reads 128"):
        _rate(tiny_writer, stub.url, folder, template, place / "long.db")


def test_runs_that_do_not_suit_are_refused(place, runs, bench, template, tiny_model, toy_task):
    classifier = vxlab.run(
        vxlab.RunSpec(model=tiny_model, task=toy_task, method=vxlab.LoRA(rank=2), learning_rate=1e-3,
                      head_learning_rate=1e-3, epochs=1, device="cpu"),
        store=place / "runs.db", progress=False,
    )  # fmt: skip
    for given, told in (
        ([], "holds none"),
        (None, "is no list"),
        ([classifier], "whose model does not write"),
        ([runs[0], dataclasses.replace(runs[0], key="f" * 64)], "give each candidate one run a seed"),
        ([runs[0], tiny_model], "runs are of several models"),
    ):
        with pytest.raises(VxlabError, match=told), stub_judge() as stub:
            _rate(given, stub.url, bench, template, place / "runs.db")


@pytest.mark.parametrize("changed", [{"repeats": 0}, {"max_new_tokens": 0}, {"repeats": True}, {"base": "no"}])
def test_bad_settings_are_refused(changed, tiny_writer, bench, template, place):
    with pytest.raises(VxlabError):
        _rate(tiny_writer, "http://127.0.0.1:9/v1", bench, template, place / "bad.db", **changed)
