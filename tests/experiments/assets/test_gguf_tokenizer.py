"""A GGUF file's tokenizer splits, merges and names what the original did; what is not carried over is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import transformers
from toy_gguf import FIELDS

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets.gguf_tokenizer import describe_tokenizer

PIECES = [
    " ", "  ", "\n", "\t", "\r\n", "1", "12", "2024", "the", "The", "'s", "n't", "é", "ñ", "中文", "🙂", "½", "٣", "Ⅻ",
    ".", ",", "\u00a0", "<", "|", "<|im_start|>", "<|im_end|>", "<|endoftext|>",
]  # fmt: skip


def write_tokenizer(folder: Path, **changes: Any) -> Any:
    for name, content in zip(
        ("tokenizer", "tokenizer_config"), describe_tokenizer("toy", FIELDS | changes), strict=True
    ):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the the", ["the", "Ġthe"]),
        ("12", ["1", "2"]),  # digits stand alone, although "12" is a token
        ("the 12", ["the", "Ġ", "1", "2"]),  # ... and so is " 1"
        ("the  12", ["the", "ĠĠ", "1", "2"]),  # a text that is split as GPT-2 does has Ġ, Ġ1 here
        ("<|im_start|>the<|im_end|>", ["<|im_start|>", "the", "<|im_end|>"]),
        ("<|im_start the", ["<", "|", "i", "m", "_", "s", "t", "a", "r", "t", "Ġthe"]),
    ],
)
def test_texts_are_split_before_merging_as_the_model_has_learned(tmp_path: Path, text: str, tokens: list[str]) -> None:
    tokenizer = write_tokenizer(tmp_path)
    assert tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids) == tokens


def test_a_text_comes_back_whole(tmp_path: Path) -> None:
    tokenizer, pick = write_tokenizer(tmp_path), random.Random(0)
    for _ in range(500):
        text = "".join(pick.choices(PIECES, k=pick.randrange(1, 30)))
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer("").input_ids == []


def test_special_tokens_are_named_and_nothing_is_put_around_a_text(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer.unk_token == "<|endoftext|>"
    assert tokenizer.model_max_length == FIELDS["llama.context_length"]
    assert len(tokenizer("the").input_ids) == len(tokenizer("the", add_special_tokens=False).input_ids)
    assert tokenizer.decode(tokenizer("<|im_start|>a<|im_end|>").input_ids, skip_special_tokens=True) == "a"


def test_a_chat_is_written_by_the_files_own_template(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "the 12"}]
    written = write_tokenizer(tmp_path).apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert written == "<|im_start|>user\nthe 12<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("model", "llama", r"toy states tokenizer\.ggml\.model='llama'; only \('gpt2',\) can be converted"),
        ("pre", "llama-bpe", r"tokenizer\.ggml\.pre='llama-bpe'; only \('smollm',\)"),
        ("add_bos_token", True, r"tokenizer\.ggml\.add_bos_token=True; only \(False,\)"),
        ("add_space_prefix", True, r"tokenizer\.ggml\.add_space_prefix=True; only \(False,\)"),
        ("token_type", [3, 6], r"has tokens of type 6; only 1 and 3"),
    ],
)
def test_what_would_not_be_carried_over_is_refused(tmp_path: Path, field: str, value: Any, match: str) -> None:
    with pytest.raises(VxlabError, match=match):
        write_tokenizer(tmp_path, **{f"tokenizer.ggml.{field}": value})


@pytest.mark.parametrize(
    "field", ["tokenizer.ggml.merges", "tokenizer.ggml.padding_token_id", "tokenizer.chat_template"]
)
def test_a_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(VxlabError, match=rf"toy lacks the field '{field.rpartition('.')[2]}' of a tokenizer"):
        describe_tokenizer("toy", {name: value for name, value in FIELDS.items() if name != field})


@pytest.mark.slow
def test_the_real_smollm2_has_its_own_tokens() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch("smollm2"))
    assert len(tokenizer) == 49_152
    for text, tokens in {
        "In 2024": ["In", "Ġ", "2", "0", "2", "4"],
        "a  2": ["a", "ĠĠ", "2"],
        "x=  10\n\n  20": ["x", "=", "ĠĠ", "1", "0", "ĊĊĠĠ", "2", "0"],
    }.items():
        assert tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids) == tokens
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
