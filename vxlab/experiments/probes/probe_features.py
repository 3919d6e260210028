"""Features of a frozen model: the states of tokens, or patches, behind its last block, pooled to one vector a row."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vxlab.adapters.placement import backbones
from vxlab.errors import VxlabError
from vxlab.experiments.provenance import POOLINGS
from vxlab.experiments.tasks.kinds import Collate

_BATCH = 32
_STILL = 1e-4
"""Of the largest state: a first token that moves by less when the tokens after it change does not see them."""


class States(NamedTuple):
    """What a model makes of a batch of texts, or of images, whose patches count as tokens."""

    tokens: Tensor
    """(rows, tokens, width)"""
    mask: Tensor
    """(rows, tokens), 0 where a text was padded"""
    pooled: Tensor | None
    """(rows, width), of a model that pools them itself"""


def available_poolings(model: nn.Module, rows: datasets.Dataset, collate: Collate) -> tuple[str, ...]:
    """Return the names in :data:`POOLINGS` that make sense for a model.

    The mean always does; the first token where it sees those after it, as in BERT, and the last where it does not, as
    in GPT-2, whose first token knows nothing of the text; of images the first where it is the model's class token; and
    what the model pools itself, where those weights are pretrained.

    Args:
        model: from :func:`vxlab.load_model`, in evaluation mode.
        rows: encoded, the longest of which is tried out.
        collate: makes batches of them.

    Raises:
        VxlabError: the model gives no state for each token.
    """
    longest = _inputs(rows)[int(np.argmax(rows["length"]))]
    device = next(model.parameters()).device
    batch = {name: each.to(device) for name, each in collate([longest]).items()}
    with torch.inference_mode():
        states = _read(model, batch)
        whole = _image_poolings(model) if "pixel_values" in batch else _text_poolings(model, batch, states)
    own = ["pooler"] if states.pooled is not None and not _draws_inside(model) else []
    return ("mean", *whole, *own)


def _text_poolings(model: nn.Module, batch: Mapping[str, Tensor], states: States) -> list[str]:
    ids = batch["input_ids"]
    other = _read(model, {**batch, "input_ids": ids[:, :1].expand_as(ids).contiguous()})
    moved = (states.tokens[:, 0] - other.tokens[:, 0]).abs().max() > _STILL * states.tokens.abs().max()
    return ["first" if moved else "last"]


def _image_poolings(model: nn.Module) -> list[str]:
    """Return ``first`` where a model has a class token, which goes before the patches."""
    names = {name.rpartition(".")[2] for name, _ in backbones(model)[0].named_parameters()}
    return ["first"] if names & {"cls_token", "class_embedding"} else []


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
    collate: Collate,
    poolings: Sequence[str],
    precision: str = "float32",
    done: Callable[[int], object] = lambda texts: None,
) -> dict[str, NDArray[np.float32]]:
    """Return the pooled features (rows, width) of a split, in the order of its ``row`` column.

    Args:
        model: as :func:`available_poolings` takes it.
        rows: encoded, with ``length`` and ``row``.
        collate: makes the batches, each of rows of like length.
        poolings: of those that :func:`available_poolings` returns.
        precision: ``float32``, or ``bfloat16`` or ``float16`` by autocast.
        done: told how many rows more were read.

    Raises:
        VxlabError: a feature is not finite.
    """
    device, dtype = next(model.parameters()).device, getattr(torch, precision)
    inputs = _inputs(rows)
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
    given: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name in known}
    if "interpolate_pos_encoding" in known:
        given["interpolate_pos_encoding"] = True
    output = reader(**given, return_dict=True)
    tokens = getattr(output, "last_hidden_state", None)
    if "pixel_values" in batch and isinstance(tokens, Tensor):
        tokens = tokens.flatten(2).transpose(1, 2) if tokens.dim() == 4 else tokens  # of convolutions a map
        mask = torch.ones_like(tokens[..., 0])
    else:
        mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    if not isinstance(tokens, Tensor) or tokens.shape[:2] != mask.shape:
        raise VxlabError(
            "method=Probe() pools the states of a text's tokens, or of an image's patches, and "
            f"{type(reader).__name__} does not give one for each; use Head() or an adapter"
        )
    pooled = getattr(output, "pooler_output", None)
    # ResNet's is (rows, width, 1, 1).
    return States(tokens, mask, pooled.flatten(1) if isinstance(pooled, Tensor) else None)


def _draws_inside(model: nn.Module) -> bool:
    """Say whether part of the backbone was drawn: a pooler that the weights lack."""
    inside = {id(parameter) for parameter in backbones(model)[0].parameters()}
    drawn = getattr(model, "vxlab_drawn", ())
    return any(id(parameter) in inside for name, parameter in model.named_parameters() if name in drawn)


def _inputs(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.remove_columns([name for name in ("label", "length", "row") if name in rows.column_names])
