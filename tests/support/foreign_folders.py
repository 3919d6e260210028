"""Folders that the peft library wrote, with every trained value moved, and what it makes of them."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
from architectures import ARCHITECTURES, inputs
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HEADS = {"bert": "classifier", "roberta": "classifier", "vit": "classifier", "gpt2": "score", "llama": "score"}


def save_trained(folder: Path, name: str, config: peft.PeftConfig, head: bool = True) -> nn.Module:
    """Put a config of peft's on a tiny model, move all that it trains, save it, and return the model."""
    config: Any = config
    if head and name in HEADS:
        config.modules_to_save = [HEADS[name]]
    if hasattr(config, "fan_in_fan_out"):
        config.fan_in_fan_out = name.startswith("gpt2")
    with as_peft_warns():
        model = peft.get_peft_model(ARCHITECTURES[name](), config).eval()
        move(model)
        model.save_pretrained(folder)
    return model


@torch.no_grad()
def move(model: nn.Module, seed: int = 3) -> None:
    """Add noise to all that trains."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def loaded_by_peft(name: str, folder: Path) -> nn.Module:
    """Return the tiny model with the adapter in a folder on it, as peft loads it."""
    with as_peft_warns():
        model: nn.Module = peft.PeftModel.from_pretrained(ARCHITECTURES[name](), folder)
    return model


@contextmanager
def as_peft_warns() -> Iterator[None]:
    """Let pass what peft warns of by itself: attributes of transformers' that will go, and seeds without matrices."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False but the target module is `Conv1D`")
        warnings.filterwarnings("ignore", message="Setting `save_embedding_layers` to `True`")
        warnings.filterwarnings("ignore", message=".* changes the base weights of the model")
        warnings.filterwarnings("ignore", message="Adapter 'default'")  # takes a bias on B for a shard
        warnings.filterwarnings("ignore", message="Specified to not (save|load) vera_A and vera_B")
        yield


@torch.no_grad()
def logits(model: nn.Module, name: str) -> Tensor:
    """Return a model's logits for its inputs, in evaluation."""
    found: Tensor = model.eval()(**inputs(name)).logits
    return found


def say(folder: Path, **fields: object) -> Path:
    """Write other fields into an adapter's config."""
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def change(folder: Path, how: Callable[[dict[str, Tensor]], object]) -> Path:
    """Write an adapter's tensors again as a function changes them, in place."""
    tensors = load_file(folder / WEIGHTS)
    how(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
