"""The tiny models of images with the names of their layers, written by hand, and batches for them.

Where blocks stand in stages there are three of them, two in the second stage, which is twice as wide.
"""

from typing import Any, NamedTuple

import torch
from image_models import CONFIGS, SIDE, bare_model
from torch import Tensor

OTHER_SIDE = 48
LABELS = 3


class Architecture(NamedTuple):
    """What a tiny model holds."""

    blocks: tuple[str, ...]
    """the paths of its blocks, from the input"""
    roles: dict[str, str]
    """the layer of every role in a block"""
    between: tuple[str, ...] = ()
    """linear layers between blocks"""
    interpolates: bool = False
    """whether its forward pass is asked to fit its table of positions to another resolution"""


_MLP = {"up": "mlp.fc1", "down": "mlp.fc2"}
_BLOCK = {
    "query": "attention.q_proj", "key": "attention.k_proj", "value": "attention.v_proj",
    "attention-output": "attention.o_proj", **_MLP,
}  # fmt: skip
_CLIP = {
    "query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj",
    "attention-output": "self_attn.out_proj", **_MLP,
}  # fmt: skip
ARCHITECTURES = {
    "vit": Architecture(("vit.layers.0", "vit.layers.1"), _BLOCK, interpolates=True),
    "deit": Architecture(("deit.layers.0", "deit.layers.1"), _BLOCK, interpolates=True),
    "dinov2": Architecture(("dinov2.encoder.layer.0", "dinov2.encoder.layer.1"), _BLOCK),
    "clip": Architecture(
        ("vision_model.encoder.layers.0", "vision_model.encoder.layers.1"), _CLIP, interpolates=True
    ),
    "swin": Architecture(
        ("swin.encoder.layers.0.blocks.0", "swin.encoder.layers.1.blocks.0", "swin.encoder.layers.1.blocks.1"),
        _BLOCK,
        ("swin.encoder.layers.0.downsample.reduction",),
    ),
    "convnext": Architecture(
        ("convnext.encoder.stages.0.layers.0", "convnext.encoder.stages.1.layers.0",
         "convnext.encoder.stages.1.layers.1"),
        {"up": "pwconv1", "down": "pwconv2"},
    ),
}  # fmt: skip
assert ARCHITECTURES.keys() == CONFIGS.keys()


def build(name: str) -> Any:
    """Return a fresh model in evaluation mode, with the same weights every time."""
    model = bare_model(name, LABELS)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "layer_scale" in key:  # 1e-6 in an untrained ConvNeXt, which would hide every adapter
                parameter.fill_(1.0)
    return model


def layers_of(name: str, *roles: str) -> list[str]:
    """Return the layers of some roles, of all where none is named, in the order of blocks."""
    found = ARCHITECTURES[name]
    ends = [end for role, end in found.roles.items() if not roles or role in roles]
    return [f"{block}.{end}" for block in found.blocks for end in ends]


def images(name: str, side: int = SIDE, rows: int = 2) -> dict[str, Any]:
    """Return a batch as a model takes it, at its own resolution or another; always the same."""
    pixels: Tensor = torch.randn(rows, 3, side, side, generator=torch.Generator().manual_seed(1))
    asked = {"interpolate_pos_encoding": True} if ARCHITECTURES[name].interpolates and side != SIDE else {}
    return {"pixel_values": pixels, **asked}
