"""Prompts and answers as tokens: plain ones and chats, what is cut and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import toy_writers

import vxlab
from vxlab.errors import DataWarning
from vxlab.experiments.tasks.kinds.answers import IGNORED, collate_answers, encode_answers, encode_prompts
from vxlab.experiments.tasks.kinds.kind import Form
from vxlab.experiments.tasks.kinds.prompts import Writer, read_template


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return toy_writers.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode([token for token in ids if token != IGNORED]))


def test_the_loss_is_on_the_answer_and_its_end_alone(tokenizer: Any) -> None:
    rows = {"text": ["name[Aromi]\n", "é 数\n"], "answer": ["Aromi is Thai.", "数 é."]}
    found = encode_answers(rows, tokenizer, Form(), "train")
    for ids, labels, text, answer in zip(
        found["input_ids"], found["labels"], rows["text"], rows["answer"], strict=True
    ):
        assert decoded(tokenizer, ids) == f"{text}{answer}<|end|>"
        assert decoded(tokenizer, labels) == f"{answer}<|end|>"
        assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))
    assert found["length"] == [len(ids) for ids in found["input_ids"]]
    assert found["row"] == [0, 1]


def test_every_reference_is_a_row_of_its_input(tokenizer: Any) -> None:
    rows = {"text": ["a\n", "b\n"], "references": [["one", "two"], ["three"]]}
    assert encode_answers(rows, tokenizer, Form(), "test")["row"] == [0, 0, 1]


def test_an_empty_prompt_leaves_the_first_token_unscored(tokenizer: Any) -> None:
    found = encode_answers({"text": [""], "answer": ["Thai"]}, tokenizer, Form(), "train")
    assert found["labels"][0][0] == IGNORED
    assert found["labels"][0][1:] == found["input_ids"][0][1:]


def test_what_a_tokenizer_writes_around_a_text_begins_the_prompt_and_does_not_end_it(tmp_path: Path) -> None:
    from tokenizers import processors

    tokenizer = toy_writers.write_tokenizer(tmp_path, bos_token="<|system|>")
    around = processors.TemplateProcessing(
        single="<|system|> $A <|end|>", special_tokens=[("<|system|>", 4), ("<|end|>", 1)]
    )
    tokenizer.backend_tokenizer.post_processor = around
    assert tokenizer.decode(tokenizer("a")["input_ids"]) == "<|system|>a<|end|>"
    found = encode_answers({"text": ["name[Aromi]\n"], "answer": ["Thai."]}, tokenizer, Form(), "train")
    assert decoded(tokenizer, found["input_ids"][0]) == "<|system|>name[Aromi]\nThai.<|end|>"


def test_a_long_prompt_is_cut_on_the_left_and_said(tmp_path: Path) -> None:
    tokenizer = toy_writers.write_tokenizer(tmp_path, bos_token="<|system|>")
    rows = {"text": ["<|system|>" + "x" * 30 + " end", "short"], "answer": ["Thai.", "Thai."]}
    with pytest.warns(DataWarning, match=r"1 of 2 prompts in the train split .* cut on the left"):
        found = encode_answers(rows, tokenizer, Form(max_length=16), "train")
    assert len(found["input_ids"][0]) == 16
    text = decoded(tokenizer, found["input_ids"][0])
    assert text.startswith("<|system|>x")
    assert text.endswith("endThai.<|end|>")
    assert len(encode_prompts(rows, tokenizer, Form(max_length=16))[0]) == 16


def test_an_answer_is_never_cut(tokenizer: Any) -> None:
    rows = {"text": ["a", "b"], "answer": ["Thai.", "long " * 20]}
    with pytest.raises(vxlab.VxlabError, match=r"max_length=16: the answer in row 1 of the train split has \d+ tokens"):
        encode_answers(rows, tokenizer, Form(max_length=16), "train")


def test_a_chat_template_writes_the_turns_and_its_end_ends_the_answer(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "chat.jinja").write_text(toy_writers.CHAT)
    form = Form(chat_template=str(tmp_path / "chat.jinja"))
    found = encode_answers({"text": ["Hello"], "answer": ["Thai."]}, tokenizer, form, "train")
    assert decoded(tokenizer, found["input_ids"][0]) == "<|user|>Hello<|end|>\n<|assistant|>Thai.<|end|>"
    assert decoded(tokenizer, found["labels"][0]) == "Thai.<|end|>"
    (prompt,) = encode_prompts({"text": ["Hello"]}, tokenizer, form)
    assert tokenizer.decode(prompt) == "<|user|>Hello<|end|>\n<|assistant|>"
    turns = '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]'
    found = encode_answers({"text": ["-"], "messages": [turns], "answer": ["Thai."]}, tokenizer, form, "train")
    assert decoded(tokenizer, found["input_ids"][0]).startswith("<|system|>Be brief.<|end|>\n<|user|>Hello<|end|>")


def test_another_turn_end_than_the_texts_end_ends_the_answer(tokenizer: Any) -> None:
    other = toy_writers.CHAT.replace("<|end|>", "<|system|>")
    writer = Writer(tokenizer, other)
    assert writer.end == tokenizer.convert_tokens_to_ids("<|system|>")
    assert writer.answers(["Hello"], ["Thai."])[0][-1] == writer.end


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (toy_writers.CHAT.partition("{% if")[0], "<|user|>Hello<|end|>\n<|assistant|>"),
        (toy_writers.CHAT.replace("role'] }}|>", "role'] }}|>\n\n"), "<|user|>\n\nHello<|end|>\n<|assistant|>\n\n"),
    ],
)
def test_what_stands_before_every_answer_is_the_prompts(tokenizer: Any, template: str, prompt: str) -> None:
    writer = Writer(tokenizer, template)
    assert tokenizer.decode(writer.prompts(["Hello"])[0]) == prompt
    assert tokenizer.decode(writer.answers(["Hello"], ["Thai."])[0]) == "Thai.<|end|>"


def test_an_answer_that_holds_the_end_as_a_word_is_not_cut_there(tokenizer: Any) -> None:
    writer = Writer(tokenizer, toy_writers.CHAT)
    assert tokenizer.decode(writer.answers(["?"], ["Write <|end|> last."])[0]) == "Write <|end|> last.<|end|>"


def test_words_by_which_a_template_ends_an_answer_are_not_part_of_it(tokenizer: Any) -> None:
    words = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>{% endfor %}"
    writer = Writer(tokenizer, words)
    assert tokenizer.decode(writer.prompts(["Hello"])[0]) == "<user>Hello</user><assistant>"
    assert tokenizer.decode(writer.answers(["Hello"], ["Write <|end|> last."])[0]) == "Write <|end|> last.<|end|>"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
            "cannot be told from its prompt",
        ),
        ("{{ raise_exception('no such role') }}", "chat_template fails on a chat of 1 turn"),
        ("{% for m in messages %}{{ m['content'][:2] }}{% endfor %}", "cannot be told from its prompt"),
    ],
)
def test_templates_that_do_not_only_add_are_refused(tokenizer: Any, template: str, says: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=says):
        Writer(tokenizer, template).answers(["Hello"], ["Thai."])


def test_a_template_that_writes_the_day_writes_the_same_every_day(tokenizer: Any) -> None:
    prompt = Writer(tokenizer, "{%- set day = strftime_now('%d %b %Y') -%}{{ day }} " + toy_writers.CHAT).prompts(
        ["Hello"]
    )[0]
    assert tokenizer.decode(prompt) == "26 Jul 2024 <|user|>Hello<|end|>\n<|assistant|>"


def test_a_chat_is_not_cut(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "chat.jinja").write_text(toy_writers.CHAT)
    form = Form(max_length=12, chat_template=str(tmp_path / "chat.jinja"))
    with pytest.raises(vxlab.VxlabError, match="the chat with its answer in row 0"):
        encode_answers({"text": ["x" * 40], "answer": ["Thai."]}, tokenizer, form, "train")


def test_a_template_that_is_not_there_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(vxlab.VxlabError, match="the model's tokenizer brings no chat template"):
        read_template("tokenizer", tokenizer)
    with pytest.raises(vxlab.VxlabError, match="neither 'tokenizer' nor a template file"):
        read_template(str(tmp_path / "none.jinja"), tokenizer)
    with pytest.raises(vxlab.VxlabError, match="the data holds chats; give chat_template="):
        encode_prompts({"text": ["-"], "messages": ["[]"]}, tokenizer, Form())


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    tokenizer = toy_writers.write_tokenizer(tmp_path, eos_token=None)
    with pytest.raises(vxlab.VxlabError, match="no end-of-text token"):
        encode_answers({"text": ["a"], "answer": ["b"]}, tokenizer, Form(), "train")


def test_the_end_that_also_pads_is_still_learned(tmp_path: Path) -> None:
    tokenizer = toy_writers.write_tokenizer(tmp_path, pad_token="<|end|>")
    found = encode_answers({"text": ["a", "a b c"], "answer": ["b", "c"]}, tokenizer, Form(), "train")
    rows = [{name: found[name][number] for name in ("input_ids", "labels")} for number in range(2)]
    batch = collate_answers(tokenizer, Form())(rows)
    ends = (batch["labels"] == tokenizer.eos_token_id).sum(1)
    assert ends.tolist() == [1, 1]
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED).all()
