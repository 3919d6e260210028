"""Published claims on singular subspaces, judged by answers and pairs that decide them one way or the other."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vxlab.studies.claims import conclusion, judge
from vxlab.studies.subspaces.bases import IN_WORDS
from vxlab.studies.subspaces.claims import basis_claim, capture_claim, subspace_claims, truncation_claims
from vxlab.studies.subspaces.sentences import capture_sentence, kept_sentence, lying_sentence
from vxlab.studies.subspaces.truncation import EVERY, REMOVED, UNTOUCHED

ITEMS = 600
TIMES = {"top": 1, "bottom": 2}
LABELS = np.arange(ITEMS) % 2
ROLES = ("query", "key", "value", "attention-output", "up", "down", EVERY)


SUMMARY = pd.DataFrame({"candidate": [IN_WORDS["random-svd"], IN_WORDS["top"]], "edge": "", "diverged": 0})


def _pair(a, b, difference, low, high):
    half = (high - low) / 2
    columns = {"a": a, "b": b, "difference": difference, "low": low, "high": high, "p": 0.001, "seen": True}
    return pd.DataFrame({**columns, "error": half / stats.t.ppf(0.975, 40), "freedom": 40.0}, index=[0])


def _basis(pairs, summary, metric):
    return judge([basis_claim(pairs, summary, metric)])


def _capture(captured):
    return judge([capture_claim(captured)])


def _answers(right):
    """Return answers of which so many are right, by role; untouched nine in ten, half with a role removed."""
    states = [("", UNTOUCHED, 1.0, 0.9)] + [(role, "top", 0.25, right.get(role, right["rest"])) for role in ROLES]
    states += [(role, REMOVED, 0.0, right.get(REMOVED, 0.5)) for role in ROLES]
    shuffled = np.random.default_rng(0).permutation(ITEMS)
    tables = [
        pd.DataFrame(
            {
                "what": "weight", "role": role, "band": band, "fraction": fraction,
                "item": np.arange(ITEMS), "unit": np.arange(ITEMS),
                "answer": np.where(shuffled < share * ITEMS, LABELS, 1 - LABELS) * 1.0, "label": LABELS * 1.0,
            }
        )
        for role, band, fraction, share in states
    ]  # fmt: skip
    return pd.concat(tables)


def _verdicts(right, **changed):
    claims = judge(truncation_claims(_answers(right), **{"metric": "accuracy", "trivial": 0.5} | changed))
    return [claim.verdict for claim in claims], claims


def test_a_model_as_described_is_consistent_with_all_four():
    verdicts, claims = _verdicts({"rest": 0.89, "up": 0.6, "down": 0.7})
    assert verdicts == ["consistent with"] * 4
    assert claims[0].here.startswith("88% (")  # four roles of attention keep 39 of 40 points, down keeps 20
    assert "keep 63 points (" in claims[1].here
    assert "recalled, not verified" in claims[0].source
    assert conclusion(claims).startswith("Of 4 published claims, what was measured here is consistent with 4.")


def test_the_opposite_contradicts_them():
    assert _verdicts({"rest": 0.6, "up": 0.9, "down": 0.9})[0] == ["contradicts"] * 4


def test_a_role_that_is_not_needed_says_nothing_for_its_top_band():
    verdicts, claims = _verdicts({"rest": 0.89, REMOVED: 0.89})
    assert [verdicts[0], verdicts[2]] == ["too noisy to say"] * 2
    assert "; 0 points (" in claims[0].here
    assert claims[2].here.endswith("98% (95% to 100%) with all of it removed; most of it needs none of these weights")
    assert _verdicts({"rest": 0.8, REMOVED: 0.9})[0][0] == "contradicts"


def test_what_differs_by_less_than_its_noise_decides_nothing():
    verdicts, _ = _verdicts({"rest": 0.7, "up": 0.695, "down": 0.702})
    assert verdicts == ["too noisy to say"] * 4


def test_roles_that_are_not_there_and_gains_that_are_not_seen_are_not_measured():
    answers = _answers({"rest": 0.8})
    some = answers[~answers["role"].isin(["up", "down"])]
    claims = judge(truncation_claims(some, metric="accuracy", trivial=0.5))
    assert [claim.verdict for claim in claims] == ["consistent with", "not measured"] * 2
    assert "nothing, for lack of such roles" in claims[1].here
    verdicts, claims = _verdicts({"rest": 0.8}, trivial=0.9)
    assert verdicts == ["not measured"] * 4
    assert not any("nan" in claim.here for claim in claims)


@pytest.mark.parametrize("order", [1, -1])
def test_the_random_start_is_judged_whichever_way_the_pair_was_taken(order):
    names = [IN_WORDS["random-svd"], IN_WORDS["top"]][::order]
    low, high = (0.01, 0.03) if order == 1 else (-0.03, -0.01)
    pairs = _pair(*names, order * 0.02, low, high)
    (claim,) = _basis(pairs, SUMMARY, "accuracy")
    assert claim.verdict == "consistent with"
    assert claim.here == "+2.0 points (95 % +1.0 to +3.0)"
    (correlation,) = _basis(pairs, SUMMARY, "matthews")
    assert correlation.here == "+0.020 (95 % +0.010 to +0.030)"


def test_a_basis_that_may_have_lost_by_its_rate_or_its_lost_runs_decides_nothing():
    pairs = _pair(IN_WORDS["random-svd"], IN_WORDS["top"], 0.02, 0.01, 0.03)

    def judged(**changed):
        return _basis(pairs, SUMMARY.assign(**changed), "accuracy")[0]

    loser = judged(edge=["", "high"])
    assert loser.verdict == "too noisy to say"
    assert loser.here.endswith("; the rate of “top of W”, which scored lower, is on the edge of its range")
    assert judged(edge=["high", ""]).verdict == "consistent with"  # a better rate would only add to it
    alike = _pair(IN_WORDS["random-svd"], IN_WORDS["top"], 0.0, -0.01, 0.01)
    assert "edge" not in _basis(alike, SUMMARY.assign(edge="high"), "accuracy")[0].here
    lost = judged(diverged=[1, 0])
    assert (lost.verdict, lost.here.split("; ")[1:]) == (
        "too noisy to say", ["1 of the runs of “top of a random matrix” did not finish"],
    )  # fmt: skip


def test_the_premise_is_judged_by_the_ratio_of_top_to_bottom_over_layers():
    rows = [(f"layer.{i}", r, IN_WORDS[b], 0.01 * r * k) for i in range(6) for r in (2, 4) for b, k in TIMES.items()]
    captured = pd.DataFrame(rows, columns=["layer", "rank", "family", "share"]).assign(chance=0.001)
    (claim,) = _capture(captured)
    assert claim.verdict == "contradicts"
    assert "holds 0.5 times (0.5 to 0.5)" in claim.here
    names = {IN_WORDS["top"]: IN_WORDS["bottom"], IN_WORDS["bottom"]: IN_WORDS["top"]}
    assert _capture(captured.replace(names))[0].verdict == "consistent with"
    (below,) = _capture(captured.replace(names).assign(chance=0.1))
    assert below.verdict == "contradicts"  # better than the bottom, but worse than chance
    assert "0.57 times (0.57 to 0.57) what chance would" in below.here
    (one,) = _capture(captured[captured["layer"] == "layer.0"])
    assert one.verdict == "not measured"
    assert "nan" not in one.here
    (alone,) = _capture(captured[captured["family"] == IN_WORDS["top"]])
    assert (alone.verdict, alone.here) == ("not measured", "not measured")


def test_all_claims_are_judged_together_and_beside_the_other_pairs_of_bases():
    near = _pair(IN_WORDS["random-svd"], IN_WORDS["top"], 0.02, 0.004, 0.036)  # p = 0.016
    others = pd.concat([_pair(IN_WORDS["bottom"], f"other {i}", 0.0, -0.01, 0.01) for i in range(3)]).assign(p=0.9)
    captured = pd.DataFrame(columns=["layer", "rank", "family", "share", "chance"])
    answers = _answers({"rest": 0.8})
    asked = {"metric": "accuracy", "trivial": 0.9}  # of no gain there is no share: nothing else is measured

    def judged(pairs):
        return subspace_claims(answers, pairs, SUMMARY, captured, **asked)[4]

    assert judged(near).verdict == "consistent with"
    beside = judged(pd.concat([others, near], ignore_index=True))
    assert beside.verdict == "too noisy to say"
    assert beside.here.endswith("; alone is consistent with it, not after Holm's correction for 4 tests")


def test_a_basis_that_was_not_trained_is_not_measured():
    (claim,) = _basis(pd.DataFrame(columns=["a", "b"]), SUMMARY, "accuracy")
    assert (claim.verdict, claim.here) == ("not measured", "not measured")


def test_sentences_tell_the_numbers_of_the_tables():
    answers = _answers({"rest": 0.89, EVERY: 0.7})
    told = kept_sentence(answers, metric="accuracy", trivial=0.5)
    assert told.startswith("Of every weight at once, the top 25 % keep **50%** (")
    assert told.endswith(") of the gain, on 600 test items.")
    films = kept_sentence(answers.assign(unit=answers["item"] // 4), metric="accuracy", trivial=0.5)
    assert films.endswith(" on 600 test items of 150 independent units.")
    assert "no gain" in kept_sentence(answers, metric="accuracy", trivial=0.9)
    assert kept_sentence(answers[answers["role"] != EVERY], metric="accuracy", trivial=0.5) == ""
    bands = [(f"layer.{i}", band, k) for i in range(4) for band, k in (("top", 2), ("bottom", 0.5))]
    rows = [("full", layer, band, 0.25, 0.0625 * k, 0.0625) for layer, band, k in bands]
    energies = pd.DataFrame(rows, columns=["update", "layer", "band", "fraction", "both", "chance_both"])
    told = lying_sentence(energies, "full", 0.25)
    assert "full puts into the top 25 % of W **2** times (2 to 2), into the bottom 25 % of W **0.5** times" in told
    assert "4 layers" in told
    one = lying_sentence(energies[energies["layer"] == "layer.0"], "full", 0.25)
    assert "**2** times, into" in one
    assert "(" not in one
    assert one.endswith("**0.5** times; of one layer.")
    still = energies.assign(both=float("nan"))
    assert lying_sentence(still, "full", 0.25) == "full changed no weight."
    shares = 2 * [("top of W", 4, 0.03, 0.01), ("first gradient", 4, 0.9, 0.01), ("top of W", 8, 0.5, 0.02)]
    captured = pd.DataFrame(shares, columns=["family", "rank", "share", "chance"]).assign(layer=3 * ["a"] + 3 * ["b"])
    assert "of chance: first gradient 90 (90 to 90), top of W 3 (3 to 3); " in capture_sentence(captured, 4)
    assert capture_sentence(captured, 4).endswith("; means of 2 layers, intervals as if these were independent.")
    one = capture_sentence(captured[captured["layer"] == "a"], 8)
    assert one.endswith("of chance: top of W 25; of one layer.")
    assert capture_sentence(captured, 16) == ""
