"""Answers in LaTeX: how MATH's and MetaMath's evaluations find them in a text, and when they call two equal."""

import re

from vxlab.experiments.scoring.number_answers import PHRASE

_BOXED = r"\boxed"
_REPLACED = (
    ("\n", ""),
    (r"\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
)
"""in this order, before units are cut off"""
_UNIT = r"\text{ "  # with the blank: words that are an answer have none
_GROUPS = re.compile(r"\\(?:text|textbf|mathrm|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+")
_SENTENCE = re.compile(r"\n|[A-Za-z]{2,}[,;:]? +[A-Za-z]{2,}")
_SIMPLE_RATIO = re.compile(r"(0|-?[1-9][0-9]*)/(0|-?[1-9][0-9]*)")


class _BeyondError(Exception):
    """The rule does not reach so far: what is written is compared as it stands."""


def read_math(reference: str) -> str | None:
    r"""Return a reference's answer, or None where it has none.

    It is what :func:`find_math` finds, or all of the reference where that is a formula or a word, no sentence.

    >>> read_math(r"Half of it is $\boxed{\frac{1}{2}}$."), read_math(r"\text{Evelyn}"), read_math("It is a half.")
    ('\\frac{1}{2}', '\\text{Evelyn}', None)
    """
    marked = PHRASE in reference or _BOXED in reference
    answer = find_math(reference) if marked else reference.strip()
    if answer is None or are_equivalent(answer, ""):
        return None
    return answer if marked or not _SENTENCE.search(_GROUPS.sub("", answer)) else None


def find_math(text: str) -> str | None:
    r"""Return what a text gives as its answer: what follows the last "The answer is: ", else what the last box holds.

    After the phrase, up to the first full stop that ends a line, without white space and a full stop at the ends
    (MetaMath's evaluation, to which a text without the phrase is wrong). In the box, up to the brace that closes it
    (MATH's own solutions), or after ``\boxed`` and a blank up to the next ``$``. None where there is neither.

    Source:
        ``eval_math.py`` of meta-math/MetaMath; Hendrycks et al., Measuring mathematical problem solving with the MATH
        dataset, 2021.

    >>> find_math(r"So $x = \boxed{\sqrt{2}}$."), find_math(r"\boxed{1} of 2.\nThe answer is: 1/2."), find_math("7")
    ('\\sqrt{2}', '1/2', None)
    """
    if PHRASE in text:
        return text.rpartition(PHRASE)[2].partition(".\n")[0].strip().removesuffix(".").strip()
    _, box, after = text.rpartition(_BOXED)
    if after.startswith(" "):
        return after[1:].partition("$")[0]
    return _in_braces(after) if box else None


def is_math(text: str, right: str) -> bool:
    """Tell whether a text's answer is the right one, or one that is written alike once both are normalised."""
    found = find_math(text)
    return found is not None and are_equivalent(found, right)


def is_math_strictly(text: str, right: str) -> bool:
    """Tell whether a text's answer is the right one to the letter."""
    return find_math(text) == right


def are_equivalent(a: str, b: str) -> bool:
    r"""Tell whether two answers are the same to MATH's evaluation: the same string once both are normalised.

    No algebra is done: 0.5 is \frac{1}{2}, and 0.25 is not \frac{1}{4}. What cannot be normalised, as a ``\frac`` with
    nothing behind it, is compared as it stands, and then so is the other one.

    Source:
        ``math_equivalence.py`` of hendrycks/math (Hendrycks et al. 2021), which MetaMath's evaluation takes, too.

    >>> are_equivalent(r"x = \dfrac{3}4", r"\frac{3}4"), are_equivalent("12^\\circ", "12"), are_equivalent("2/4", "1/2")
    (True, True, False)
    """
    try:
        return _normalise(a) == _normalise(b)
    except _BeyondError:
        return a == b


def _normalise(answer: str) -> str:
    for old, new in _REPLACED:
        answer = answer.replace(old, new)
    answer = _without_unit(answer).replace(r"\%", "")
    answer = answer.replace(" .", " 0.").replace("{.", "{0.")
    if answer.startswith("."):
        answer = f"0{answer}"
    name, equals, value = answer.partition("=")
    if equals and "=" not in value and len(name) <= 2:  # k = 5
        answer = value
    answer = _brace_fractions(_brace_roots(answer).replace(" ", ""))
    if answer == "0.5":
        return r"\frac{1}{2}"
    ratio = _SIMPLE_RATIO.fullmatch(answer)
    return rf"\frac{{{ratio[1]}}}{{{ratio[2]}}}" if ratio else answer


def _without_unit(answer: str) -> str:
    if answer.count(_UNIT) > 1:
        raise _BeyondError
    return answer.partition(_UNIT)[0]


def _brace_roots(answer: str) -> str:
    """Put what follows a root in braces where it stands bare, one character of it."""
    first, *roots = answer.split(r"\sqrt")
    if not all(roots):
        raise _BeyondError
    braced = (root if root[0] == "{" else f"{{{root[0]}}}{root[1:]}" for root in roots)
    return r"\sqrt".join([first, *braced])


def _brace_fractions(answer: str) -> str:
    """Put numerators and denominators in braces where a numerator stands bare, each one character."""
    parts = answer.split(r"\frac")
    for place, part in enumerate(parts[1:], start=1):
        if not part:
            raise _BeyondError
        if part[0] == "{":
            continue
        if len(part) == 1:  # no denominator: all is left as it was
            return answer
        below = part[1:] if part[1] == "{" else f"{{{part[1]}}}{part[2:]}"
        parts[place] = f"{{{part[0]}}}{below}"
    return r"\frac".join(parts)


def _in_braces(text: str) -> str | None:
    """Return what the braces hold that a text begins with, or None where it begins with none, or they never close."""
    if not text.startswith("{"):
        return None
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[1:place]
    return None
