"""Decode an image to 8-bit RGB, as people see it: upright, and on white where it is transparent."""

import io
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError
from vxlab.experiments.images.source import ImageSource
from vxlab.words import first_line

if TYPE_CHECKING:
    from PIL import Image


def decode_image(source: ImageSource) -> "Image.Image":
    """Return an image in mode RGB.

    Raises:
        VxlabError: it cannot be read. The message names it.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(source.read())) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                layered = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
            return upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VxlabError(f"{source.place}: no image that can be read ({first_line(error)})") from error
