"""The statistics that a run keeps of its choices among answers: one row an item, of which every metric follows."""

from typing import NamedTuple

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.formulas import Array
from vxlab.experiments.scoring.text_formulas import CHOICE_METRICS, COLUMNS, WIDTH


class Choices(NamedTuple):
    """What a model chose of the answers to each item."""

    statistics: Array
    """(items, ``WIDTH``) of float64, what each item adds to every metric; NaN in columns of other metrics"""
    chosen: Array
    """(items,) the place of the likeliest answer among the item's, from 0"""


def choice_statistics(log_likelihoods: Array, characters: Array, right: Array, item: Array) -> Choices:
    """Return a multiple-choice run's predictions: of each item, what it adds to every metric of choices.

    ``acc`` counts an item whose right answer has the largest Σ log p of its tokens, ``acc_norm`` the largest
    Σ log p / characters; of equal ones the first is chosen. ``log_likelihood`` is of the right answer's tokens.

    Args:
        log_likelihoods: (answers, 2), the sum over an answer's tokens of their log-probabilities, in nats, and how many
            it has.
        characters: (answers,) of each answer, without what stands before it.
        right: (answers,) of bool; one of an item's is.
        item: (answers,) the item, from 0; items, and the answers of each, come in their order.

    Raises:
        VxlabError: an item with fewer than two answers, or not with one right answer, or of an empty answer.

    Source:
        Gao et al., lm-evaluation-harness 0.4.13, ``ConfigurableTask.process_results``.

    >>> found = choice_statistics(np.array([[-4.0, 2], [-3.0, 2]]), np.array([9, 3]), np.array([True, False]), [0, 0])
    >>> found.chosen.tolist(), found.statistics[0, COLUMNS["acc"]].tolist(), found.statistics[0, COLUMNS["acc_norm"]]
    ([1], [0.0, 1.0], array([1., 1.]))
    """
    sums, characters, right, item = map(np.asarray, (log_likelihoods, characters, right, item))
    _require(characters, right, item)
    first = np.flatnonzero(np.diff(item, prepend=-1))
    statistics = np.full((len(first), WIDTH), np.nan)
    statistics[:, COLUMNS["log_likelihood"]] = sums[right]
    broken = np.isnan(np.add.reduceat(sums[:, 0], first))
    likeliest = _likeliest(sums[:, 0], item, first)
    for name, chosen in (("acc", likeliest), ("acc_norm", _likeliest(sums[:, 0] / characters, item, first))):
        statistics[:, COLUMNS[name]] = np.column_stack([np.where(broken, np.nan, right[chosen]), np.ones(len(first))])
    return Choices(statistics, likeliest - first)


def place_choices(log_likelihoods: Array, hits: Array) -> Array:
    """Return the statistics of choices that were made without a model.

    Args:
        log_likelihoods: (items, 2) of the right answers, as in :func:`choice_statistics`.
        hits: (items,) whether the choice is right.
    """
    statistics = np.full((len(hits), WIDTH), np.nan)
    statistics[:, COLUMNS["log_likelihood"]] = log_likelihoods
    for name in CHOICE_METRICS:
        statistics[:, COLUMNS[name]] = np.column_stack([hits, np.ones(len(hits))])
    return statistics


def _likeliest(scores: Array, item: Array, first: Array) -> Array:
    """Return (items,) the row of each item's largest score, the first of equal ones."""
    return np.asarray(np.lexsort((-scores, item))[first])


def _require(characters: Array, right: Array, item: Array) -> None:
    if not len(item) or (np.diff(item, prepend=0) < 0).any() or (np.diff(item, prepend=-1) > 1).any():
        raise VxlabError(f"item={item.tolist()!r:.60} does not number the items from 0, one after the other")
    for wrong, what in (
        (np.bincount(item) < 2, "fewer than two answers"),
        (np.bincount(item, right) != 1, "not one right answer"),
        (np.bincount(item, characters == 0) > 0, "an empty answer"),
    ):
        if wrong.any():
            item_number = int(np.flatnonzero(wrong)[0])
            raise VxlabError(f"item {item_number} has {what}; give each two answers or more, one of them right")
