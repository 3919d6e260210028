"""Read images that lie in one folder a class."""

from pathlib import Path

import pandas as pd

from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows.files import SPLIT_NAMES, Rows

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def holds_image_folders(path: Path) -> bool:
    """Say whether a folder holds images, in one folder a class, or such folders by split."""
    return path.is_dir() and any(next(path.rglob(f"*{suffix}"), None) for suffix in IMAGE_SUFFIXES)


def read_image_folders(path: Path) -> dict[str, Rows]:
    """Read the images of a folder by split."""
    splits = {SPLIT_NAMES[each.name]: each for each in sorted(path.iterdir()) if each.name in SPLIT_NAMES}
    return {split: _read(folder) for split, folder in (splits or {"train": path}).items()}


def _read(folder: Path) -> Rows:
    files = [file for each in sorted(folder.iterdir()) if each.is_dir() for file in sorted(each.iterdir())]
    frame = pd.DataFrame(
        {
            "image": [ImageSource(str(file.relative_to(folder.parent)), file) for file in files],
            "label": [file.parent.name for file in files],
        }
    )
    return Rows(frame.set_axis(range(1, len(frame) + 1)), folder.name, "image")
