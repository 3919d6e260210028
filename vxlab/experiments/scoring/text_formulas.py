"""The metrics of answers in words: where a run keeps their statistics, and each as a function of their sums.

A run keeps one row an item, and a metric of some items is a formula of the sum of their rows. So a bootstrap, which
draws items anew, and a jackknife, which leaves some out, cost a sum each, and no text is looked at again. What a metric
takes from the whole corpus of references (NIST's information, CIDEr's document frequencies) stands in the rows, and
stays as it is when items are drawn anew.
"""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLEU_ORDER, NIST_ORDER = 4, 5
"""the longest n-grams counted"""
_NIST_BETA = math.log(0.5) / math.log(1.5) ** 2  # a text of two thirds of the references' length scores half
_METEOR_ALPHA, _METEOR_BETA, _METEOR_GAMMA = 0.85, 0.2, 0.6  # of version 1.5, for English

Sums = NDArray[Any]


def _ratio(sums: Sums) -> Sums:
    """Return the first column by the second: a mean. NaN of nothing."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] > 0, sums[..., 1], np.nan))


def _bleu(sums: Sums) -> Sums:
    """Return BLEU of matches and totals, n = 1 to 4, the texts' length and that of each one's closest reference.

    min(1, exp(1 - references' length / length))·(Π matches / totals)^¼ (Papineni et al. 2002), 0 where one n matches
    nothing: no smoothing.
    """
    matches, totals = sums[..., :BLEU_ORDER], sums[..., BLEU_ORDER : 2 * BLEU_ORDER]
    length, closest = sums[..., -2], sums[..., -1]
    whole = (matches > 0).all(axis=-1)  # then there are totals and a length, too
    logs = np.log(np.where(matches > 0, matches, 1) / np.maximum(totals, 1))
    shorter = np.minimum(0, 1 - closest / np.where(length > 0, length, 1))
    return np.where(whole, np.exp(shorter + logs.mean(axis=-1)), 0.0)


def _nist(sums: Sums) -> Sums:
    """Return NIST of the information matched and the totals, n = 1 to 5, and the references' mean lengths.

    Σ information / totals, times exp(β·ln²(min(1, length / references' length))), β = ln 0.5 / ln² 1.5 (Doddington
    2002).
    """
    matched, totals, length = sums[..., :NIST_ORDER], sums[..., NIST_ORDER:-1], sums[..., -1]
    words = totals[..., 0]
    share = np.minimum(1, np.where(words > 0, words, 1) / np.where(length > 0, length, 1))
    shorter = np.exp(_NIST_BETA * np.log(np.where(length > 0, share, 1)) ** 2)
    return np.where(words > 0, (matched / np.maximum(totals, 1)).sum(axis=-1) * shorter, 0.0)


def _meteor(sums: Sums) -> Sums:
    """Return METEOR of weighted matches and lengths, texts' and references', chunks, and the mean number of matches.

    (1 - γ·(chunks / matches)^β)·P·R / (α·P + (1 - α)·R) of the precision P and the recall R (Denkowski and Lavie
    2014), 0 where nothing matches.
    """
    of_texts, of_references, text, reference, chunks, matches = np.moveaxis(sums, -1, 0)
    some = (of_texts > 0) & (of_references > 0) & (matches > 0)
    longer = _METEOR_ALPHA * reference / np.where(some, of_references, 1)
    longer += (1 - _METEOR_ALPHA) * text / np.where(some, of_texts, 1)
    broken = _METEOR_GAMMA * (chunks / np.where(some, matches, 1)) ** _METEOR_BETA
    return np.where(some, np.maximum(1 - broken, 0) / np.where(some, longer, 1), 0.0)


CHOICE_METRICS = ("acc", "acc_norm")
"""those of answers that are chosen, by their log-probability or by this per character; the others are of texts"""
EXTRACTED_METRICS = (
    "gsm8k",
    "gsm8k_strict",
    "flexible_number",
    "hash_number",
    "last_number",
    "last_number_strict",
    "math",
    "math_strict",
    "answer_word",
    "answer_letter",
    "answer_letter_strict",
)
"""those of answers that are extracted from texts"""
SHARES = ("exact_match", *CHOICE_METRICS, *EXTRACTED_METRICS)
"""those of items that are right or wrong: means of 0 and 1"""
_OF_SUMS: dict[str, tuple[int, Callable[[Sums], Sums]]] = {
    "log_likelihood": (2, _ratio),
    "bleu": (2 * BLEU_ORDER + 2, _bleu),
    "nist": (2 * NIST_ORDER + 1, _nist),
    "meteor": (6, _meteor),
    "rouge_l": (2, _ratio),
    "cider": (2, _ratio),
    **dict.fromkeys(SHARES, (2, _ratio)),
}  # new ones come last: the columns of runs that are kept stay where they are
OF_SUMS: dict[str, Callable[[Sums], Sums]] = {name: formula for name, (_, formula) in _OF_SUMS.items()}
"""(..., columns) sums over items to (...) scores"""
TEXT_METRICS = tuple(name for name in OF_SUMS if name not in CHOICE_METRICS)
"""in the order of their columns"""
_ENDS = tuple(accumulate(width for width, _ in _OF_SUMS.values()))
UNBOUNDED = ("log_likelihood", "nist", "cider")
"""those that do not lie between 0 and 1"""
COLUMNS = {name: slice(end - width, end) for (name, (width, _)), end in zip(_OF_SUMS.items(), _ENDS, strict=True)}
"""where a row keeps a metric's statistics; the log-likelihood's come first, and may be all there is"""
WIDTH = _ENDS[-1]
"""of a row that keeps all"""
