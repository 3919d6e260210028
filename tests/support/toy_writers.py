"""A tiny model that writes, with a tokenizer of its own, and a task of prompts and answers."""

from pathlib import Path
from typing import Any

import vxlab
from vxlab.studies.generation.smoke_files import ROWS, write_smoke_task
from vxlab.studies.smoke_model import write_smoke_model, write_smoke_tokenizer

__all__ = ["CHAT", "ROWS", "spec", "write_model", "write_task", "write_tokenizer"]

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A chat template."""
_ROLES = ("<|user|>", "<|assistant|>", "<|system|>")


def spec(model: str, task: str, **changes: Any) -> vxlab.RunSpec:
    """Return a spec of seconds in which the loss on answers falls."""
    settings: dict[str, Any] = {
        "method": vxlab.LoRA(rank=4), "learning_rate": 2e-2, "epochs": 2, "batch_size": 8, "max_length": 64,
        "answer_column": "answer", "max_new_tokens": 12, "device": "cpu", "targets": "all-linear",
    }  # fmt: skip
    return vxlab.RunSpec(model=model, task=task, **settings | changes)


def write_tokenizer(folder: Path, **named: Any) -> Any:
    """Write and return the tokenizer, with special tokens of a chat's roles."""
    return write_smoke_tokenizer(folder, _ROLES, **named)


def write_model(folder: Path, **named: Any) -> str:
    """Write the model, and return its folder."""
    return write_smoke_model(folder, more=_ROLES, **named)


def write_task(folder: Path) -> str:
    """Write the task, and return its folder."""
    return write_smoke_task(folder)
