"""Turn rows as they were read into images and checked labels."""

from typing import Any

import pandas as pd

from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows import Labels, Reading, infer_labels

_IMAGE_COLUMNS = ("image", "img")


def holds_images(reading: Reading) -> bool:
    """Say whether the training rows hold images."""
    frame = reading.splits["train"].frame
    return "image" in frame and isinstance(frame["image"].iloc[0], ImageSource)


def image_rows(
    reading: Reading, skip_unreadable: bool = False
) -> tuple[dict[str, pd.DataFrame], Labels, tuple[str, ...], dict[str, ImageSource]]:
    """Check every split's images and labels.

    Returns:
        Each split's rows with the columns image (sha256), label (class id) and group (where named), the labels, what
        the user should know, in sentences, and the images by their sha256.
    """
    labels = reading.labels or infer_labels(reading.splits["train"], "label", "classes")[0]
    ids = {name: number for number, name in enumerate(labels.names)}
    frames: dict[str, pd.DataFrame] = {}
    found: dict[str, ImageSource] = {}
    for split, rows in reading.splits.items():
        names = [source.sha256() for source in rows.frame["image"]]
        found |= dict(zip(names, rows.frame["image"], strict=True))
        content: dict[str, Any] = {"image": names, "label": [ids[str(label)] for label in rows.frame["label"]]}
        frames[split] = pd.DataFrame(content)
    return frames, labels, (), found
