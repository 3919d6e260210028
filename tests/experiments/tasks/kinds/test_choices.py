"""Choices among answers, encoded as lm-eval does it."""

import string
from pathlib import Path
from typing import Any

import pytest
import toy_writers

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.kinds.answers import IGNORED
from vxlab.experiments.tasks.kinds.choices import encode_choices
from vxlab.experiments.tasks.kinds.kind import Form

ROWS: dict[str, list[Any]] = {
    "text": ["Question: two and two?\nAnswer:", "The sky is", "Ends in a space: "],
    "choices": [["four", "three apples"], ["blue", "green", "made of stone"], ["a", "b"]],
    "label": [0, 2, 1],
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return toy_writers.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_training_has_the_right_answers_and_scoring_all(tokenizer: Any) -> None:
    train = encode_choices(ROWS, tokenizer, Form(), "train")
    assert (train["row"], train["choice"], train["right"]) == ([0, 1, 2], [0, 2, 1], [True] * 3)
    test = encode_choices(ROWS, tokenizer, Form(), "test")
    assert test["row"] == [0, 0, 1, 1, 1, 2, 2]
    assert test["choice"] == [0, 1, 0, 1, 2, 0, 1]
    assert test["right"] == [True, False, False, False, True, False, True]
    assert test["characters"] == [4, 12, 4, 5, 13, 1, 1]


def test_prompt_and_answer_are_one_text_and_the_answer_alone_counts(tokenizer: Any) -> None:
    test = encode_choices(ROWS, tokenizer, Form(), "test")
    for number, (ids, labels) in enumerate(zip(test["input_ids"], test["labels"], strict=True)):
        row, choice = test["row"][number], test["choice"][number]
        text, answer = ROWS["text"][row], ROWS["choices"][row][choice]
        assert tokenizer.decode(ids) == f"{text}{'' if text.endswith(' ') else ' '}{answer}"
        assert tokenizer.decode([each for each in labels if each != IGNORED]) == f" {answer}"
        assert tokenizer.eos_token_id not in ids


def test_the_tokens_are_those_of_lm_eval(tokenizer: Any, tiny_writer: str) -> None:
    lm_eval = pytest.importorskip("lm_eval.models.huggingface")
    model = lm_eval.HFLM(pretrained=tiny_writer, device="cpu")
    prompts = [*ROWS["text"][:2], "Ends in a new line\n", "Q: é🙂?"]
    choices = [["x", string.punctuation], ["ü", "a  b"], ["c", "d"], ["1", "2 3"]]
    rows = {"text": prompts, "choices": choices, "label": [0] * 4}
    encoded = encode_choices(rows, model.tokenizer, Form(), "test")
    for number, (ids, labels) in enumerate(zip(encoded["input_ids"], encoded["labels"], strict=True)):
        text, answer = prompts[encoded["row"][number]], choices[encoded["row"][number]][encoded["choice"][number]]
        apart = "" if text[-1].isspace() else " "  # lm-eval writes one always; its templates end in no white space
        prompt, continuation = model._encode_pair(text, apart + answer)
        assert ids == prompt + continuation
        assert labels == [IGNORED] * len(prompt) + continuation


def test_contexts_differ_by_choice(tokenizer: Any) -> None:
    rows = {
        "text": ["_ was late."], "contexts": [["Ann", "Bob"]], "choices": [["was late.", "was late."]], "label": [1],
    }  # fmt: skip
    found = encode_choices(rows, tokenizer, Form(), "validation")
    assert [tokenizer.decode(ids) for ids in found["input_ids"]] == ["Ann was late.", "Bob was late."]


def test_a_chat_template_parts_the_prompt_from_the_answer(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(toy_writers.CHAT, encoding="utf-8")
    found = encode_choices(ROWS, tokenizer, Form(chat_template=str(tmp_path / "chat.jinja")), "test")
    first = [each for each in found["labels"][0] if each != IGNORED]
    assert tokenizer.decode(first) == "four"
    assert tokenizer.decode(found["input_ids"][0]).endswith("<|assistant|>four")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"choices": [["word " * 300, "b"]], "label": [1], "text": ["p"]}, "max_length=128: the answer in row 0"),
        ({"choices": [["a", "b"]], "label": [1], "text": [" "]}, "a prompt in which the tokenizer sees no token"),
    ],
)
def test_what_no_model_can_score_is_refused(tokenizer: Any, changed: dict[str, list[Any]], told: str) -> None:
    with pytest.raises(VxlabError, match=told):
        encode_choices(changed, tokenizer, Form(), "test")
