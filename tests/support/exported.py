"""Exported folders, loaded by other programs: their code as a card shows it, and what they answer."""

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import vxlab
from vxlab.adapters.core.family import Method

TEXTS = ["a great and lovely film", "the boring story of a town"]


def stir(model: nn.Module, seed: int = 1, scale: float = 0.1) -> nn.Module:
    """Move what a method trains, as training would."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn(parameter.shape, generator=draw)
    return model.eval()


def attach_stirred(name: str, num_labels: int, method: Method, targets: str = "all-linear") -> nn.Module:
    """Load a base with a method on it whose trained tensors are no longer at their start."""
    torch.manual_seed(0)
    return stir(vxlab.attach(vxlab.load_model(name, num_labels), method, targets))


@torch.no_grad()
def answers(model: nn.Module, vocabulary: int = 300) -> torch.Tensor:
    """Return the logits of some rows of tokens."""
    ids = torch.randint(3, vocabulary, (2, 9), generator=torch.Generator().manual_seed(5))
    found: torch.Tensor = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
    return found


def write_letters(folder: Path) -> None:
    """Write a tokenizer of eight letters."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate("abcdefgh", start=3)} | {"?": 0}, "?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="?", unk_token="?").save_pretrained(folder)


def code_in(card: Path) -> str:
    """Return the block of Python that a card shows."""
    (block,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def run_code(card: Path) -> dict[str, Any]:
    """Run a card's block where the names in it are folders of the working directory; return what it defined."""
    found: dict[str, Any] = {}
    exec(compile(code_in(card), str(card), "exec"), found)
    return found
