"""A whole model's folder with every update in its weights, as ``from_pretrained`` loads it."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters import AdaptedLinear, adapted_layers, dequantise, detach, merge
from vxlab.adapters.placement import bare
from vxlab.errors import VxlabError
from vxlab.experiments.exchange.image_settings import random_images, served_processor
from vxlab.experiments.exchange.source import Source, reads_pixels, reads_tokens
from vxlab.experiments.exchange.text_settings import served_generation, served_tokenizer
from vxlab.experiments.models import quiet_transformers
from vxlab.warn import warn_once
from vxlab.words import first_line

DTYPES = ("float32", "bfloat16", "float16")
SHARD = "5GB"
"""the largest file of weights that is written"""
_MUCH = 0.1
"""The share of an update that a cast may lose without a word, as in :func:`vxlab.merge`."""
_TOLERANCE = 1e-3
"""Of the largest logit: merging in float32 is far below, a wrong product far above."""


@dataclass(frozen=True)
class MergeLoss:
    """What merging and casting lost, as measured on the weights that were written."""

    dtype: str
    lost: dict[str, float] = field(default_factory=dict)
    """‖(W′ - W) - ΔW‖ / ‖ΔW‖ by layer; empty where no update is a product of factors"""
    logits: float | None = None
    """the largest difference of a logit from the unmerged model's, on random tokens or images"""
    largest: float | None = None
    """the largest logit of the unmerged model there"""

    @property
    def worst(self) -> str:
        """The layer that lost most of its update."""
        return max(self.lost, key=lambda name: self.lost[name])


def write_merged(source: Source, folder: Path, dtype: str) -> MergeLoss:
    """Write a model with its updates in its weights: config, safetensors, what prepares its inputs, how it writes.

    Merged in float32, whatever the base's own precision, and cast once, when all is added; a quantised base is
    dequantised, and the update added to what its packed numbers stand for. The source is left as it is
    where it is a model in memory.

    Args:
        source: what to write.
        folder: a new one.
        dtype: of the weights that are written, one of :data:`DTYPES`.

    Raises:
        VxlabError: the model is none of transformers', there is no tokenizer or image processor to be found, its
            method cannot be merged, or merged it answers otherwise.

    Warns:
        VxlabWarning: the cast loses more than a tenth of a layer's update.
    """
    model = source.model if source.folder is not None else copy.deepcopy(source.model)
    model = bare(model).eval()
    if not source.quantised:
        model.float()
    if not hasattr(type(model), "save_pretrained"):
        raise VxlabError(
            f"{type(model).__name__} is no model of transformers, so there is no folder that from_pretrained loads; "
            "call vxlab.merge and vxlab.detach, and save its state_dict"
        )
    prepares = _what_prepares(source, model)  # before the long work
    unmerged = _logits(model)
    lost = _merge(model, source, getattr(torch, dtype))
    detach(model)
    if source.quantised:
        dequantise(model).float()
    _require_same(_logits(model), unmerged, source)
    loss = _measure(model.to(getattr(torch, dtype)), lost, unmerged, dtype)
    if lost and lost[loss.worst] > _MUCH:
        warn_once(
            f"dtype={dtype!r} loses {lost[loss.worst]:.0%} of the update of `{loss.worst}` to rounding: the answers "
            "are not those that were trained; write float32, or serve the adapter unmerged"
        )
    _save(model, prepares, folder, source.base)
    return loss


def _what_prepares(source: Source, model: nn.Module) -> Any:
    """Return the tokenizer or the image processor that brings inputs to a model; None where it reads neither."""
    if reads_pixels(model):
        return served_processor(source)
    return served_tokenizer(source) if reads_tokens(model) else None


@torch.no_grad()
def _merge(model: nn.Module, source: Source, dtype: torch.dtype) -> dict[str, float]:
    """Add the updates to the weights, and return by layer what a cast loses of each."""
    if source.method.name.startswith("peft:"):
        _merge_by_peft(model, source)
    elif adapted_layers(model):
        merge(model)
    return {name: _lost(layer, dtype) for name, layer in adapted_layers(model).items()}


def _lost(layer: AdaptedLinear, dtype: torch.dtype) -> float:
    """Return ‖(W′ - W) - ΔW‖ / ‖ΔW‖ of a merged layer, W′ as it is written."""
    merged = getattr(layer, "merged_weight", None)  # of a quantised one, whose own weight stays packed
    stored = (layer.orient(layer.weight) if merged is None else merged).to(dtype).double()
    delta = layer.delta_weight().double()
    far, size = float((stored - layer.base_weight().double() - delta).norm()), float(delta.norm())
    return far / size if size else 0.0


def _merge_by_peft(model: nn.Module, source: Source) -> None:
    for name in source.layers:
        layer: Any = model.get_submodule(name)
        try:
            layer.merge(safe_merge=True)
        except Exception as error:  # each method of peft's has its own way to say that it cannot
            raise VxlabError(
                f"{source.method} cannot be merged: peft says {first_line(error)}; export it as format='peft'"
            ) from error


@torch.no_grad()
def _logits(model: nn.Module) -> Tensor | None:
    """Return what a model answers to the same random tokens or images each time; None of one that reads neither."""
    given = _random_inputs(model)
    if not given:
        return None
    first = next(model.parameters())
    found = model(**{name: _on(each, first) for name, each in given.items()})
    logits: Tensor | None = getattr(found, "logits", None)
    return None if logits is None else logits.float()


def _random_inputs(model: Any) -> dict[str, Tensor]:
    if reads_pixels(model):
        return {"pixel_values": random_images(model)}
    if not reads_tokens(model):
        return {}
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(vocabulary, (2, 12), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _on(given: Tensor, parameter: Tensor) -> Tensor:
    """Return an input on a parameter's device, and where it is no token in its precision."""
    return given.to(parameter.device, parameter.dtype if given.is_floating_point() else None)


def _require_same(merged: Tensor | None, unmerged: Tensor | None, source: Source) -> None:
    if merged is None or unmerged is None:
        return
    far = float((merged - unmerged).abs().max())
    if not far <= _TOLERANCE * max(1.0, float(unmerged.abs().max())):
        raise VxlabError(
            f"merged, the model answers otherwise by {far:.2g} than unmerged, so {source.method} is not what its "
            "merging adds to the weights; export it as format='peft'"
        )


def _measure(model: nn.Module, lost: dict[str, float], unmerged: Tensor | None, dtype: str) -> MergeLoss:
    written = _logits(model)
    if unmerged is None or written is None:
        return MergeLoss(dtype, lost)
    return MergeLoss(dtype, lost, float((written - unmerged).abs().max()), float(unmerged.abs().max()))


def _save(model: Any, prepares: Any, folder: Path, base: str) -> None:
    if model.can_generate() and base:
        model.generation_config = served_generation(base, model.generation_config)
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size=SHARD)
        if prepares is not None:
            prepares.save_pretrained(folder)
