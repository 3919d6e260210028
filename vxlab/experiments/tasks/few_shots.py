"""A few training rows of each class: which of them are drawn is the largest luck of few-shot learning."""

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Labels
from vxlab.experiments.tasks.splits import draw_shots
from vxlab.words import number_of


def few_shots(
    name: str, train: pd.DataFrame, labels: Labels, shots: int, draw: int, what: str = "texts"
) -> tuple[pd.DataFrame, tuple[str, ...], float]:
    """Return the training rows of one draw, what the user should know of it, and what share of a class it takes.

    The share is the mean over the classes: how far the scores of two draws go together, for the rows that they share.
    Classes without a training row give none, as they give none to training on all rows.

    Args:
        name: of the task, in the words of an error.
        train: the training split, from which is drawn.
        labels: of the task; classes.
        shots: rows of each class.
        draw: the seed.
        what: the rows hold: texts, or images.

    Raises:
        VxlabError: the task has no classes; a class has fewer rows, and some; every class has just as many and ``draw``
            is not 0, so that it would be taken for another sample and is not.
    """
    if not labels.names:
        raise VxlabError(f"shots={shots} are of each class, and {name} has none; take train_examples")
    ids = train["label"].to_numpy()
    found, counts = np.unique(ids, return_counts=True)
    least = int(counts.argmin())
    if counts[least] < shots:
        raise VxlabError(
            f"shots={shots}: {labels.names[found[least]]!r:.60}, a class of {name}, has "
            f"{number_of(int(counts[least]), 'training row')} beside those of validation and test; choose "
            f"{counts[least]} or fewer, or add rows"
        )
    if draw and counts.max() == shots:
        raise VxlabError(
            f"draw={draw}: every class of {name} has {shots} training rows and no more, so that all draws of "
            f"shots={shots} are the same; leave draw out, or choose fewer shots; of a sweep, put draw=0 into its "
            "settings: its intervals then cover seeds alone"
        )
    drawn = train.iloc[draw_shots(ids, shots, draw)]
    told = (*_tell_shared(shots * len(counts) / len(ids)), *_tell_copies(drawn, what))
    return drawn, told, float(np.mean(shots / counts))


def check_shots(shots: int | None, draw: int, train_examples: int | None) -> None:
    """Refuse shots and a draw that do not fit, or two numbers of rows to train on.

    Raises:
        VxlabError: naming both.
    """
    if shots is not None and shots < 1:
        raise VxlabError(f"shots={shots} is not a positive whole number; choose 1 or more")
    if not 0 <= draw < 2**32:
        raise VxlabError(f"draw={draw} is not a whole number from 0 to 2**32 - 1")
    if draw and shots is None:
        raise VxlabError(f"draw={draw} is the seed by which shots are drawn, and shots is None; name shots")
    if shots is not None and train_examples is not None:
        raise VxlabError(
            f"shots={shots} and train_examples={train_examples} both say how many rows are trained on; leave one out"
        )


def _tell_shared(share: float) -> tuple[str, ...]:
    if not 0.5 < share < 1:
        return ()
    told = f"a draw takes {share:.0%} of the training rows".replace("%", " %")
    return (f"{told}, so that draws share rows, and differ less than fresh ones would",)


def _tell_copies(drawn: pd.DataFrame, what: str) -> tuple[str, ...]:
    """Say how many of the drawn rows show what another one of their class shows."""
    same = [column for column in ("image", "text", "text_pair", "label") if column in drawn]
    again = int(drawn.duplicated(same).sum())
    if not again:
        return ()
    return (f"{number_of(again, 'shot')} with the {what} of others, so that a class has fewer than it seems",)
