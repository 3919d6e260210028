"""Decode an image to 8-bit RGB, as people see it: upright, and on white where it is transparent."""

from typing import TYPE_CHECKING, Any

import numpy as np

from vxlab.experiments.images.opened import has_16_bits, open_image
from vxlab.experiments.images.source import ImageSource

if TYPE_CHECKING:
    from PIL import Image, ImageFile

_ORIENTATION = 0x0112  # EXIF's tag, which is TIFF's
_BITS, _MEANING, _WHITE_IS_ZERO = 258, 262, 0  # TIFF's tags


def decode_image(source: ImageSource) -> "Image.Image":
    """Return an image in mode RGB.

    It is turned as its EXIF says. Grey becomes three equal channels, of 16 bits value / 257; CMYK is converted without
    a colour profile, as profiles are not looked at; transparent pixels show white behind them; of an animation or a
    file with several pages it is the first one. Safe to call in threads.

    Raises:
        VxlabError: it cannot be read whole, has more pixels than are read, or its numbers have no known scale. The
            message names it.
    """
    from PIL import Image

    with open_image(source) as image:
        image.load()
        upright = _turned(image)
        if has_16_bits(image):
            return _from_16_bits(upright, image)
        if upright.has_transparency_data:
            layered = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
        return upright.convert("RGB")


def _turned(image: "ImageFile.ImageFile") -> "Image.Image":
    """Return an image upright. EXIF that cannot be read turns nothing, as in every viewer."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # as many kinds of error as of damage
        turn = None
    return image if turn is None else image.transpose(turn)


def _from_16_bits(image: "Image.Image", opened: "ImageFile.ImageFile") -> "Image.Image":
    """Return grey of 16 bits (of a TIFF also 12) as RGB, by its whole range."""
    from PIL import Image

    tags: Any = getattr(opened, "tag_v2", {})
    most = 2 ** tags.get(_BITS, (16,))[0] - 1
    values = np.asarray(image).astype(np.float64)
    clear = opened.info.get("transparency")
    if tags.get(_MEANING) == _WHITE_IS_ZERO:
        values = most - values
    grey = np.clip(np.rint(values * 255 / most), 0, 255).astype(np.uint8)
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")
