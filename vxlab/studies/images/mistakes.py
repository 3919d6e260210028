"""Test images that a candidate took for another class, to be looked at."""

import numpy as np
import pandas as pd

from vxlab.experiments.images import decode_image
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import find_tested_task, reported_runs
from vxlab.studies.images.thumbnails import data_uri

_COLUMNS = ["true", "predicted", "item", "image", "wrong", "runs", "others"]


def mistaken_images(result: Comparison, candidate: str, pairs: pd.DataFrame, each: int = 6) -> pd.DataFrame:
    """Return test images of some pairs of classes that a candidate took for the wrong one, in most of its runs first.

    Columns: ``true`` and ``predicted``, names of classes; ``item``, the image's place in the test split; ``image``, a
    PNG as a ``data:`` address; ``wrong``, how many of the candidate's ``runs`` reported runs took it for that class;
    ``others``, how many of the other candidates did in at least half of theirs. Empty where the images that were tested
    are not to be had any more.

    Args:
        result: of a fair sweep.
        candidate: one of its.
        pairs: from :func:`confused_pairs`.
        each: images of a pair, at the most.
    """
    task, runs = find_tested_task(result), reported_runs(result)
    if task is None or candidate not in runs.predictions:
        return pd.DataFrame(columns=_COLUMNS)
    answers = {name: np.stack([logits.argmax(1) for logits in own.values()]) for name, own in runs.predictions.items()}
    ids = {name: number for number, name in enumerate(task.label_names)}
    images, rows = task.splits["test"]["image"], []
    for pair in pairs.to_dict("records"):
        true, predicted = ids[pair["true"]], ids[pair["predicted"]]
        wrong = {name: (own == predicted).sum(0) for name, own in answers.items()}
        mistaken = np.flatnonzero((runs.labels == true) & (wrong[candidate] > 0))
        for item in mistaken[np.argsort(-wrong[candidate][mistaken], kind="stable")][:each]:
            others = [name for name in answers if name != candidate and 2 * wrong[name][item] >= len(answers[name])]
            image = data_uri(decode_image(task.images[images[int(item)]]))
            counts = int(wrong[candidate][item]), len(answers[candidate]), len(others)
            rows.append((pair["true"], pair["predicted"], int(item), image, *counts))
    return pd.DataFrame(rows, columns=_COLUMNS)
