"""A published claim, what was measured beside it, and whether the two agree."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

CONSISTENT, CONTRADICTS, NOISY, ABSENT = "consistent with", "contradicts", "too noisy to say", "not measured"


class Claim(NamedTuple):
    """One published claim beside what was measured; everything in words."""

    claim: str
    """what was published, as a statement"""
    published: str
    """the figure behind it, with the model and task it is of"""
    here: str
    """what was measured, with its interval"""
    verdict: str
    """``consistent with``, ``contradicts``, ``too noisy to say`` or ``not measured``"""
    source: str
    """where the claim stands, and how certain it is"""


def judged(low: float, high: float, least: float = -math.inf, most: float = math.inf) -> str:
    """Judge a claim that a quantity lies in [least, most] by an interval of what was measured.

    The interval inside the claimed range is consistent with it, wholly outside contradicts it, and one that reaches
    across an end is too noisy to say. NaN was not measured.

    Args:
        low: lower end of the measured interval.
        high: its upper end.
        least: lower end of the claimed range.
        most: its upper end.

    >>> judged(0.01, 0.03, least=0), judged(-0.01, 0.03, least=0), judged(-0.03, -0.01, least=0)
    ('consistent with', 'too noisy to say', 'contradicts')
    """
    if math.isnan(low) or math.isnan(high):
        return ABSENT
    if least <= low and high <= most:
        return CONSISTENT
    return CONTRADICTS if high < least or low > most else NOISY


def claims_table(claims: Sequence[Claim]) -> "pd.DataFrame":
    """Return the claims as a table, one row each."""
    import pandas as pd

    return pd.DataFrame(claims, columns=list(Claim._fields))


def conclusion(claims: Sequence[Claim]) -> str:
    """Return a sentence for each claim, in Markdown, and how many of them agree.

    >>> print(conclusion([Claim("b matters", "90.5 against 81.6", "+0.08 (+0.02 to +0.14)", CONSISTENT, "VeRA")]))
    Of 1 published claim, what was measured here is consistent with 1.
    <BLANKLINE>
    - **Consistent with** *b matters*: +0.08 (+0.02 to +0.14) here, 90.5 against 81.6 published (VeRA).
    """
    counts = [(word, sum(claim.verdict == word for claim in claims)) for word in (CONSISTENT, CONTRADICTS)]
    told = [f"{'is ' if word == CONSISTENT else ''}{word} {count}" for word, count in counts if count]
    open_claims = len(claims) - sum(count for _, count in counts)
    told += [f"cannot say of {open_claims}"] if open_claims else []
    noun = "claim" if len(claims) == 1 else "claims"
    head = f"Of {len(claims)} published {noun}, what was measured here {_listed(told)}."
    return "\n".join([head, "", *(_sentence(claim) for claim in claims)])


def _sentence(claim: Claim) -> str:
    said = f"*{claim.claim}*: {claim.here} here, {claim.published} published ({claim.source})."
    verdict = claim.verdict[0].upper() + claim.verdict[1:]
    return f"- **{verdict}{'' if claim.verdict in (CONSISTENT, CONTRADICTS) else ':'}** {said}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
