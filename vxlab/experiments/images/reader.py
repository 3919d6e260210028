"""Read images for a model, each decoded once: what is kept are the pixels of the square that the model reads."""

import hashlib
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
import torch
from torch import Tensor

from vxlab.errors import VxlabError
from vxlab.experiments.images.decode import decode_image
from vxlab.experiments.images.preparation import Pixels, Preparation
from vxlab.experiments.images.source import ImageSource
from vxlab.progress import progress_bar

_AT_ONCE = 256
"""Images decoded before they are written."""
_LONG = 2000
"""Images, from which decoding shows how far it is."""


class ImageReader:
    """Decode images once, and make batches of them.

    Their pixels lie in a temporary file without a name, which the operating system keeps in memory while there is room
    and takes away with the process.

    Args:
        preparation: what brings images to a model.
        sources: images by their sha256.
    """

    def __init__(self, preparation: Preparation, sources: Mapping[str, ImageSource]) -> None:
        self.preparation, self.sources = preparation, sources
        self._numbers: dict[str, int] = {}
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this does
        weakref.finalize(self, self._file.close)
        self._kept: Pixels = np.empty((0, 3, preparation.side, preparation.side), dtype=np.uint8)

    def keep(self, images: Sequence[str]) -> list[int]:
        """Decode those images that are not kept yet, and return all their numbers.

        Args:
            images: sha256s of sources.

        Raises:
            VxlabError: an image cannot be read, or has changed since its task was loaded; or the temporary folder's
                disk is full.
        """
        lacking = [name for name in dict.fromkeys(images) if name not in self._numbers]
        if lacking:
            self._write(lacking)
            self._numbers |= {name: len(self._numbers) + place for place, name in enumerate(lacking)}
        return [self._numbers[name] for name in images]

    def pixels(self, numbers: Sequence[int]) -> Tensor:
        """Return kept images as they are shown, (rows, 3, side, side) in uint8."""
        return torch.from_numpy(np.stack([self._kept[number] for number in numbers]))

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Return kept images as the model reads them, (rows, 3, side, side) in float32."""
        return self.preparation.normalise(self.pixels(numbers))

    def _write(self, names: Sequence[str]) -> None:
        try:
            self._file.seek(self._kept.nbytes)  # what an earlier failure left behind is written over
            for pixels in self._decoded(names):
                self._file.write(pixels.tobytes())
            self._file.flush()
        except OSError as error:
            raise VxlabError(
                f"{tempfile.gettempdir()} cannot hold the pixels of {len(names)} images ({error.strerror or error}): "
                "make room, or set TMPDIR to a folder on another disk, or choose a lower resolution"
            ) from error
        shape = (len(self._numbers) + len(names), *self._kept.shape[1:])
        self._kept = np.memmap(self._file, dtype=np.uint8, mode="r", shape=shape)

    def _decoded(self, names: Sequence[str]) -> Iterable[Pixels]:
        """Yield the pixels of images in their order, decoded on all cores."""
        with (
            ThreadPoolExecutor() as pool,
            progress_bar(len(names), "decode images", "image", shown=len(names) >= _LONG) as bar,
        ):
            for start in range(0, len(names), _AT_ONCE):
                for pixels in pool.map(self._read, names[start : start + _AT_ONCE]):
                    yield pixels
                    bar.update()

    def _read(self, name: str) -> Pixels:
        source = self.sources[name]
        content = source.read()
        if hashlib.sha256(content).hexdigest() != name:  # else a run would be of other images than its key says
            raise VxlabError(f"{source.place}: another file than when its task was loaded; load the task again")
        return self.preparation.pixels(decode_image(ImageSource(source.place, content=content)))
