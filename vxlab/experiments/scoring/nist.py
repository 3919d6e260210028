"""NIST, the n-gram score that weighs a match by how much it tells: of generated texts against several references."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.formulas import Array

ORDER = 5
"""the longest n-grams counted"""
_BETA = math.log(0.5) / math.log(1.5) ** 2  # a text of two thirds of the references' length scores half
_SPLITS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # ASCII's symbols, but for ' - , .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # a point or comma stays within a number alone
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)

Ngram = tuple[str, ...]


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case tokens by the rules of NIST's script mteval-v13a for European languages.

    >>> tokenize("It costs £9.50, near the Crown-Inn.")
    ['it', 'costs', '£9.50', ',', 'near', 'the', 'crown-inn', '.']
    """
    text = f" {text.lower()} "
    for pattern, replacement in _SPLITS:
        text = pattern.sub(replacement, text)
    return text.split()


def item_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Return what each item adds to the corpus' score, ``(items, 2 * ORDER + 1)``: :func:`nist` takes their sums.

    Columns: the information matched by the text's n-grams, n = 1 to 5; how many n-grams it has; the mean length of its
    references in tokens. An n-gram counts as often as in the one reference that has it most. Its information is
    log2(count of its first n - 1 tokens / its own count), counted over all references of the corpus, for single tokens
    log2(all tokens / its count): it belongs to the corpus, so items drawn anew keep it.

    Args:
        texts: one generated text an item; an empty one matches nothing.
        references: the texts that are right for the item, one or more.

    Raises:
        VxlabError: no items, another number of references than of texts, or an item without a reference.

    Source:
        Doddington, Automatic evaluation of machine translation quality using n-gram co-occurrence statistics, 2002.
    """
    if not texts or len(texts) != len(references):
        raise VxlabError(
            f"{len(texts)} texts and references of {len(references)} items; give as many of each, at least one"
        )
    if lacking := [number for number, each in enumerate(references) if isinstance(each, str) or not each]:
        raise VxlabError(f"item {lacking[0]} has no list of references; give each item one reference or more")
    tokens = [[tokenize(each) for each in those] for those in references]
    weights = _information(tokens)
    return np.array([_item(tokenize(text), those, weights) for text, those in zip(texts, tokens, strict=True)])


def nist(statistics: Array) -> float:
    """Return the score of a corpus, 0 or more, from its items' :func:`item_statistics` (or of any sample of them).

    The sum over n of (information matched / n-grams of the texts), times exp(β·ln²(min(1, length / references'
    length))) with β = ln 0.5 / ln² 1.5.

    >>> round(nist(item_statistics(["a b", "c"], [["a b"], ["d", "c"]])), 4)
    2.0
    """
    sums = statistics.sum(axis=0)
    matched, counts, length = sums[:ORDER], sums[ORDER:-1], sums[-1]
    if counts[0] == 0:
        return 0.0
    ratio = min(1.0, counts[0] / length) if length else 1.0
    return float((matched / np.maximum(counts, 1)).sum() * math.exp(_BETA * math.log(ratio) ** 2))


def _information(references: Sequence[Sequence[Sequence[str]]]) -> dict[Ngram, float]:
    counts: Counter[Ngram] = Counter()
    for those in references:
        for each in those:
            counts.update(_ngrams(each))
    words = sum(count for ngram, count in counts.items() if len(ngram) == 1)
    return {ngram: math.log2((counts[ngram[:-1]] or words) / count) for ngram, count in counts.items()}


def _item(text: Sequence[str], references: Sequence[Sequence[str]], weights: dict[Ngram, float]) -> list[float]:
    most: Counter[Ngram] = Counter()
    for each in references:
        most |= _ngrams(each)
    matched = np.zeros(ORDER)
    for ngram, count in (_ngrams(text) & most).items():
        matched[len(ngram) - 1] += count * weights[ngram]
    counts = [max(len(text) - n, 0) for n in range(ORDER)]
    return [*matched, *counts, sum(map(len, references)) / len(references)]


def _ngrams(tokens: Sequence[str]) -> Counter[Ngram]:
    return Counter(tuple(tokens[at : at + n]) for n in range(1, ORDER + 1) for at in range(len(tokens) - n + 1))
