"""Features of a frozen model: the states of a text's tokens behind its last block, pooled to one vector a text."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DataCollatorWithPadding

from vxlab.adapters.placement import backbones
from vxlab.errors import VxlabError
from vxlab.experiments.provenance import POOLINGS

_BATCH = 32
_STILL = 1e-4
"""Of the largest state: a first token that moves by less when the tokens after it change does not see them."""


class States(NamedTuple):
    """What a model makes of a batch of texts."""

    tokens: Tensor
    """(texts, tokens, width)"""
    mask: Tensor
    """(texts, tokens), 0 where a text was padded"""
    pooled: Tensor | None
    """(texts, width), of a model that pools them itself"""


def available_poolings(model: nn.Module, rows: datasets.Dataset) -> tuple[str, ...]:
    """Return the names in :data:`POOLINGS` that make sense for a model.

    The mean always does; the first token where it sees those after it, as in BERT, and the last where it does not, as
    in GPT-2, whose first token knows nothing of the text; and what the model pools itself, where those weights are
    pretrained.

    Args:
        model: from :func:`vxlab.load_model`, in evaluation mode.
        rows: tokenised texts, the longest of which is tried out.

    Raises:
        VxlabError: the model gives no state for each token.
    """
    longest = _inputs(rows)[int(np.argmax(rows["length"]))]
    device = next(model.parameters()).device
    batch = {name: torch.tensor([value], device=device) for name, value in longest.items()}
    ids = batch["input_ids"]
    with torch.inference_mode():
        states = _read(model, batch)
        other = _read(model, batch | {"input_ids": ids[:, :1].expand_as(ids).contiguous()})
    moved = (states.tokens[:, 0] - other.tokens[:, 0]).abs().max() > _STILL * states.tokens.abs().max()
    own = ["pooler"] if states.pooled is not None and not _draws_inside(model) else []
    return ("mean", "first" if moved else "last", *own)


def pool(model: nn.Module, batch: Mapping[str, Tensor], poolings: Sequence[str]) -> dict[str, Tensor]:
    """Return the pooled features of a batch, each (texts, width) in float32; padding does not enter.

    Args:
        model: as :func:`available_poolings` takes it.
        batch: padded on either side.
        poolings: of those that it returns.
    """
    states = _read(model, batch)
    tokens, mask = states.tokens.float(), states.mask.float()
    texts = torch.arange(len(tokens), device=tokens.device)
    made: dict[str, Callable[[], Tensor]] = {
        "mean": lambda: (tokens * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True),
        "first": lambda: tokens[texts, mask.argmax(1)],
        "last": lambda: tokens[texts, mask.shape[1] - 1 - mask.flip(1).argmax(1)],
        "pooler": lambda: states.pooled.float(),  # type: ignore[union-attr]
    }
    return {name: made[name]() for name in poolings}


def features_of(
    model: nn.Module,
    rows: datasets.Dataset,
    tokenizer: Any,
    poolings: Sequence[str],
    precision: str = "float32",
    done: Callable[[int], object] = lambda texts: None,
) -> dict[str, NDArray[np.float32]]:
    """Return the pooled features (rows, width) of a split, in the order of its ``row`` column.

    Args:
        model: as :func:`available_poolings` takes it.
        rows: with the columns of the tokenizer, ``length`` and ``row``.
        tokenizer: pads the batches, each of texts of like length.
        poolings: of those that :func:`available_poolings` returns.
        precision: ``float32``, or ``bfloat16`` or ``float16`` by autocast.
        done: told how many texts more were read.

    Raises:
        VxlabError: a feature is not finite.
    """
    device, dtype = next(model.parameters()).device, getattr(torch, precision)
    collate, inputs = DataCollatorWithPadding(tokenizer), _inputs(rows)
    order, places = np.argsort(-np.asarray(rows["length"]), kind="stable"), np.asarray(rows["row"])
    found: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        batch = {name: each.to(device) for name, each in collate([inputs[int(i)] for i in chosen]).items()}
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=precision != "float32"):
            pooled = pool(model, batch, poolings)
        for name, vectors in pooled.items():
            whole = found.setdefault(name, np.empty((len(order), vectors.shape[1]), np.float32))
            whole[places[chosen]] = vectors.cpu().numpy()
        done(len(chosen))
    for name, whole in found.items():
        if not np.isfinite(whole).all():
            raise VxlabError(f"the model's features ({POOLINGS[name]}) are not finite in {precision}; try float32")
    return found


def _read(model: nn.Module, batch: Mapping[str, Tensor]) -> States:
    """Run the frozen backbone, of an encoder–decoder its encoder."""
    backbone: Any = backbones(model)[0]
    reader = backbone.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else backbone
    known = inspect.signature(reader.forward).parameters
    output = reader(**{name: tensor for name, tensor in batch.items() if name in known}, return_dict=True)
    tokens = getattr(output, "last_hidden_state", None)
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    if not isinstance(tokens, Tensor) or tokens.shape[:2] != mask.shape:
        raise VxlabError(
            f"method=Probe() pools the states of a text's tokens, and {type(reader).__name__} does not give one for "
            "each; use Head() or an adapter"
        )
    return States(tokens, mask, getattr(output, "pooler_output", None))


def _draws_inside(model: nn.Module) -> bool:
    """Say whether part of the backbone was drawn: a pooler that the weights lack."""
    inside = {id(parameter) for parameter in backbones(model)[0].parameters()}
    drawn = getattr(model, "vxlab_drawn", ())
    return any(id(parameter) in inside for name, parameter in model.named_parameters() if name in drawn)


def _inputs(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.remove_columns([name for name in ("label", "length", "row") if name in rows.column_names])
