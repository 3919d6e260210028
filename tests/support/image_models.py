"""Small models of images with drawn weights, and folders of small photographs, for tests that look at no score."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SIDE, PATCH = 32, 8


def tiny_vit(folder: Path, seed: int = 0) -> Path:
    """Write a ViT of two layers, 32 wide, that reads 32 × 32 pixels in patches of 8, and its image processor."""
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=SIDE,
        patch_size=PATCH, num_labels=2, architectures=["ViTForImageClassification"],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def image_folder(
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
