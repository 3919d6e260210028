"""Numbers that end a solution: how published evaluations read them in a text and hold them against the right one.

They differ, and so do the scores: MetaMath's rounds to whole numbers and wants its phrase; lm-eval's compares what is
written, by the mark of GSM8K's own data or the last number; LLM-Adapters' takes the last number to within a thousandth.
"""

import re
from decimal import Decimal

PHRASE = "The answer is: "
"""of MetaMathQA's answers, with the blank"""
_MARKS = re.compile(r"#### |[Aa]nswer is:? ")
_NUMBER = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")
_METAMATH = re.compile(r"[-+]?\d*[.,/]?\d+")
_AFTER_HASHES = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_LAST = re.compile(r"-?\d+\.?\d*")
_AT_END = re.compile(r"(?<![\w.,])(-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?)\.?\s*\Z")
_NEAR = 0.001


def read_decimal(reference: str) -> str | None:
    """Return a reference's number without the commas of its thousands, or None where it is none.

    It is what follows the last ``#### ``, as in GSM8K, or ``answer is``, as in MetaMathQA, up to the end but for a full
    stop; without such a mark it is all of the reference.

    >>> read_decimal("He sold 12 * 100 of them.\\n#### 1,200"), read_decimal("576.0"), read_decimal("16 hours")
    ('1200', '576.0', None)
    """
    return _plain(_MARKS.split(reference)[-1])


def read_whole(reference: str) -> str | None:
    """Return :func:`read_decimal`'s in digits alone, or None where it is no whole number."""
    found = read_decimal(reference)
    number = Decimal(found or "NaN")
    return str(int(number)) if number.is_finite() and number == number.to_integral_value() else None


def read_shortest(reference: str) -> str | None:
    """Return :func:`read_decimal`'s, or None where it ends in a needless 0, as 576.0, which nobody writes so."""
    found = read_decimal(reference)
    return None if found and "." in found and found.endswith("0") else found


def is_metamath(text: str, right: str) -> bool:
    """Tell whether a text is right by MetaMath's rule for GSM8K: the first number after the last "The answer is: ".

    It may be a fraction, has a comma at most, so that 1,450,000 is read as 1450, and is rounded to a whole number, half
    to even. A text without the phrase is wrong, whatever it says.

    Source:
        Yu et al., MetaMath, ICLR 2024; ``eval_gsm8k.py`` of meta-math/MetaMath.

    >>> is_metamath("9 + 9 is 18. The answer is: $18", "18"), is_metamath("The answer is 18", "18")
    (True, False)
    """
    found = find_metamath(text)
    return found is not None and _rounded(found.replace(",", "")) == int(right)


def is_metamath_strictly(text: str, right: str) -> bool:
    """Tell whether a text is right by MetaMath's rule, and the right number is all that follows the phrase.

    A full stop may end it.
    """
    return is_metamath(text, right) and _plain(_after_phrase(text)) == right


def is_hashed(text: str, right: str) -> bool:
    """Tell whether a text is right by lm-eval's strict match: the number after the first ``#### ``, as it is written.

    Commas and a full stop at the end do not count.

    Source:
        ``gsm8k.yaml`` of lm-eval 0.4.13, filter strict-match; the mark is that of GSM8K's own data (Cobbe et al. 2021).
    """
    found = find_hashed(text)
    return found is not None and _bare(found) == right


def is_flexible(text: str, right: str) -> bool:
    """Tell whether a text is right by lm-eval's flexible extraction: its last number, as it is written.

    Dollars, commas and a full stop at the end do not count. Two points or more are taken for a number, so that a text
    that ends in "..." is wrong.

    Source:
        ``gsm8k.yaml`` of lm-eval 0.4.13, filter flexible-extract.
    """
    found = find_flexible(text)
    return found is not None and _bare(found) == right


def is_last(text: str, right: str) -> bool:
    """Tell whether a text is right by LLM-Adapters' rule: its last number, commas left out, to within 0.001.

    A hyphen before a digit is a minus, so that "8-5" ends in -5.

    Source:
        Hu et al., LLM-Adapters, EMNLP 2023; ``evaluate.py`` of AGI-Edgerunners/LLM-Adapters.
    """
    found = find_last(text)
    return found is not None and abs(float(right) - float(found)) <= _NEAR


def is_last_strictly(text: str, right: str) -> bool:
    """Tell whether a text is right by LLM-Adapters' rule, and ends with precisely the right number.

    A full stop may follow.
    """
    match = _AT_END.search(text)
    return match is not None and is_last(text, right) and Decimal(match.group(1).replace(",", "")) == Decimal(right)


def find_metamath(text: str) -> str | None:
    """Return the number that MetaMath's rule reads in a text, as it is written; None where it reads none."""
    match = _METAMATH.search(_after_phrase(text))
    return match.group() if match else None


def find_hashed(text: str) -> str | None:
    """Return what lm-eval's strict match reads in a text."""
    match = _AFTER_HASHES.search(text)
    return match.group(1) if match else None


def find_flexible(text: str) -> str | None:
    """Return what lm-eval's flexible extraction reads in a text."""
    found = _FLEXIBLE.findall(text)
    return found[-1] if found else None


def find_last(text: str) -> str | None:
    """Return what LLM-Adapters' rule reads in a text, without commas."""
    found = _LAST.findall(text.replace(",", ""))
    return found[-1] if found else None


def _plain(text: str) -> str | None:
    """Return the number that a text is, without commas; None where it is anything else."""
    found = text.strip().removesuffix(".")
    return found.replace(",", "") if _NUMBER.fullmatch(found) else None


def _after_phrase(text: str) -> str:
    return text.rpartition(PHRASE)[2].strip() if PHRASE in text else ""


def _rounded(number: str) -> int | None:
    numerator, _, denominator = number.partition("/")
    try:
        return round(float(numerator) if denominator in ("", "0") else int(numerator) / int(denominator))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def _bare(number: str) -> str:
    return number.replace(",", "").replace("$", "").removesuffix(".")
