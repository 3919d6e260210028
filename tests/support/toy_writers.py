"""A tiny model that writes, with a tokenizer of its own, and a task of prompts and answers."""

import json
import random
from pathlib import Path
from typing import Any

import torch

import vxlab

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A chat template."""
ROWS = {"train": 96, "validation": 12, "test": 16}
_NAMES, _PLACES, _FOODS = ("Alimentum", "Aromi", "Bibimbap"), ("centre", "riverside"), ("Thai", "French", "Indian")


def spec(model: str, task: str, **changes: Any) -> vxlab.RunSpec:
    """Return a spec of seconds in which the loss on answers falls."""
    settings: dict[str, Any] = {
        "method": vxlab.LoRA(rank=4), "learning_rate": 2e-2, "epochs": 2, "batch_size": 8, "max_length": 64,
        "answer_column": "answer", "max_new_tokens": 12, "device": "cpu", "targets": "all-linear",
    }  # fmt: skip
    return vxlab.RunSpec(model=model, task=task, **settings | changes)


def write_tokenizer(folder: Path, **more: Any) -> Any:
    """Write and return a byte-level tokenizer, whose text ends with ``<|end|>`` and which pads with ``<|pad|>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([prompt + answer for prompt, answer in pairs(200)], trainer)
    settings = {"pad_token": "<|pad|>", "eos_token": "<|end|>", "additional_special_tokens": special[2:]} | more
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **settings)
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_model(folder: Path, **tokenizer: Any) -> str:
    """Write a Llama of two small layers with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from vxlab.experiments.models.files import quiet_transformers

    made = write_tokenizer(folder, **tokenizer)
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def pairs(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return prompts with answers, a prompt perhaps several times."""
    draw = random.Random(seed)
    made = []
    for _ in range(rows):
        name, place, food = draw.choice(_NAMES), draw.choice(_PLACES), draw.choice(_FOODS)
        said = draw.choice((f"{name} is {food}.", f"{food} food at {name}, {place}."))
        made.append((f"name[{name}], area[{place}], food[{food}], number[{draw.randint(1, 99)}]", said))
    return made


def write_task(folder: Path) -> str:
    """Write train, validation and test as JSON lines with the columns prompt and answer."""
    folder.mkdir()
    written = pairs(sum(ROWS.values()), seed=1)
    seen: set[str] = set()
    for split, rows in ROWS.items():
        lines = []
        while len(lines) < rows and written:
            prompt, answer = written.pop()
            prompt = prompt if prompt not in seen else f"{prompt}, again[{len(seen)}]"
            seen.add(prompt)
            lines.append(json.dumps({"prompt": prompt, "answer": answer}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)
