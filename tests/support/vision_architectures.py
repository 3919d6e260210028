"""Tiny models of every architecture that reads images, and the names of their layers; sizes change by stage.

Built from configs, without a download. Where blocks stand in stages there are three of them, two in the first stage.
"""

from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

SIZE, OTHER_SIZE = 32, 48
LABELS = 3
_PLAIN = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": SIZE,
    "patch_size": 8,
}  # fmt: skip
_SWIN = {
    "image_size": SIZE, "patch_size": 4, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4,
}  # fmt: skip
# A layer scale of 1e-6, as an untrained ConvNeXt has, would hide every adapter.
_CONVNEXT = {"depths": [2, 1], "hidden_sizes": [16, 24], "num_stages": 2, "layer_scale_init_value": 1.0}


class Architecture(NamedTuple):
    """How a tiny model is made, and what it holds, written by hand."""

    model: str
    config: str
    settings: dict[str, Any]
    blocks: tuple[str, ...]
    """the paths of its blocks, from the input"""
    roles: dict[str, str]
    """the layer of every role in a block"""
    between: tuple[str, ...] = ()
    """linear layers between blocks"""
    interpolates: bool = False
    """whether its forward pass is asked to fit its table of positions to another resolution"""


_ATTENTION = {f"{role}": f"attention.{role[0]}_proj" for role in ("query", "key", "value")}
_BLOCK = {**_ATTENTION, "attention-output": "attention.o_proj", "up": "mlp.fc1", "down": "mlp.fc2"}
_CLIP = {name: end.replace("attention.o_proj", "attention.out_proj").replace("attention", "self_attn")
         for name, end in _BLOCK.items()}  # fmt: skip

ARCHITECTURES = {
    "vit": Architecture("ViTForImageClassification", "ViTConfig", _PLAIN, ("vit.layers.0", "vit.layers.1"), _BLOCK,
                        interpolates=True),
    "deit": Architecture("DeiTForImageClassification", "DeiTConfig", _PLAIN, ("deit.layers.0", "deit.layers.1"),
                         _BLOCK, interpolates=True),
    "dinov2": Architecture("Dinov2ForImageClassification", "Dinov2Config", _PLAIN | {"mlp_ratio": 2},
                           ("dinov2.encoder.layer.0", "dinov2.encoder.layer.1"), _BLOCK),
    "clip": Architecture("CLIPForImageClassification", "CLIPConfig", {"vision_config": _PLAIN, "projection_dim": 16},
                         ("vision_model.encoder.layers.0", "vision_model.encoder.layers.1"), _CLIP, interpolates=True),
    "swin": Architecture("SwinForImageClassification", "SwinConfig", _SWIN,
                         ("swin.encoder.layers.0.blocks.0", "swin.encoder.layers.0.blocks.1",
                          "swin.encoder.layers.1.blocks.0"), _BLOCK, ("swin.encoder.layers.0.downsample.reduction",)),
    "convnext": Architecture("ConvNextForImageClassification", "ConvNextConfig", _CONVNEXT,
                             ("convnext.encoder.stages.0.layers.0", "convnext.encoder.stages.0.layers.1",
                              "convnext.encoder.stages.1.layers.0"), {"up": "pwconv1", "down": "pwconv2"}),
}  # fmt: skip


def build(name: str) -> PreTrainedModel:
    """Return a fresh model in evaluation mode, with the same weights every time."""
    found = ARCHITECTURES[name]
    config = getattr(transformers, found.config)(**found.settings, num_labels=LABELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = getattr(transformers, found.model)(config)
    return model.eval()


def layers_of(name: str, *roles: str) -> list[str]:
    """Return the layers of some roles, of all where none is named, in the order of blocks."""
    found = ARCHITECTURES[name]
    ends = [end for role, end in found.roles.items() if not roles or role in roles]
    return [f"{block}.{end}" for block in found.blocks for end in ends]


def images(name: str, size: int = SIZE, rows: int = 2) -> dict[str, Any]:
    """Return a batch as a model takes it, at its own resolution or another; always the same."""
    pixels: Tensor = torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))
    asked = {"interpolate_pos_encoding": True} if ARCHITECTURES[name].interpolates and size != SIZE else {}
    return {"pixel_values": pixels, **asked}
