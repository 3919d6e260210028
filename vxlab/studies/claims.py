"""Published claims beside what was measured: one rule says whether the two agree."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vxlab.experiments.scoring.evidence import Evidence
from vxlab.experiments.scoring.significance import holm
from vxlab.words import list_in_words

if TYPE_CHECKING:
    import pandas as pd

CONSISTENT, CONTRADICTS, NOISY, ABSENT = "consistent with", "contradicts", "too noisy to say", "not measured"
LEVEL = 0.05


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


class Part(NamedTuple):
    """That a quantity lies in [least, most], and the evidence of it."""

    evidence: Evidence
    least: float = -math.inf
    most: float = math.inf


class Case(NamedTuple):
    """A published claim with its evidence, before it is judged."""

    claim: str
    published: str
    here: str
    source: str
    parts: tuple[Part, ...] = ()
    """that must all hold; none where nothing was measured"""
    doubts: tuple[str, ...] = ()
    """what could turn the numbers round, such as runs that were lost; with one, nothing is decided"""
    also: float = 0.0
    """two-sided p-value of another test that must be as sure"""


def judge(cases: Sequence[Case], beside: Iterable[float] = ()) -> list[Claim]:
    """Judge the claims of one study together.

    What was measured is *consistent with* the claim that a quantity lies in a range where it is shown to lie inside,
    *contradicts* it where it is shown to lie outside, and is else *too noisy to say*. Shown means p ≤ 0.05 after Holm's
    correction for all of the study's claims, p being twice the one-sided p-value against the range's end: for one claim
    alone, that its 95 % interval lies inside, or outside. A claim of several parts is shown true where all of them are,
    and false where one is (their least p times how many they are). That two quantities are equal can only be claimed of
    a range, which is then a test of equivalence.

    Args:
        cases: the claims.
        beside: two-sided p-values of the study's further tests, corrected for along with them; NaN are left out.

    Source: Berger, Multiparameter hypothesis testing and acceptance sampling (1982), for claims of several parts;
    Schuirmann, A comparison of the two one-sided tests procedure (1987), for ranges.
    """
    found = [_shown(case.parts, case.also) for case in cases]
    tests = [p for p, _ in found] + list(beside)
    adjusted = holm(tests)
    count = sum(math.isfinite(p) for p in tests)
    return [_judged(case, *each, float(p), count) for case, each, p in zip(cases, found, adjusted, strict=False)]


def verdicts(parts: Sequence[Part], beside: Iterable[float] = ()) -> list[str]:
    """Return the verdicts on statements of one part each, judged together as :func:`judge` does.

    >>> from vxlab.experiments.scoring.evidence import from_error
    >>> verdicts([Part(from_error(value, 0.01, 60), least=0) for value in (0.03, 0.015, -0.03)])
    ['consistent with', 'too noisy to say', 'contradicts']
    """
    return [claim.verdict for claim in judge([Case("", "", "", "", (part,)) for part in parts], beside)]


def p_value(case: Case) -> float:
    """Return the p-value of a claim before correction; NaN where it was not measured."""
    return _shown(case.parts, case.also)[0]


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
    noisy, absent = (sum(claim.verdict == word for claim in claims) for word in (NOISY, ABSENT))
    told += [f"cannot say of {noisy}"] if noisy else []
    noun = "claim" if len(claims) == 1 else "claims"
    said = f"what was measured here {list_in_words(told)}" if told else "none was measured"
    rest = f"; {absent} {'was' if absent == 1 else 'were'} not measured" if absent and told else ""
    head = f"Of {len(claims)} published {noun}, {said}{rest}."
    return "\n".join([head, "", *(_sentence(claim) for claim in claims)])


def _shown(parts: Sequence[Part], also: float) -> tuple[float, str]:
    """Return the p-value of what the parts show, and which of the two verdicts that would be."""
    tails = [(part.evidence.tails(part.least), part.evidence.tails(part.most)) for part in parts]
    inside = [2 * max(at_least[0], at_most[1]) for at_least, at_most in tails]
    outside = [2 * min(at_least[1], at_most[0]) for at_least, at_most in tails]
    if not parts or any(math.isnan(p) for p in (*inside, *outside)):
        return math.nan, ABSENT
    true, false = max(inside), len(parts) * min(outside)
    p, verdict = (true, CONSISTENT) if true <= false else (false, CONTRADICTS)
    return min(1.0, max(p, also)), verdict


def _judged(case: Case, p: float, verdict: str, adjusted: float, tests: int) -> Claim:
    doubts = list(case.doubts)
    if p <= LEVEL < adjusted and not doubts:
        doubts.append(f"alone {_verb(verdict)} it, not after Holm's correction for {tests} tests")
    if verdict != ABSENT and not (adjusted <= LEVEL and not doubts):
        verdict = NOISY
    return Claim(case.claim, case.published, "; ".join(filter(None, [case.here, *doubts])), verdict, case.source)


def _verb(verdict: str) -> str:
    return f"is {verdict}" if verdict == CONSISTENT else verdict


def _sentence(claim: Claim) -> str:
    said = f"*{claim.claim}*: {claim.here} here, {claim.published} published ({claim.source})."
    verdict = claim.verdict[0].upper() + claim.verdict[1:]
    return f"- **{verdict}{'' if claim.verdict in (CONSISTENT, CONTRADICTS) else ':'}** {said}"
