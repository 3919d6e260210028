"""What a model chooses of the answers to each item of a split, and the choice that needs no model."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vxlab.experiments.runs.inputs import Job, Materials
from vxlab.experiments.runs.written import row_likelihoods
from vxlab.experiments.runs.written_trivially import unigram_sums
from vxlab.experiments.scoring import Choices, choice_statistics, place_choices

Array = NDArray[Any]


def gather_choices(job: Job, materials: Materials, split: str, sums: Array) -> Choices:
    """Return the statistics of each item, and the place of the answer that was chosen.

    Args:
        job: the run.
        materials: where its rows are.
        split: of them, but train.
        sums: (rows, 2) from :func:`~vxlab.experiments.runs.written.row_likelihoods`.
    """
    rows = materials.splits(job.spec)[split]
    columns = {name: np.asarray(rows[name]) for name in ("row", "choice", "right", "characters")}
    order = np.lexsort((columns["choice"], columns["row"]))
    row, _, right, characters = (column[order] for column in columns.values())
    return choice_statistics(sums[order], characters, right, row)


def chosen_answers(
    model: nn.Module, job: Job, materials: Materials, split: str, done: Callable[[int], object] = lambda rows: None
) -> tuple[Array, Array, list[str]]:
    """Return (items, columns) statistics, (items,) a number for each item, and the answers chosen by ``acc``.

    Where answers have contexts of their own, which may be all that they differ in, these stand before them.

    Args:
        model, job, materials, split, done: as :func:`~vxlab.experiments.runs.written.row_likelihoods` takes them.
    """
    statistics, chosen = gather_choices(job, materials, split, row_likelihoods(model, job, materials, split, done))
    rows = materials.task(job.spec).splits[split][:]
    places = chosen.tolist()
    texts = [choices[place] for choices, place in zip(rows["choices"], places, strict=True)]
    if "contexts" in rows:
        before = [contexts[place] for contexts, place in zip(rows["contexts"], places, strict=True)]
        texts = [f"{context} {text}" for context, text in zip(before, texts, strict=True)]
    return statistics, identify_choices(rows), texts


def trivial_choices(job: Job, materials: Materials, split: str) -> Array:
    """Return (items, columns) statistics of the answer at the place where the training rows' right ones are most often.

    The log-likelihood is that of the tokens' frequencies in the training rows' right answers.

    Args:
        job: the run.
        materials: where its rows are.
        split: of the validation or test rows.
    """
    task, encoded = materials.task(job.spec), materials.splits(job.spec)[split]
    sums = unigram_sums(job, materials, split, np.asarray(encoded["right"]))
    return place_choices(sums, task.kind.strata(task.splits[split][:]) == task.constant)


def identify_choices(rows: Mapping[str, Sequence[Any]]) -> NDArray[np.int64]:
    """Return (items,) a number for each item: by these, runs on the same rows are known."""
    names = [name for name in ("text", "contexts", "choices", "label") if name in rows]
    texts = (json.dumps(each).encode() for each in zip(*(rows[name] for name in names), strict=True))
    return np.array([int.from_bytes(hashlib.sha256(text).digest()[:8], "little", signed=True) for text in texts])
