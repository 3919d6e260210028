"""Images as small PNG files in a text, which a page holds in itself."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 96
"""Pixels of the longer side, at the most."""


def data_uri(image: "Image.Image", side: int = SIDE) -> str:
    """Return an image as a ``data:`` address of a PNG; one that is larger is made smaller in its own proportions.

    Args:
        image: in mode RGB.
        side: pixels of the longer side, at the most.

    >>> from PIL import Image
    >>> data_uri(Image.new("RGB", (2, 1)))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    shown = image.copy()
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
