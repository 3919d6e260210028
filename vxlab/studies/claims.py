"""The papers' claims beside what was measured: one rule says whether the two agree (words: docs/glossary.md)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from vxlab.experiments.scoring import LEVEL, Evidence, holm
from vxlab.words import list_in_words, number_of

CONSISTENT, CONTRADICTS, NOISY, ABSENT = "consistent with", "contradicts", "too noisy to say", "not measured"


class Finding(NamedTuple):
    """A claim beside what was measured, and the verdict; everything in words."""

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


class Claim(NamedTuple):
    """A published statement; and its evidence, once that is laid :meth:`beside` it, before it is judged."""

    claim: str
    published: str
    source: str
    here: str = ABSENT
    parts: tuple[Part, ...] = ()
    """that must all hold; none where nothing was measured"""
    doubts: tuple[str, ...] = ()
    """what could turn the numbers round, such as runs that were lost; with one, nothing is decided"""
    also: float = 0.0
    """two-sided p-value of another test that must be as sure"""

    def beside(self, here: str, *parts: Part, doubts: Iterable[str] = (), also: float = 0.0) -> "Claim":
        """Return the claim with what was measured of it, in words and as evidence."""
        return self._replace(here=here, parts=parts, doubts=tuple(doubts), also=also)


class Side(NamedTuple):
    """One of two candidates whose scores are compared."""

    row: Any
    """of a sweep's summary, with ``diverged`` and ``edge``"""
    runs: str = "its runs"
    """what its doubts call them"""
    rate: str = "its rate"


def doubts_of(difference: float, first: Side, second: Side, *, alike: bool = False) -> list[str]:
    """Return what could turn the difference of two candidates round: lost runs, and rates on the edge of their range.

    Args:
        difference: the first's score less the second's. A better rate could but raise the one that scored lower.
        first: one of them.
        second: the other.
        alike: that they differ little is claimed, which a better rate of either could turn round.
    """
    lower = alike or difference < 0, alike or difference > 0
    lost = [(side.row["diverged"], side.runs) for side in (first, second)]
    edges = [side.rate for side, low in zip((first, second), lower, strict=True) if low and side.row["edge"]]
    told = [f"{int(count)} of {runs} did not finish" for count, runs in lost if count]
    return told + [f"{rate} is on the edge of its range" for rate in edges]


def judge(claims: Sequence[Claim], beside: Iterable[float] = ()) -> list[Finding]:
    """Judge the claims of one study together.

    What was measured is *consistent with* the claim that a quantity lies in a range where it is shown to lie inside,
    *contradicts* it where it is shown to lie outside, and is else *too noisy to say*. Shown means p ≤ 0.05 after Holm's
    correction for all of the study's claims, p being twice the one-sided p-value against the range's end: for one claim
    alone, that its 95 % interval lies inside, or outside. A claim of several parts is shown true where all of them are,
    and false where one is (their least p times how many they are). That two quantities are equal can only be claimed of
    a range, which is then a test of equivalence.

    Args:
        claims: with their evidence.
        beside: two-sided p-values of the study's further tests, corrected for along with them; NaN are left out.

    Source: Berger, Multiparameter hypothesis testing and acceptance sampling (1982), for claims of several parts;
    Schuirmann, A comparison of the two one-sided tests procedure (1987), for ranges.
    """
    shown = [_shown(claim) for claim in claims]
    tests = [p for p, _ in shown] + list(beside)
    adjusted, count = holm(tests), sum(math.isfinite(p) for p in tests)
    return [_finding(claim, *each, float(p), count) for claim, each, p in zip(claims, shown, adjusted, strict=False)]


def verdicts(parts: Sequence[Part], beside: Iterable[float] = ()) -> list[str]:
    """Return the verdicts on statements of one part each, judged together as :func:`judge` does.

    >>> from vxlab.experiments.scoring.evidence import from_error
    >>> verdicts([Part(from_error(value, 0.01, 60), least=0) for value in (0.03, 0.015, -0.03)])
    ['consistent with', 'too noisy to say', 'contradicts']
    """
    return [finding.verdict for finding in judge([Claim("", "", "", parts=(part,)) for part in parts], beside)]


def p_value(claim: Claim) -> float:
    """Return the p-value of a claim before correction; NaN where it was not measured."""
    return _shown(claim)[0]


def claims_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return the claims with their verdicts as a table, one row each."""
    return pd.DataFrame(findings, columns=list(Finding._fields))


def conclusion(findings: Sequence[Finding]) -> str:
    """Return a sentence for each claim, in Markdown, and how many of them agree.

    >>> print(conclusion([Finding("b matters", "90.5 against 81.6", "+0.08 (+0.02 to +0.14)", CONSISTENT, "VeRA")]))
    Of 1 published claim, what was measured here is consistent with 1.
    <BLANKLINE>
    - **Consistent with** *b matters*: +0.08 (+0.02 to +0.14) here, 90.5 against 81.6 published (VeRA).
    """
    counts = Counter(finding.verdict for finding in findings)
    told = [f"{words} {counts[verdict]}" for verdict, words in _COUNTED.items() if counts[verdict]]
    said = f"what was measured here {list_in_words(told)}" if told else "none was measured"
    absent = counts[ABSENT] if told else 0
    rest = f"; {absent} {'was' if absent == 1 else 'were'} not measured" if absent else ""
    head = f"Of {number_of(len(findings), 'published claim')}, {said}{rest}."
    return "\n".join([head, "", *map(_sentence, findings)])


_COUNTED = {CONSISTENT: f"is {CONSISTENT}", CONTRADICTS: CONTRADICTS, NOISY: "cannot say of"}


def _shown(claim: Claim) -> tuple[float, str]:
    """Return the p-value of what a claim's parts show, and which of the two verdicts that would be."""
    parts = claim.parts
    tails = [(part.evidence.tails(part.least), part.evidence.tails(part.most)) for part in parts]
    inside = [2 * max(at_least[0], at_most[1]) for at_least, at_most in tails]
    outside = [2 * min(at_least[1], at_most[0]) for at_least, at_most in tails]
    if not parts or any(math.isnan(p) for p in (*inside, *outside)):
        return math.nan, ABSENT
    true, false = max(inside), len(parts) * min(outside)
    p, verdict = (true, CONSISTENT) if true <= false else (false, CONTRADICTS)
    return min(1.0, max(p, claim.also)), verdict


def _finding(claim: Claim, p: float, verdict: str, adjusted: float, tests: int) -> Finding:
    doubts = list(claim.doubts)
    if p <= LEVEL < adjusted and not doubts:
        doubts.append(f"alone {_COUNTED[verdict]} it, not after Holm's correction for {tests} tests")
    if verdict != ABSENT and not (adjusted <= LEVEL and not doubts):
        verdict = NOISY
    return Finding(claim.claim, claim.published, "; ".join(filter(None, [claim.here, *doubts])), verdict, claim.source)


def _sentence(finding: Finding) -> str:
    said = f"*{finding.claim}*: {finding.here} here, {finding.published} published ({finding.source})."
    verdict = finding.verdict[0].upper() + finding.verdict[1:]
    return f"- **{verdict}{'' if finding.verdict in (CONSISTENT, CONTRADICTS) else ':'}** {said}"
