"""Find the rating in what a judge said."""

import re

_DOUBLE, _SINGLE = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
LEAST, MOST = 1, 10


def find_rating(text: str) -> float | None:
    """Return a reply's rating from 1 to 10, None where there is none.

    As FastChat does (llm_judge/common.py): the first ``[[n]]``, and without one the first ``[n]``. Other than there,
    a number outside 1 to 10 is no rating, and what a judge thinks before ``</think>`` is not yet what it says.

    >>> find_rating("Short and clear. Rating: [[7]]"), find_rating("Rating: [8.5]"), find_rating("Good. 7/10")
    (7.0, 8.5, None)
    >>> find_rating("Rating: [[0]]"), find_rating("<think>Perhaps [[5]]?</think>Rating: [[9]]")
    (None, 9.0)
    """
    said = _THOUGHT.sub("", text)
    if said.lstrip().startswith("<think>"):  # cut off while it thought
        return None
    found = _DOUBLE.search(said) or _SINGLE.search(said)
    rating = float(found[1]) if found else 0.0
    return rating if LEAST <= rating <= MOST else None
