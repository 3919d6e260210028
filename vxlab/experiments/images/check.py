"""Find the images that cannot be read before anything is trained: each is read to its end, once in a process."""

import hashlib
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vxlab.errors import VxlabError
from vxlab.experiments.images.opened import open_image
from vxlab.experiments.images.source import ImageSource
from vxlab.progress import progress_bar

_LONG = 2000
"""Images, from which checking shows how far it is."""


@dataclass(frozen=True)
class ImageCheck:
    """What was found of an image.

    Args:
        sha256: of its bytes, or "" where these cannot be read.
        frames: how many images its file holds, one after the other.
        problem: why it cannot be read, "" where it can.
    """

    sha256: str
    frames: int = 1
    problem: str = ""


_checked: dict[Hashable, ImageCheck] = {}
"""By the state of a source: a sweep loads its task for every run."""


def inspect_images(sources: Sequence[ImageSource]) -> list[ImageCheck]:
    """Read images to their ends, on all cores. What was found once is known until the file changes."""
    states = [source.state for source in sources]
    new = [place for place, state in enumerate(states) if state is None or state not in _checked]
    found = dict(zip(new, _look_at_all([sources[place] for place in new]), strict=True))
    # What could not be read at all may be there at the next look: a right or a network that lacks changes no file.
    known = {place: check for place, check in found.items() if states[place] is not None and check.sha256}
    _checked.update({states[place]: check for place, check in known.items()})
    return [found[place] if place in found else _checked[state] for place, state in enumerate(states)]


def _look_at_all(sources: Sequence[ImageSource]) -> list[ImageCheck]:
    with (
        ThreadPoolExecutor() as pool,
        progress_bar(len(sources), "check images", "image", shown=len(sources) > _LONG) as bar,
    ):
        found = []
        for each in pool.map(_look_at, sources):
            found.append(each)
            bar.update()
    return found


def _look_at(source: ImageSource) -> ImageCheck:
    try:
        content = source.read()
        sha256 = hashlib.sha256(content).hexdigest()
    except VxlabError as error:
        return ImageCheck("", problem=str(error))
    try:
        return ImageCheck(sha256, _read_to_the_end(ImageSource(source.place, content=content)))
    except VxlabError as error:
        return ImageCheck(sha256, problem=str(error))


def _read_to_the_end(source: ImageSource) -> int:
    """Decode an image, a JPEG at an eighth of its size, which reads as much of its file; return its frames."""
    with open_image(source) as image:
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # phones add depth, or a preview
        image.draft(None, (1, 1))
        image.load()
        return frames
