"""NIST, the n-gram score that weighs a match by how much it tells: of generated texts against several references."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vxlab.experiments.scoring.text_formulas import NIST_ORDER, Sums

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


def nist_statistics(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Sums:
    """Return what each item adds to the corpus' score, ``(items, 2 * NIST_ORDER + 1)``.

    Columns: the information matched by the text's n-grams, n = 1 to 5; how many n-grams it has; the mean length of its
    references in tokens. An n-gram counts as often as in the one reference that has it most. Its information is
    log2(count of its first n - 1 tokens / its own count), counted over all references of the corpus, for single tokens
    log2(all tokens / its count): it belongs to the corpus, so items drawn anew keep it.

    Args:
        texts: one generated text an item; an empty one matches nothing.
        references: the texts that are right for the item, one or more.

    Source:
        Doddington, Automatic evaluation of machine translation quality using n-gram co-occurrence statistics, 2002.
    """
    tokens = [[tokenize(each) for each in those] for those in references]
    weights = _information(tokens)
    return np.array([_item(tokenize(text), those, weights) for text, those in zip(texts, tokens, strict=True)])


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
    matched = np.zeros(NIST_ORDER)
    for ngram, count in (_ngrams(text) & most).items():
        matched[len(ngram) - 1] += count * weights[ngram]
    counts = [max(len(text) - n, 0) for n in range(NIST_ORDER)]
    return [*matched, *counts, sum(map(len, references)) / len(references)]


def _ngrams(tokens: Sequence[str]) -> Counter[Ngram]:
    return Counter(tuple(tokens[at : at + n]) for n in range(1, NIST_ORDER + 1) for at in range(len(tokens) - n + 1))
