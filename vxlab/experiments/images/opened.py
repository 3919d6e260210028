"""Open an encoded image, and refuse what is none, what is too large and what has no known scale, before decoding it."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vxlab.errors import VxlabError
from vxlab.experiments.images.source import ImageSource
from vxlab.words import first_line

if TYPE_CHECKING:
    from PIL import ImageFile

# No others: Pillow opens vector files too, by a program of their own.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 89_478_485
"""A quarter of a gigabyte as RGB: where Pillow, too, suspects a file that is made to fill the memory."""
MOST_TIMES = 100
"""One side may be so many times the other: processors bring the shorter to a model's side, and the other along."""
_16_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_KNOWN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", *_16_BITS)
_APPLE = (b"ftyphei", b"ftyphev", b"ftypmif", b"ftypmsf")


@contextlib.contextmanager
def open_image(source: ImageSource) -> Iterator["ImageFile.ImageFile"]:
    """Open an image for the time of a block, in which whatever Pillow raises is an error that names the image.

    Raises:
        VxlabError: the file cannot be read, is empty, is no image of :data:`FORMATS`, has more than
            :data:`MOST_PIXELS` or none, is a mere strip, or its numbers have no known scale; or what is done in the
            block fails.
    """
    from PIL import Image, UnidentifiedImageError

    content = source.read()
    if not content:
        raise VxlabError(f"{source.place}: no image, but 0 bytes")
    try:
        with _QUIET, Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(source, image)
            yield image
    except VxlabError:
        raise
    except UnidentifiedImageError as error:
        apple = any(mark in content[:16] for mark in _APPLE)
        told = "HEIC, which is not read; save it as JPEG" if apple else f"none of {', '.join(FORMATS)}, or damaged"
        raise VxlabError(f"{source.place}: no image that can be read ({told})") from error
    except Image.DecompressionBombError as error:
        raise VxlabError(f"{source.place}: {_too_large('far more')}") from error
    except Exception as error:  # what a damaged file may make Pillow raise is not listed anywhere
        raise VxlabError(f"{source.place}: no image that can be read ({first_line(error)})") from error


def has_16_bits(image: "ImageFile.ImageFile") -> bool:
    """Say whether an image is of grey in 16 bits, which Pillow itself would cut at 255."""
    return image.mode in _16_BITS or (image.format == "PPM" and image.mode == "I")  # which it scales to 65535


def _check(source: ImageSource, image: "ImageFile.ImageFile") -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise VxlabError(f"{source.place}: {_too_large(f'{width:,} × {height:,}')}")
    if min(width, height) < 1:
        raise VxlabError(f"{source.place}: an image without pixels, {width} × {height}")
    if max(width, height) > MOST_TIMES * min(width, height):
        raise VxlabError(
            f"{source.place}: {width:,} × {height:,} pixels, one side more than {MOST_TIMES} times the other: enlarged "
            "to a model's size, such a strip would fill the memory; crop it"
        )
    if image.mode not in _KNOWN and not has_16_bits(image):
        raise VxlabError(
            f"{source.place}: pixels of mode {image.mode}, of which it is not known what is black and what white; save "
            "it with 8 or 16 bits, grey or RGB"
        )


def _too_large(size: str) -> str:
    return f"{size} pixels, where {MOST_PIXELS:,} are read at most; make it smaller"


class _Quiet:
    """Keep Pillow's warnings of odd metadata from users while any thread decodes.

    A thread cannot change Python's filters for itself alone, and undoes another's where both do. So the first that
    comes in changes them, and the last that leaves changes them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._kept = warnings.catch_warnings()
                self._kept.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._kept.__exit__(None, None, None)


_QUIET = _Quiet()
