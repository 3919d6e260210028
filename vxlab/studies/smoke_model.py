"""A tiny model that writes, with random weights, to try a page in seconds without a download."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vxlab.paths import cache_folder

_NAMES, _PLACES, _FOODS = ("Aromi", "Bibimbap", "Cotto"), ("centre", "riverside"), ("Thai", "French", "Indian")
_SPECIAL = ("<|pad|>", "<|end|>")


def write_once(name: str, write: Callable[[Path], object]) -> Path:
    """Return a folder of the cache, which is written where it is not there yet, whole or not at all.

    Args:
        name: of the folder.
        write: fills the folder that it is given.
    """
    folder = cache_folder() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
        write(made)
        try:
            os.rename(made, folder)
        except OSError:  # another process was first
            shutil.rmtree(made)
    return folder


def write_smoke_model(folder: Path, **tokenizer: Any) -> str:
    """Write a Llama of two small layers with tied embeddings and random weights, and its tokenizer.

    Args:
        folder: new.
        tokenizer: names of special tokens, otherwise than usual.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    from vxlab.experiments.models import quiet_transformers

    made = write_smoke_tokenizer(folder, **tokenizer)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.default_generator.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def write_smoke_tokenizer(folder: Path, more: tuple[str, ...] = (), **named: Any) -> Any:
    """Write and return a byte-level tokenizer, whose texts end with ``<|end|>`` and which pads with ``<|pad|>``.

    Args:
        folder: written to.
        more: further special tokens.
        named: special tokens by their use, otherwise than usual.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    settings: dict[str, Any] = {
        "special_tokens": [*_SPECIAL, *more], "initial_alphabet": sorted(pre_tokenizers.ByteLevel.alphabet()),
        "show_progress": False,
    }  # fmt: skip
    trainer = trainers.BpeTrainer(vocab_size=320, **settings)
    made.train_from_iterator([" ".join(pair) for pair in smoke_pairs(200)], trainer)
    usual = {"pad_token": _SPECIAL[0], "eos_token": _SPECIAL[1], "additional_special_tokens": list(more)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **usual | named)
    tokenizer.save_pretrained(folder)
    return tokenizer


def smoke_pairs(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return different facts about restaurants, each with a sentence."""
    draw = random.Random(seed)
    made = []
    for row in range(rows):
        name, place, food = draw.choice(_NAMES), draw.choice(_PLACES), draw.choice(_FOODS)
        said = draw.choice((f"{name} is {food}.", f"{food} food at {name}, {place}."))
        made.append((f"name[{name}], area[{place}], food[{food}], number[{row}]", said))
    return made
