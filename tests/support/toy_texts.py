"""Corpora of made-up sentences, and models of known quality that write them."""

from collections.abc import Sequence

import numpy as np

_SENTENCES = """
The Punter is a cheap , family-friendly pub near river café in city centre and serves £9.50 food . it has
an average rating of 5 out stars you can eat drink there by with no not
"""
WORDS = _SENTENCES.split()


def write_references(random: np.random.Generator, items: int, most: int = 4) -> list[list[str]]:
    """Return of each item one reference or more: a sentence, and others that share most of its words."""
    sentences = [random.choice(WORDS, size=random.integers(5, 16)).tolist() for _ in range(items)]
    return [[_misspeak(random, sentence, 0.2 * other) for other in range(random.integers(1, most + 1))]
            for sentence in sentences]  # fmt: skip


def write_texts(random: np.random.Generator, references: Sequence[Sequence[str]], wrong: float) -> list[str]:
    """Return a model's texts: first references, with that share of their words put wrong, on hard items more."""
    ease = random.beta(2, 2, len(references))
    return [_misspeak(random, those[0].split(), 2 * wrong * each) for those, each in zip(references, ease, strict=True)]


def _misspeak(random: np.random.Generator, words: Sequence[str], share: float) -> str:
    drawn = [(word, random.random()) for word in words]
    told = [str(random.choice(WORDS)) if luck < share else word for word, luck in drawn]
    return " ".join(told[: len(told) - int(random.random() < share)])
