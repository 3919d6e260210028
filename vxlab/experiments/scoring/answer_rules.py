"""Answers that are extracted from what a model wrote: every rule by its metric's name, the published beside a stricter.

============================  =================================================  ======================
metric                        published by                                       stricter
============================  =================================================  ======================
``gsm8k``                     MetaMath, for GSM8K                                ``gsm8k_strict``
``flexible_number``           lm-eval, for GSM8K: flexible-extract               ``hash_number``
``last_number``               LLM-Adapters, for its arithmetic sets              ``last_number_strict``
``math``                      Hendrycks et al. and MetaMath, for MATH            ``math_strict``
``answer_word``               LLM-Adapters, for its commonsense sets             ``exact_match``
``answer_letter``             LLM-Adapters, for AQuA                             ``answer_letter_strict``
============================  =================================================  ======================

What is right by a rule that ends in ``strict`` is right by the published one, too. ``hash_number`` is lm-eval's own
strict match, which reads another place of the text, and may be right where the flexible one is wrong.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments.scoring.choice_answers import (
    find_letter,
    find_word,
    is_letter,
    is_letter_strictly,
    is_word,
    read_letter,
    read_word,
)
from vxlab.experiments.scoring.formulas import Array
from vxlab.experiments.scoring.math_answers import find_math, is_math, is_math_strictly, read_math
from vxlab.experiments.scoring.number_answers import (
    find_flexible,
    find_hashed,
    find_last,
    find_metamath,
    is_flexible,
    is_hashed,
    is_last,
    is_last_strictly,
    is_metamath,
    is_metamath_strictly,
    read_decimal,
    read_shortest,
    read_whole,
)


class AnswerRule(NamedTuple):
    """How an answer is read in a reference, and when a text is right."""

    read: Callable[[str], str | None]
    """a reference's answer; None where it has none"""
    find: Callable[[str, str], str | None]
    """what it reads in a text, which may be wrong; given the reference's answer, too"""
    is_right: Callable[[str, str], bool]
    """of a text and the reference's answer"""
    wanted: str
    """of a reference, in words"""


_WHOLE = "a whole number, alone or at the end after '#### ' or 'The answer is: '"
_SHORTEST = "a number without needless zeros, alone or at the end after '#### ' or 'The answer is: '"
_NUMBER = "a number, alone or at the end after '#### ' or 'The answer is: '"
_LATEX = r"a formula or a word, alone, in \boxed{} or at the end after 'The answer is: '"
_WORD = "'true', 'false', or a choice such as 'answer3', alone or at the end"
_LETTER = "a letter from A to E, alone or at the end after 'answer is'"


def _of_text(find: Callable[[str], str | None]) -> Callable[[str, str], str | None]:
    """Return a rule's reading that needs no right answer to know what to look for."""
    return lambda text, right: find(text)


ANSWER_RULES: dict[str, AnswerRule] = {
    "gsm8k": AnswerRule(read_whole, _of_text(find_metamath), is_metamath, _WHOLE),
    "gsm8k_strict": AnswerRule(read_whole, _of_text(find_metamath), is_metamath_strictly, _WHOLE),
    "flexible_number": AnswerRule(read_shortest, _of_text(find_flexible), is_flexible, _SHORTEST),
    "hash_number": AnswerRule(read_shortest, _of_text(find_hashed), is_hashed, _SHORTEST),
    "last_number": AnswerRule(read_decimal, _of_text(find_last), is_last, _NUMBER),
    "last_number_strict": AnswerRule(read_decimal, _of_text(find_last), is_last_strictly, _NUMBER),
    "math": AnswerRule(read_math, _of_text(find_math), is_math, _LATEX),
    "math_strict": AnswerRule(read_math, _of_text(find_math), is_math_strictly, _LATEX),
    "answer_word": AnswerRule(read_word, find_word, is_word, _WORD),
    "answer_letter": AnswerRule(read_letter, _of_text(find_letter), is_letter, _LETTER),
    "answer_letter_strict": AnswerRule(read_letter, _of_text(find_letter), is_letter_strictly, _LETTER),
}
"""by the metric's name"""


def answer_statistics(metric: str, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Return of each item whether its text gives the answer of one of its references, by a metric's rule, and 1.

    Raises:
        VxlabError: a reference in which the rule finds no answer.

    >>> answer_statistics("gsm8k", ["The answer is: 18", "It is 18."], [["#### 18"], ["#### 18"]])
    array([[1., 1.],
           [0., 1.]])
    """
    pairs = zip(texts, read_answers(metric, references), strict=True)
    hits = [any(ANSWER_RULES[metric].is_right(text, right) for right in answers) for text, answers in pairs]
    return np.column_stack([hits, np.ones(len(hits))])


def extract_answer(metric: str, text: str, reference: str) -> str | None:
    """Return what a metric's rule reads in a text as its answer, right or wrong; None where it reads none.

    Args:
        metric: a key of ``ANSWER_RULES``.
        text: that was written.
        reference: which the rule takes the kind of answer from, of those that know several.

    Raises:
        VxlabError: a reference in which the rule finds no answer.

    >>> extract_answer("flexible_number", "9 + 8 is $17.", "#### 18"), extract_answer("gsm8k", "It is 18.", "#### 18")
    ('$17.', None)
    """
    return ANSWER_RULES[metric].find(text, _read(metric, reference, 0))


def require_answers(metrics: Collection[str], references: Sequence[Sequence[str]]) -> None:
    """Raise where a rule of some of the metrics finds no answer in a reference, before hours are spent on texts.

    Args:
        metrics: names of metrics; those that extract no answer ask nothing.
        references: of each item, the texts that are right.

    Raises:
        VxlabError: as :func:`read_answers`.
    """
    for metric in ANSWER_RULES:
        if metric in metrics:
            read_answers(metric, references)


def read_answers(metric: str, references: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the answers of every item's references, by a metric's rule.

    Raises:
        VxlabError: a reference in which the rule finds no answer, so that no text could be right by it.

    >>> read_answers("answer_word", [["the correct answer is answer3"], ["true", "false"]])
    [['answer3'], ['true', 'false']]
    """
    return [[_read(metric, each, item) for each in those] for item, those in enumerate(references)]


def _read(metric: str, reference: str, item: int) -> str:
    rule = ANSWER_RULES[metric]
    answer = rule.read(reference)
    if answer is None:
        raise VxlabError(
            f"{metric}: item {item}'s reference {quote(reference)} holds no answer that the rule reads, so no text "
            f"could be right; it must be {rule.wanted}. Give such references, or leave {metric} out of the metrics"
        )
    return answer
