"""A few training rows of each class: which of them are drawn is the largest luck of few-shot learning."""

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Labels
from vxlab.experiments.tasks.splits import draw_shots


def few_shots(
    name: str, train: pd.DataFrame, labels: Labels, shots: int, draw: int
) -> tuple[pd.DataFrame, tuple[str, ...], float]:
    """Return the training rows of one draw, what the user should know of it, and what share of a class it takes.

    The share is the mean over the classes: how far the scores of two draws go together, for the rows that they share.

    Args:
        name: of the task, in the words of an error.
        train: the training split, from which is drawn.
        labels: of the task; classes.
        shots: rows of each class.
        draw: the seed.

    Raises:
        VxlabError: the task has no classes; a class has fewer rows; every class has just as many and ``draw`` is not 0,
            so that it would be taken for another sample and is not.
    """
    if not labels.names:
        raise VxlabError(f"shots={shots} are of each class, and {name} has none; take train_examples")
    if shots < 1:
        raise VxlabError(f"shots={shots} is not a positive whole number; choose 1 or more")
    ids = train["label"].to_numpy()
    counts = np.bincount(ids, minlength=len(labels.names))
    least = int(counts.argmin())
    if counts[least] < shots:
        raise VxlabError(
            f"shots={shots}: {labels.names[least]!r:.60}, a class of {name}, has {counts[least]} training rows; choose "
            f"{counts[least]} or fewer, or add rows"
        )
    if draw and counts.max() == shots:
        raise VxlabError(
            f"draw={draw}: every class of {name} has {shots} training rows and no more, so that all draws of "
            f"shots={shots} are the same; leave draw out, or choose fewer shots; of a sweep, put draw=0 into its "
            "settings: its intervals then cover seeds alone"
        )
    share = shots * len(counts) / len(ids)
    told = f"a draw takes {share:.0%} of the training rows".replace("%", " %")
    notes = (f"{told}, so that draws share rows, and differ less than fresh ones would",) if 0.5 < share < 1 else ()
    return train.iloc[draw_shots(ids, shots, draw)], notes, float(np.mean(shots / counts))
