"""Which classes are taken for which others."""

import numpy as np
import pandas as pd

from vxlab.experiments.sweeps import Comparison
from vxlab.studies import reported_runs

_COLUMNS = ["candidate", "true", "predicted", "answers", "asked", "share", "runs"]


def class_confusions(result: Comparison) -> pd.DataFrame:
    """Return one row a candidate and two classes, the same one included: how often the first is taken for the second.

    Columns: ``candidate``; ``true`` and ``predicted``, names of classes; ``answers``, how many there were, of the
    ``asked`` that its ``runs`` reported runs gave to test images of the true class; ``share``, answers / asked, NaN
    where the test split has no image of that class.

    Args:
        result: of a fair sweep of a task with classes.
    """
    runs = reported_runs(result)
    names = next(iter(result.records.values())).task["label_names"]
    asked = np.bincount(runs.labels, minlength=len(names))
    rows = []
    for candidate, own in runs.predictions.items():
        counts = np.zeros((len(names), len(names)), dtype=int)
        for logits in own.values():
            np.add.at(counts, (runs.labels, logits.argmax(1)), 1)
        for i, true in enumerate(names):
            total = int(asked[i]) * len(own)
            for j, predicted in enumerate(names):
                share = counts[i, j] / total if total else np.nan
                rows.append((candidate, true, predicted, int(counts[i, j]), total, share, len(own)))
    return pd.DataFrame(rows, columns=_COLUMNS)


def confused_pairs(confusions: pd.DataFrame, candidate: str, most: int = 20) -> pd.DataFrame:
    """Return the pairs of a class and another it is taken for, by how often, most often first; none that never are.

    Args:
        confusions: from :func:`class_confusions`.
        candidate: one of its.
        most: how many pairs.
    """
    own = confusions[(confusions["candidate"] == candidate) & (confusions["true"] != confusions["predicted"])]
    own = own[own["answers"] > 0].sort_values(["answers", "share"], ascending=False, kind="stable")
    return own.head(most).reset_index(drop=True)
