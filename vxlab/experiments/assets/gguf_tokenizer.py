"""A GGUF file's byte-level BPE tokenizer, in the layout of tokenizer.json and tokenizer_config.json."""

from collections.abc import Mapping
from typing import Any

from vxlab.errors import VxlabError

_NORMAL, _CONTROL = 1, 3
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# GGUF names the rule that splits a text before merging; transformers' own reading of GGUF splits every text as GPT-2
# does, which puts the spaces before a number together otherwise than the model has learned them.
_SPLITTING = {
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    }
}
_REQUIRED = {"model": ("gpt2",), "pre": tuple(_SPLITTING), "add_bos_token": (False,), "add_space_prefix": (False,)}


def describe_tokenizer(file: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of tokenizer.json and of tokenizer_config.json.

    Control tokens become special tokens, found in a text before it is split. A byte that the vocabulary lacks is left
    out of the ids without a word, as by the tokenizer that the model was trained with.

    Args:
        file: its name, for errors.
        fields: the file's metadata by their names.

    Raises:
        VxlabError: the metadata lack a field, or ask for what is not carried over.
    """
    stated = {name.removeprefix("tokenizer."): value for name, value in fields.items()}
    stated = {name.removeprefix("ggml."): value for name, value in stated.items()}
    for name, allowed in _REQUIRED.items():
        if stated.get(name) not in allowed:
            raise VxlabError(
                f"{file} states tokenizer.ggml.{name}={stated.get(name)!r}; only {allowed} can be converted"
            )
    try:
        tokens, kinds = stated["tokens"], stated["token_type"]
        if others := set(kinds) - {_NORMAL, _CONTROL}:
            raise VxlabError(f"{file} has tokens of type {min(others)}; only {_NORMAL} and {_CONTROL} can be converted")
        special = [number for number, kind in enumerate(kinds) if kind == _CONTROL]
        return _tokenizer(tokens, stated["merges"], special, stated["pre"]), _settings(fields, stated)
    except KeyError as error:
        raise VxlabError(f"{file} lacks the field {error} of a tokenizer") from error


def _tokenizer(tokens: list[str], merges: list[str], special: list[int], splitting: str) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special_token(number, tokens[number]) for number in special],
        "normalizer": None,
        "pre_tokenizer": _SPLITTING[splitting],
        "post_processor": None,
        "decoder": _BYTE_LEVEL | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def _special_token(number: int, content: str) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **plain, "special": True}


def _settings(fields: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {
        **{ours: stated["tokens"][stated[f"{theirs}_token_id"]] for ours, theirs in named.items()},
        "chat_template": stated["chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
