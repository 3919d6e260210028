"""One rule for claims: shown inside a range, shown outside it, or neither, after correction for all of a study's."""

import math

import numpy as np
import pytest
from scipy import stats

from vxlab.experiments.scoring.evidence import (
    exact_evidence,
    from_error,
    from_interval,
    no_evidence,
    of_median,
    over_units,
)
from vxlab.studies.claims import (
    ABSENT,
    CONSISTENT,
    CONTRADICTS,
    NOISY,
    Claim,
    Finding,
    Part,
    claims_table,
    conclusion,
    judge,
    verdicts,
)


def _case(*parts, **more):
    return Claim("claim", "1", "paper").beside("2", *parts, **more)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.5, CONSISTENT),
        (0.1, 0.999, CONSISTENT),
        (-0.1, 0.5, NOISY),
        (0.5, 1.1, NOISY),
        (-1.0, 2.0, NOISY),
        (1.1, 2.0, CONTRADICTS),
        (-2.0, -0.1, CONTRADICTS),
        (math.nan, 0.5, ABSENT),
        (0.5, math.nan, ABSENT),
    ],
)
def test_one_claim_alone_is_judged_as_its_interval_lies(low, high, verdict):
    evidence = from_interval((low + high) / 2, low, high, freedom=9)
    assert verdicts([Part(evidence, least=0.0, most=1.0)]) == [verdict]


def test_a_claim_open_at_one_end_is_judged_at_the_other():
    assert verdicts([Part(from_interval(-1.0, -2.2, 0.2, 30), most=0.3)]) == [CONSISTENT]
    assert verdicts([Part(from_interval(1.0, 0.4, 1.6, 30), most=0.3)]) == [CONTRADICTS]


def test_claims_of_one_study_are_corrected_for_each_other_and_for_its_further_tests():
    """3.0 points with a p of 0.03: shown alone, not as one of six."""
    error = 0.03 / stats.t.ppf(1 - 0.03 / 2, 40)
    near, sure = _case(Part(from_error(0.03, error, 40), least=0)), _case(Part(from_error(1.0, error, 40), least=0))
    assert judge([near])[0].verdict == CONSISTENT
    for beside in ([near, sure, sure, sure, sure, sure][1:], []):
        further = [] if beside else [0.4] * 5
        found = judge([near, *beside], further)
        if beside:  # five that are surer come first in Holm's order, and none is left to correct for
            assert {claim.verdict for claim in found} == {CONSISTENT}
        else:
            told = "2; alone is consistent with it, not after Holm's correction for 6 tests"
            assert (found[0].verdict, found[0].here) == (NOISY, told)


def test_what_is_claimed_of_several_things_needs_all_and_is_false_with_one():
    up, down, open_ = (from_error(value, 0.01, 60) for value in (0.05, -0.05, 0.0))
    assert judge([_case(Part(up, least=0), Part(up, least=0))])[0].verdict == CONSISTENT
    assert judge([_case(Part(up, least=0), Part(open_, least=0))])[0].verdict == NOISY
    assert judge([_case(Part(up, least=0), Part(down, least=0))])[0].verdict == CONTRADICTS
    assert judge([_case(Part(up, least=0), Part(no_evidence(), least=0))])[0].verdict == ABSENT
    barely = from_error(-0.0202, 0.01, 60)  # p 0.048 alone, one of two parts
    assert judge([_case(Part(barely, least=0))])[0].verdict == CONTRADICTS
    assert judge([_case(Part(up, least=0), Part(barely, least=0))])[0].verdict == NOISY


def test_doubts_and_a_further_test_that_does_not_speak_leave_a_claim_open():
    part = Part(from_error(0.05, 0.01, 60), least=0)
    doubted = judge([_case(part, doubts=("1 run did not finish",))])[0]
    assert (doubted.verdict, doubted.here) == (NOISY, "2; 1 run did not finish")
    assert [judge([_case(part, also=p)])[0].verdict for p in (0.04, 0.06)] == [CONSISTENT, NOISY]


def test_equality_is_claimed_of_a_range_and_noise_never_shows_it():
    """The same small difference, measured well and badly."""
    assert verdicts([Part(from_error(1.01, error, 50), 0.95, 1.05) for error in (0.01, 0.1)]) == [CONSISTENT, NOISY]


def test_false_claims_of_a_study_are_shown_in_five_of_a_hundred_at_most():
    draw, wrong = np.random.default_rng(0), 0
    for _ in range(400):  # six claims whose quantities lie on the range's end
        values = draw.standard_normal((6, 3))
        wrong += any(v != NOISY for v in verdicts([Part(over_units(each), least=0) for each in values]))
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("n", [3, 12])
def test_tests_and_intervals_of_evidence_agree(n):
    values = np.random.default_rng(n).normal(0.3, 0.5, n)
    for found in (over_units(values), of_median(np.tile(values, 3)), from_error(0.3, 0.1, 7)):
        for end, side, away in ((found.low, 0, -1), (found.high, 1, 1)):
            assert 2 * found.tails(end + away * 1e-3)[side] <= 0.05 + 1e-9
            assert 2 * found.tails(end - away * 1e-3)[side] > 0.05 - 1e-3


def test_the_sign_tests_interval_has_the_binomials_coverage():
    """Of 7 rounds the least and the largest: 1 - 2/128; fewer than six have none."""
    assert of_median(range(7))[:3] == (3, 0, 6)
    assert of_median(range(11))[:3] == (5, 1, 9)
    assert math.isnan(of_median(range(5)).low)
    draw = np.random.default_rng(0).standard_exponential((2000, 11))
    held = [found.low <= math.log(2) <= found.high for found in map(of_median, draw)]
    assert np.mean(held) == pytest.approx(1 - 2 * stats.binom.cdf(1, 11, 0.5), abs=0.01)


def test_what_is_counted_has_no_noise():
    assert verdicts([Part(exact_evidence(value), most=1) for value in (0.999, 1.001, 1)]) == [
        CONSISTENT,
        CONTRADICTS,
        NOISY,
    ]


def test_the_conclusion_counts_and_tells_every_claim():
    verdicts = (CONSISTENT, CONSISTENT, CONTRADICTS, NOISY, ABSENT)
    told = conclusion([Finding(f"claim {i}", "1", "2", verdict, "paper") for i, verdict in enumerate(verdicts)])
    head, _, *bullets = told.splitlines()
    assert head == (
        "Of 5 published claims, what was measured here is consistent with 2, contradicts 1 and cannot say of 1; "
        "1 was not measured."
    )
    assert conclusion([Finding("a", "1", "2", ABSENT, "p")]).startswith("Of 1 published claim, none was measured.\n")
    assert bullets[2] == "- **Contradicts** *claim 2*: 2 here, 1 published (paper)."
    assert bullets[3] == "- **Too noisy to say:** *claim 3*: 2 here, 1 published (paper)."
    assert bullets[4].startswith("- **Not measured:**")


def test_a_table_has_a_row_for_each_claim():
    table = claims_table([Finding("a", "1", "2", CONSISTENT, "paper")])
    assert table.to_dict("records") == [
        {"claim": "a", "published": "1", "here": "2", "verdict": CONSISTENT, "source": "paper"}
    ]
