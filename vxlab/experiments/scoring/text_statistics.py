"""The statistics that a run keeps of its generated texts: one row an item, from which every text metric is computed."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vxlab.checks import require_known
from vxlab.errors import VxlabError
from vxlab.experiments.scoring.answer_rules import answer_statistics
from vxlab.experiments.scoring.bleu import bleu_statistics
from vxlab.experiments.scoring.coco import (
    LeftOutError,
    cider_statistics,
    meteor_statistics,
    rouge_statistics,
    split_captions,
)
from vxlab.experiments.scoring.formulas import Array
from vxlab.experiments.scoring.metrics import in_words
from vxlab.experiments.scoring.nist import nist_statistics
from vxlab.experiments.scoring.text_formulas import COLUMNS, EXTRACTED_METRICS, TEXT_METRICS, WIDTH
from vxlab.warn import warn_once
from vxlab.words import list_in_words

_Texts = Sequence[str]
_References = Sequence[Sequence[str]]
_Maker = Callable[[_Texts, _References], Array]
_Found = TypeVar("_Found")


def text_statistics(
    metrics: Collection[str], log_likelihoods: Array, texts: Sequence[str], references: Sequence[Sequence[str]]
) -> Array:
    """Return a generation run's predictions: of each item, what it adds to every metric of texts.

    Any rows of it, such as those of a bootstrap's resample, are scored by
    :func:`vxlab.experiments.scoring.metrics.compute`. NIST's information and CIDEr's document frequencies are those of
    all references given here, so give a whole split, never a part of it.

    A metric whose library or whose Java is not there is left out, and a warning says so once: its columns are NaN, as
    are those of metrics that were not asked for, and so are its score and interval.

    Args:
        metrics: names among ``TEXT_METRICS``; the log-likelihood's columns are always there.
        log_likelihoods: (items, 2), the sum over the right answer's tokens of their log-probabilities, in nats, and how
            many tokens it has.
        texts: one generated text an item; it may be empty.
        references: of each item, the texts that are right, one or more.

    Returns:
        (items, ``WIDTH``) of float64, the log-likelihood's two columns first.

    Raises:
        VxlabError: an unknown metric, no items, arguments of different lengths, an item without a reference, or a
            reference in which a metric's rule finds no answer.

    >>> from vxlab.experiments.scoring.metrics import compute
    >>> found = text_statistics(["exact_match"], np.array([[-6.0, 4], [-2.0, 4]]), ["a", "b "], [["c"], ["a", "b"]])
    >>> compute(["log_likelihood", "exact_match", "bleu"], found, np.arange(2))
    {'log_likelihood': -1.0, 'exact_match': 0.5, 'bleu': nan}
    """
    require_known(metrics, TEXT_METRICS, "unknown metric")
    _require_items(log_likelihoods, texts, references)
    rows = np.full((len(texts), WIDTH), np.nan)
    rows[:, COLUMNS["log_likelihood"]] = log_likelihoods
    _fill(rows, [name for name in _OF_TEXTS if name in metrics], _OF_TEXTS, texts, references)
    of_tokens = [name for name in _OF_TOKENS if name in metrics]
    tokens = _attempt(of_tokens, split_captions, texts, references) if of_tokens else None
    if tokens is not None:
        _fill(rows, of_tokens, _OF_TOKENS, *tokens)
    return rows


def match_statistics(texts: _Texts, references: _References) -> Array:
    """Return of each item whether its text is one of its references but for white space at the ends, and 1."""
    pairs = zip(texts, references, strict=True)
    hits = [text.strip() in {each.strip() for each in those} for text, those in pairs]
    return np.column_stack([hits, np.ones(len(hits))])


_OF_TEXTS: dict[str, _Maker] = {
    "bleu": bleu_statistics,
    "nist": nist_statistics,
    "exact_match": match_statistics,
    **{name: functools.partial(answer_statistics, name) for name in EXTRACTED_METRICS},
}
_OF_TOKENS: dict[str, _Maker] = {
    "meteor": meteor_statistics,
    "rouge_l": rouge_statistics,
    "cider": cider_statistics,
}


def _fill(
    rows: Array,
    names: Sequence[str],
    makers: Mapping[str, _Maker],
    texts: _Texts,
    references: _References,
) -> None:
    for name in names:
        found = _attempt([name], makers[name], texts, references)
        if found is not None:
            rows[:, COLUMNS[name]] = found


def _attempt(
    names: Sequence[str], make: Callable[[_Texts, _References], _Found], texts: _Texts, references: _References
) -> _Found | None:
    """Return what is made for some metrics, or say once why they are left out."""
    try:
        return make(texts, references)
    except LeftOutError as error:
        left = "is left out of the scores" if len(names) == 1 else "are left out of the scores"
        warn_once(f"{list_in_words([in_words(name) for name in names])} {left}: {error}")
        return None


def _require_items(log_likelihoods: Array, texts: _Texts, references: _References) -> None:
    if not len(texts) or len(texts) != len(references):
        raise VxlabError(
            f"{len(texts)} texts and references of {len(references)} items; give as many of each, at least one"
        )
    if lacking := [number for number, each in enumerate(references) if isinstance(each, str) or not each]:
        raise VxlabError(f"item {lacking[0]} has no list of references; give each item one reference or more")
    if np.shape(log_likelihoods) != (len(texts), 2):
        raise VxlabError(
            f"log_likelihoods has the shape {np.shape(log_likelihoods)}; give ({len(texts)}, 2): of each item the sum "
            "of its answer's log-probabilities and its number of tokens"
        )
