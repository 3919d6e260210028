"""Numbers, lists and names as sentences and errors write them."""

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def write_number(value: float, form: str) -> str:
    """Return a number with a true minus sign, and what rounds to zero without one.

    Args:
        value: the number.
        form: as :func:`format` takes it.

    >>> write_number(-0.031, ".3f"), write_number(-0.0002, ".1f"), write_number(0.5, "+.1f")
    ('−0.031', '0.0', '+0.5')
    """
    text = f"{value:{form}}"
    digits = [each for each in text.partition("e")[0] if each.isdigit()]
    return f"{abs(value):{form}}" if set(digits) == {"0"} else with_minus(text)


def with_minus(text: str) -> str:
    """Return a text of numbers with true minus signs."""
    return text.replace("-", "−")


def number_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things; their plural takes an s where none is given.

    >>> number_of(1, "run"), number_of(1200, "seed"), number_of(2, "matrix", "matrices")
    ('1 run', '1,200 seeds', '2 matrices')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def list_in_words(words: Sequence[str]) -> str:
    """Return a list as a sentence has it.

    >>> list_in_words(["a", "b", "c"]), list_in_words(["a"]), list_in_words([])
    ('a, b and c', 'a', '')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def percent(share: float) -> str:
    """Return a share in percent with three digits, however small.

    >>> percent(0.000342), percent(0.5), percent(1.0)
    ('0.0342 %', '50 %', '100 %')
    """
    return f"{100 * share:.3g} %" if 100 * share >= 1e-3 or not share else f"{100 * share:.1e} %"


def in_bytes(number: float) -> str:
    """Return a number of bytes with three digits.

    >>> in_bytes(830), in_bytes(25_942), in_bytes(999_700), in_bytes(2_363_734)
    ('830 B', '25.9 kB', '1 MB', '2.36 MB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= 0.9995 * size:  # what three digits round to 1000 is 1 of the next unit
            return f"{number / size:.3g} {unit}" if number < 999.5 * size else f"{number / size:,.0f} {unit}"
    return f"{number:.0f} B"


def duration_in_words(seconds: float) -> str:
    """Return how long something took.

    >>> duration_in_words(7.26), duration_in_words(187)
    ('7.3 s', '3 min 7 s')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def time_left(seconds: float) -> str:
    """Return how long something will take, rounded up to what a reader waits for.

    >>> time_left(6.2), time_left(187), time_left(5000)
    ('7 s', '4 min', '1 h 24 min')
    """
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def first_line(error: object) -> str:
    """Return the first line of what an error says, or of an error that says nothing its type.

    >>> first_line(ValueError("\\nno such file\\n  at line 3")), first_line(MemoryError())
    ('no such file', 'MemoryError')
    """
    return str(error).strip().partition("\n")[0].strip() or type(error).__name__


def nearest(word: object, choices: Iterable[object], what: str = "known") -> str:
    """Return the end of an error on an unknown word: the choice most like it, and all of them.

    Args:
        word: what was given.
        choices: what could have been.
        what: says what the choices are.

    >>> nearest("lorra", ["lora", "vera"]), nearest("x", [], "there are")
    ("; did you mean 'lora'? (known: lora, vera)", '; there are: none')
    """
    texts = list(map(str, choices))
    near = get_close_matches(str(word), texts, n=1, cutoff=0.5)
    listed = f"{what}: {', '.join(texts) or 'none'}"
    return f"; did you mean {near[0]!r}? ({listed})" if near else f"; {listed}"
