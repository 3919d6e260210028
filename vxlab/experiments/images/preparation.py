"""Bring images to the square that a model reads, and their pixels to the numbers that it was trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
"""(3, side, side)"""


@dataclass(frozen=True)
class Preparation:
    """What a model's image processor does, in two parts: to an image once, and to every batch.

    Args:
        processor: transformers' image processor, on Pillow, that resizes and crops to ``side``.
        side: pixels of a side of the square.
        mean: (3,) that is taken from the pixels' shares of 255.
        spread: (3,) by which they are divided then.
    """

    processor: Any
    side: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def pixels(self, image: "Image.Image") -> Pixels:
        """Return an image's pixels (3, side, side), resized and cropped."""
        made = self.processor(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        return np.asarray(made).astype(np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return (x / 255 - mean) / spread of (rows, 3, side, side) pixels, in float32."""
        mean, spread = (torch.tensor(each).view(1, -1, 1, 1) for each in (self.mean, self.spread))
        return (pixels.float() / 255 - mean) / spread
