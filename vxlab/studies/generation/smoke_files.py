"""A tiny model that writes, and a tiny task: to try a page in seconds, without a download; the numbers mean nothing."""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from vxlab.paths import cache_folder

ROWS = {"train": 64, "validation": 8, "test": 12}
_NAMES, _PLACES, _FOODS = ("Aromi", "Bibimbap", "Cotto"), ("centre", "riverside"), ("Thai", "French", "Indian")
_SPECIAL = ("<|pad|>", "<|end|>")


def smoke_files() -> tuple[str, str]:
    """Return the folders of a Llama of two small layers with random weights, and of restaurants as facts and sentences.

    They lie in the cache, where they are written once.
    """
    folder = cache_folder() / "smoke-writer"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".smoke-writer-"))
        write_smoke_task(made / "restaurants")
        write_smoke_model(made / "model")
        try:
            os.rename(made, folder)
        except OSError:  # another process was first
            shutil.rmtree(made)
    return str(folder / "model"), str(folder / "restaurants")


def write_smoke_task(folder: Path) -> str:
    """Write train, validation and test as JSON lines with the columns prompt and answer."""
    folder.mkdir(parents=True)
    rows = smoke_pairs(sum(ROWS.values()))
    for split, count in ROWS.items():
        lines = [json.dumps(dict(zip(("prompt", "answer"), rows.pop(), strict=True))) for _ in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


def smoke_pairs(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return different facts about restaurants, each with a sentence."""
    draw = random.Random(seed)
    made = []
    for row in range(rows):
        name, place, food = draw.choice(_NAMES), draw.choice(_PLACES), draw.choice(_FOODS)
        said = draw.choice((f"{name} is {food}.", f"{food} food at {name}, {place}."))
        made.append((f"name[{name}], area[{place}], food[{food}], number[{row}]", said))
    return made


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
