"""Two parts that are together what transformers' own processors do."""

import image_models
import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from vxlab.experiments.models import prepare_images

PROCESSORS = {
    "vit": ViTImageProcessorPil(),
    "clip": CLIPImageProcessorPil(),
    "dinov2": BitImageProcessorPil(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, do_center_crop=True, resample=3
    ),
    "convnext": ConvNextImageProcessorPil(size={"shortest_edge": 224}),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("resolution", [None, 112])
def test_pixels_and_their_normalisation_are_what_the_processor_makes(name, resolution, tmp_path):
    folder = image_models.write_vit(tmp_path, PROCESSORS[name])
    preparation = prepare_images(str(folder), resolution)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (150, 230, 3), dtype=np.uint8))
    pixels = preparation.pixels(image)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, resolution or 224, resolution or 224)
    whole = preparation.processor(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(preparation.normalise(torch.from_numpy(pixels)[None]), whole, rtol=0, atol=1e-6)


def test_another_resolution_crops_the_same_part(tmp_path):
    """A circle that fills the crop at 224 pixels fills it at 112, too."""
    folder = image_models.write_vit(tmp_path, PROCESSORS["dinov2"])
    image = Image.effect_noise((512, 512), 40).convert("RGB")
    large, small = (prepare_images(str(folder), side).pixels(image).astype(float) for side in (None, 112))
    halved = large.reshape(3, 112, 2, 112, 2).mean((2, 4))
    assert np.abs(halved - small).mean() < 8
    assert np.corrcoef(halved.ravel(), small.ravel())[0, 1] > 0.9
