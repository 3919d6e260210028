"""Small models of images with drawn weights, and folders of small images, for tests that look at no score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SIDE, PATCH = 32, 8
_SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": SIDE,
    "patch_size": PATCH,
}  # fmt: skip
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViT", _SMALL),
    "deit": ("DeiT", _SMALL),
    "dinov2": ("Dinov2", _SMALL),
    "clip": ("CLIP", {"vision_config": _SMALL, "text_config": {"hidden_size": 32, "num_hidden_layers": 1,
                      "num_attention_heads": 2, "intermediate_size": 64}, "projection_dim": 32}),
    "swin": ("Swin", {"image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4],
                      "window_size": 4}),
    "convnext": ("ConvNext", {"image_size": SIDE, "patch_size": 4, "hidden_sizes": [16, 32], "depths": [1, 2],
                              "num_stages": 2}),
}  # fmt: skip
"""By name: how transformers' classes begin, and the fields of a small config."""


def bare_model(name: str, num_labels: int = 3, seed: int = 0) -> Any:
    """Return one of CONFIGS' models to classify images, in evaluation mode."""
    prefix, fields = CONFIGS[name]
    config = getattr(transformers, f"{prefix}Config")(**fields, num_labels=num_labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(transformers, f"{prefix}ForImageClassification")(config).eval()


def write_model(folder: Path, name: str, processor: Any = None) -> Path:
    """Write one of CONFIGS' models, and an image processor of 32 × 32 pixels, or another."""
    bare_model(name).save_pretrained(folder)
    (processor or ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})).save_pretrained(folder)
    return folder


def write_vit(folder: Path, processor: Any = None) -> Path:
    """Write a ViT of two layers, 32 wide, that reads 32 × 32 pixels in patches of 8, and its image processor."""
    return write_model(folder, "vit", processor)


def write_images(
    folder: Path, rows: int = 8, classes: Sequence[str] = ("blue", "green", "red"), side: int = 40
) -> Path:
    """Write ``rows`` noisy PNGs of a colour for each class, one folder a class."""
    colours = np.eye(3)[::-1] * 160
    random = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(rows):
            noise = random.integers(0, 96, (side, side + row, 3))
            pixels = (colours[number % 3] + noise).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{row}.png")
    return folder
