"""Whether a model classifies a text alone as it does among longer ones, and how long a text it can read."""

import itertools
import re
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.errors import VxlabError
from vxlab.warn import warn_once
from vxlab.words import first_line

_TEXTS = ("one two", "one two three four five six seven eight")
_TOKENS = 16
"""Of the longer text at most: a second of work for the largest models."""
_TOLERANCE = 1e-3
"""Of the largest logit: rounding is far below, a token at another position far above."""
_POSITIONS = re.compile(r"(.*\.)?(positions?_embed(dings?)?|embed_positions|wpe)")
"""Names of the tables that give one vector to each position of a text."""


def check_padding(name: str, model: nn.Module, tokenizer: Any) -> None:
    """Refuse a model whose logits for a text depend on its neighbours where padding on the other side mends it.

    Where neither side does (some architectures convolve over the padding, or mix it in), warn.

    Args:
        name: of the model, for the message.
        model: in evaluation mode, on the CPU.
        tokenizer: its own, with a padding token.

    Raises:
        VxlabError: the padding is on the wrong side, or the model has no embedding for what the tokenizer writes, or
            fails on it.
    """
    read = [tokenizer(text, truncation=True, max_length=_TOKENS)["input_ids"] for text in _TEXTS]
    require_embedding(name, model, tokenizer, max([tokenizer.pad_token_id, *itertools.chain(*read)]))
    if not all(read):
        return  # a tokenizer of another alphabet, which leaves out what it does not know
    moved = _moved(name, model, tokenizer)
    if moved <= _TOLERANCE:
        return
    side = tokenizer.padding_side
    other = "left" if side == "right" else "right"
    tokenizer.padding_side = other
    try:
        mended = _moved(name, model, tokenizer) <= _TOLERANCE
    finally:
        tokenizer.padding_side = side
    if mended:
        raise VxlabError(
            f"model={name!r}: its tokenizer pads on the {side}, and {type(model).__name__} then reads a text otherwise "
            f"among longer ones; set padding_side to {other!r} in tokenizer_config.json"
        )
    warn_once(
        f"model={name!r}: {type(model).__name__} reads the padding too, so that a text's logits depend on the texts "
        f"beside it (here by {moved:.0%})"
    )


def require_embedding(name: str, model: nn.Module, tokenizer: Any, token: int) -> None:
    """Refuse a token id for which a model has no embedding.

    Args:
        name: of the model, for the message.
        model: a transformers model.
        tokenizer: which writes the id.
        token: the id, or the largest of many.

    Raises:
        VxlabError: the id is not below the number of embeddings.
    """
    config: Any = model.config
    rows = getattr(config.get_text_config(), "vocab_size", None)  # None where characters are hashed
    if rows is not None and token >= rows:
        raise VxlabError(
            f"model={name!r} has {rows} token embeddings, and its tokenizer writes {tokenizer.decode([token])!r} as id "
            f"{token} (it knows {len(tokenizer)}); call model.resize_token_embeddings({len(tokenizer)}), and save both"
        )


def position_limit(model: nn.Module) -> int | None:
    """Return how many tokens of a text a model has positions for; None where it counts them by distance.

    >>> position_limit(nn.Linear(2, 2)) is None
    True
    """
    limits = [
        module.num_embeddings - _first_position(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and _POSITIONS.fullmatch(name)
    ]
    return min(limits, default=None)


def _first_position(table: Any) -> int:
    """Return the row of a text's first token: RoBERTa counts from the padding's id, BART and OPT from 2."""
    return table.padding_idx + 1 if table.padding_idx is not None else getattr(table, "offset", 0)


@torch.no_grad()
def _moved(name: str, model: nn.Module, tokenizer: Any) -> float:
    """Return by how much the first text's logits move in a batch with the second, of the largest logit."""
    try:
        with torch.random.fork_rng(devices=[]):  # some attend to blocks that they draw
            alone, both = (_logits(model, tokenizer, texts) for texts in (_TEXTS[:1], _TEXTS))
    except Exception as error:  # whatever it is: a run would meet it at its first batch
        raise VxlabError(
            f"model={name!r}: {type(model).__name__} fails on what its tokenizer writes "
            f"({type(error).__name__}: {first_line(error)}); save the tokenizer that belongs to it"
        ) from error
    scale = float(both.abs().max().clamp_min(1e-2))
    return float((alone[0] - both[0]).abs().max()) / scale


def _logits(model: nn.Module, tokenizer: Any, texts: tuple[str, ...]) -> Tensor:
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt")
    logits: Tensor = model(**batch).logits
    return logits
