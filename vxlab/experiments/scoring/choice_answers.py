"""Choices named in a text: LLM-Adapters' words of the commonsense sets, and the letters of AQuA."""

import re

_FAMILIES = ("true|false", "solution[12]", "answer[1-5]", "ending[1-4]", "option[12]")
"""BoolQ; PIQA; SIQA, ARC and OBQA; HellaSwag; WinoGrande"""
_ENDS_IN_WORD = re.compile(rf"(?:.*\s)?({'|'.join(_FAMILIES)})\.?", re.DOTALL)
_LETTER = re.compile("[A-E]")
_AT_END = re.compile(r"(?<!\w)\(?([A-E])\)?\.?\s*\Z")
_IS_LETTER = re.compile(r"(?:.*answer is:? )?\(?([A-E])\)?\.?", re.DOTALL)


def read_word(reference: str) -> str | None:
    """Return the word that a reference ends in, of those that name a choice; None where it ends in no such word.

    >>> read_word("the correct answer is answer3"), read_word("false"), read_word("the ending")
    ('answer3', 'false', None)
    """
    match = _ENDS_IN_WORD.fullmatch(reference.strip())
    return match.group(1) if match else None


def is_word(text: str, right: str) -> bool:
    """Tell whether a text is right by LLM-Adapters' rule: the first word in it that names a choice of the right kind.

    Letters count as they are, and inside words, too: "untrue" is true, "answer12" is answer1, and "True" is nothing.
    The kind is that of the right word: an ``ending2`` is not looked for where the right one is ``answer1``.

    Source:
        Hu et al., LLM-Adapters, EMNLP 2023; ``commonsense_evaluate.py`` of AGI-Edgerunners/LLM-Adapters.

    >>> is_word("the correct answer is answer3, not answer1", "answer3"), is_word("option2", "option1")
    (True, False)
    """
    return find_word(text, right) == right


def find_word(text: str, right: str) -> str | None:
    """Return what LLM-Adapters' rule reads in a text, of the right word's kind; None where it reads nothing."""
    family = next(family for family in _FAMILIES if re.fullmatch(family, right))
    match = re.search(family, text)
    return match.group() if match else None


def read_letter(reference: str) -> str | None:
    """Return the letter A to E that a reference is, alone or after ``answer is``; None where it is none.

    >>> read_letter("B"), read_letter("Half of it is left. The answer is (D)."), read_letter("Both")
    ('B', 'D', None)
    """
    match = _IS_LETTER.fullmatch(reference.strip())
    return match.group(1) if match else None


def is_letter(text: str, right: str) -> bool:
    """Tell whether a text is right by LLM-Adapters' rule for AQuA: the first capital from A to E, even inside a word.

    So a text that reasons first is as a rule judged by its first capital: "Each of them is 3. The answer is (C)." says
    E.

    Source:
        Hu et al., LLM-Adapters, EMNLP 2023; ``evaluate.py`` of AGI-Edgerunners/LLM-Adapters.
    """
    return find_letter(text) == right


def find_letter(text: str) -> str | None:
    """Return what LLM-Adapters' rule for AQuA reads in a text; None where it reads nothing."""
    match = _LETTER.search(text)
    return match.group() if match else None


def is_letter_strictly(text: str, right: str) -> bool:
    """Tell whether a text is right by LLM-Adapters' rule, and ends with the right letter, which stands alone.

    Brackets may surround it, and a full stop follow.
    """
    match = _AT_END.search(text)
    return match is not None and match.group(1) == right and is_letter(text, right)
