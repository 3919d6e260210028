"""Batches of several runs as one: equal parts, filled up with padding that no row sees; images are all of one size."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vxlab.errors import VxlabError

IMAGES = "pixel_values"
"""of a batch of images: ``(rows, channels, side, side)``"""


class Joined(NamedTuple):
    """Batches of several runs in one, a part a run."""

    inputs: dict[str, Tensor]
    """without labels; a part's missing rows repeat its first"""
    labels: list[Tensor]
    """of each part's own rows"""
    rows: int
    """of each part"""
    tokens: int
    """of every row; 1 of images, which nothing fills up"""
    own_tokens: list[int]
    """of each part, in its own longest text; 1 of images"""


def join_batches(batches: Sequence[Mapping[str, Tensor]], tokenizer: Any) -> Joined:
    """Return batches as one of equal parts.

    Args:
        batches: of one task each, ``(rows, tokens)`` by name, or images of one size, and ``labels``.
        tokenizer: tells on which side, and with what, to fill up; None of images.

    Raises:
        VxlabError: they differ in what they hold, or hold what is neither ``(rows, tokens)`` nor images.

    >>> class Tokenizer: padding_side, pad_token_id, pad_token_type_id = "right", 9, 0
    >>> one = {"input_ids": torch.ones(2, 1), "labels": torch.zeros(2)}
    >>> other = {"input_ids": torch.ones(1, 3), "labels": torch.zeros(1)}
    >>> joined = join_batches([one, other], Tokenizer)
    >>> joined.inputs["input_ids"].tolist()
    [[1.0, 9.0, 9.0], [1.0, 9.0, 9.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    names = set(batches[0]) - {"labels"}
    for batch in batches:
        shapes = {batch[name].shape for name in set(batch) - {"labels"}}
        dimensions = {len(shape) for shape in shapes}
        known = len(shapes) == 1 and dimensions == ({4} if names == {IMAGES} else {2})
        if set(batch) - {"labels"} != names or not known:
            told = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
            raise VxlabError(
                f"a batch of {told} does not stack with others: each must hold the same tensors of (rows, tokens), or "
                "images, and labels; train these runs one after the other"
            )
    rows = max(len(batch["labels"]) for batch in batches)
    own_tokens = [size_of(batch)[1] for batch in batches]
    tokens = max(own_tokens)
    parts = [fill_up(batch, rows, tokens, tokenizer) for batch in batches]
    inputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Joined(inputs, [batch["labels"] for batch in batches], rows, tokens, own_tokens)


def size_of(batch: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the rows of a batch and the tokens of each; of images 1, which nothing fills up."""
    return (len(batch[IMAGES]), 1) if IMAGES in batch else (len(batch["input_ids"]), batch["input_ids"].shape[1])


def fill_up(batch: Mapping[str, Tensor], rows: int, tokens: int, tokenizer: Any) -> dict[str, Tensor]:
    """Return a batch without its labels in the size of a larger one: its first row again, and padding.

    Args:
        batch: as :func:`join_batches` takes them.
        rows: at least its own.
        tokens: at least its own.
        tokenizer: as :func:`join_batches` takes it.
    """
    if IMAGES in batch:
        return {IMAGES: _with_rows(batch[IMAGES], rows)}
    filling = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return {
        name: _filled(tensor, rows, tokens, filling.get(name, 0) or 0, tokenizer)
        for name, tensor in batch.items()
        if name != "labels"
    }


def _filled(tensor: Tensor, rows: int, tokens: int, value: int, tokenizer: Any) -> Tensor:
    missing = tokens - tensor.shape[1]
    sides = (missing, 0) if tokenizer.padding_side == "left" else (0, missing)
    wide = functional.pad(tensor, sides, value=value) if missing else tensor
    return _with_rows(wide, rows)


def _with_rows(tensor: Tensor, rows: int) -> Tensor:
    missing = rows - len(tensor)
    return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])]) if missing else tensor
