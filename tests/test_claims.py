"""Claims are judged by intervals: inside, outside, across an end, or not measured."""

import math

import pytest

from vxlab.experiments.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY, Claim, claims_table, conclusion, judged


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 0.5, CONSISTENT),
        (0.1, 1.0, CONSISTENT),
        (-0.1, 0.5, NOISY),
        (0.5, 1.1, NOISY),
        (-1.0, 2.0, NOISY),
        (1.1, 2.0, CONTRADICTS),
        (-2.0, -0.1, CONTRADICTS),
        (math.nan, 0.5, ABSENT),
        (0.5, math.nan, ABSENT),
    ],
)
def test_an_interval_is_judged_against_the_claimed_range(low, high, verdict):
    assert judged(low, high, least=0.0, most=1.0) == verdict


def test_a_claim_open_at_one_end_is_judged_at_the_other():
    assert judged(-math.inf, 0.2, most=0.3) == CONSISTENT
    assert judged(0.4, math.inf, most=0.3) == CONTRADICTS


def test_the_conclusion_counts_and_tells_every_claim():
    verdicts = (CONSISTENT, CONSISTENT, CONTRADICTS, NOISY, ABSENT)
    told = conclusion([Claim(f"claim {i}", "1", "2", verdict, "paper") for i, verdict in enumerate(verdicts)])
    head, _, *bullets = told.splitlines()
    assert head == (
        "Of 5 published claims, what was measured here is consistent with 2, contradicts 1 and cannot say of 2."
    )
    assert bullets[2] == "- **Contradicts** *claim 2*: 2 here, 1 published (paper)."
    assert bullets[3] == "- **Too noisy to say:** *claim 3*: 2 here, 1 published (paper)."
    assert bullets[4].startswith("- **Not measured:**")


def test_a_table_has_a_row_for_each_claim():
    table = claims_table([Claim("a", "1", "2", CONSISTENT, "paper")])
    assert table.to_dict("records") == [
        {"claim": "a", "published": "1", "here": "2", "verdict": CONSISTENT, "source": "paper"}
    ]
