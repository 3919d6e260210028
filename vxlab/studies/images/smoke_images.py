"""Small made-up images in three colours, and a model: to try the page in seconds; the numbers mean nothing."""

from pathlib import Path

import numpy as np
import torch

from vxlab.studies import write_once

ROWS = {"train": 8, "validation": 4, "test": 6}
"""Images of each class."""
_COLOURS = {"amber": (150, 130, 80), "jade": (110, 140, 100), "plum": (130, 100, 130)}
_SHIFT, _NOISE = 35, 60
"""How far an image's colour lies from its class's, one standard deviation, and a pixel's from that, at the most."""
_SIDE, _PATCH = 32, 8


def smoke_images() -> tuple[str, str]:
    """Return the folders of a ViT of two small layers with random weights, and of noisy images, one folder a class.

    They lie in the cache, where they are written once.
    """
    folder = write_once("smoke-images", _write)
    return str(folder / "model"), str(folder / "colours")


def _write(folder: Path) -> None:
    _write_images(folder / "colours")
    _write_model(folder / "model")


def _write_images(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for split, rows in ROWS.items():
        for name, colour in _COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for row in range(rows):
                noise = random.integers(-_NOISE, _NOISE, (_SIDE, _SIDE, 3)) + random.normal(0, _SHIFT, 3)
                pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{row}.png")


def _write_model(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    from vxlab.experiments.models import quiet_transformers

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=_SIDE,
        patch_size=_PATCH, num_labels=len(_COLOURS), initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.default_generator.manual_seed(0)
        ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": _SIDE, "width": _SIDE}).save_pretrained(folder)
