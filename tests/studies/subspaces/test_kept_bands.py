"""Scores of a truncated model: paired with the untouched one, and as a share of what training gained."""

import math

import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.studies.subspaces.kept_bands import KeptBands, kept_shares, truncation_scores
from vxlab.studies.subspaces.truncation import REMOVED, UNTOUCHED

ITEMS, NORMAL = 400, 1.959964
LABELS = np.arange(ITEMS) % 2


def kept(answers, roles, band, fractions, trivial=0.5):
    return KeptBands(answers, "accuracy", trivial).share(roles, band, fractions)


def _right(share):
    """Return answers of which the given share is right, from the first item on."""
    return np.where(np.arange(ITEMS) < share * ITEMS, LABELS, 1 - LABELS)


def _state(role, band, fraction, answers, what="weight"):
    about = {"what": what, "role": role, "band": band, "fraction": fraction}
    items = {"item": np.arange(ITEMS), "unit": np.arange(ITEMS)}
    return pd.DataFrame({**about, **items, "answer": answers.astype(float), "label": LABELS * 1.0})


@pytest.fixture
def answers():
    states = [
        _state("", UNTOUCHED, 1.0, _right(0.9)),
        _state("up", REMOVED, 0.0, _right(0.5)),
        _state("up", "top", 0.25, _right(0.7)),
        _state("up", "bottom", 0.25, _right(0.5)),
        _state("query", "top", 0.25, _right(0.9)),
        _state("key", "top", 0.25, _right(0.8)),
    ]
    return pd.concat(states).sample(frac=1, random_state=0)  # in whatever order


def test_scores_are_those_of_the_answers_and_differences_those_of_the_same_items(answers):
    table = truncation_scores(answers).set_index(["role", "band"])
    top = table.loc["up", "top"]
    assert top["score"] == pytest.approx(0.7)
    assert top["difference"] == pytest.approx(-0.2)
    assert top["low"] < 0.7 < top["high"]
    paired = 1.96 * math.sqrt(0.2 * 0.8 / ITEMS)  # 80 of 400 items changed, all for the worse
    assert top["difference_low"] == pytest.approx(-0.2 - paired, abs=0.008)
    assert top["difference_high"] == pytest.approx(-0.2 + paired, abs=0.008)
    same = table.loc["query", "top"]
    assert same["difference"] == 0
    few = NORMAL * math.sqrt(2) / ITEMS  # two items, one each way: even equal answers are not free of noise
    assert (same["difference_low"], same["difference_high"]) == pytest.approx((-few, few))
    whole = table.loc["", UNTOUCHED]
    assert (whole["difference"], whole["difference_low"], whole["difference_high"]) == (0, 0, 0)


def test_the_share_kept_is_of_the_gain_over_the_trivial_answer(answers):
    share, low, high = kept(answers, ["up"], "top", [0.25])[:3]
    assert share == pytest.approx(0.5)
    assert low < 0.5 < high
    few = NORMAL * math.sqrt(2) / (ITEMS * 0.4)
    assert kept(answers, ["query"], "top", [0.25])[:3] == pytest.approx((1, 1 - few, 1 + few))
    assert kept(answers, ["up"], "bottom", [0.25])[0] == pytest.approx(0)
    assert kept(answers, ["query", "key"], "top", [0.25])[0] == pytest.approx(0.875)


def test_the_tests_of_a_share_agree_with_its_interval(answers):
    found = kept(answers, ["up"], "top", [0.25])
    for end, side in ((found.low, 0), (found.high, 1)):
        assert found.tails(end)[side] == pytest.approx(0.025, abs=1e-4)
    assert found.tails(0)[0] < 0.001


def test_items_of_one_unit_that_go_together_count_as_one(answers):
    """Units of eight items in a row, all right or all wrong: a design effect of eight."""
    units = answers.assign(unit=answers["item"] // 8)
    wide, narrow = (kept(each, ["up"], "top", [0.25]) for each in (units, answers))
    assert wide.value == narrow.value
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(8), rel=0.2)
    same, few = kept(units, ["query"], "top", [0.25]), NORMAL * math.sqrt(2) * 8 / (ITEMS * 0.4)
    assert same[:3] == pytest.approx((1, 1 - few, 1 + few), rel=0.05)
    scored = [truncation_scores(each).set_index(["role", "band"]).loc["up", "top"] for each in (units, answers)]
    wide, narrow = ((row["high"] - row["low"], row["difference_high"] - row["difference_low"]) for row in scored)
    assert np.divide(wide, narrow) == pytest.approx([math.sqrt(8)] * 2, rel=0.2)


def test_a_mean_over_sizes_counts_each_alike(answers):
    more = pd.concat([answers, _state("up", "top", 0.5, _right(0.9))])
    assert kept(more, ["up"], "top", [0.25, 0.5])[0] == pytest.approx(0.75)


def test_a_contrast_is_the_difference_of_shares_and_changes_sign_with_the_roles(answers):
    ask, bands = {"band": "top", "fractions": [0.25]}, KeptBands(answers, "accuracy", trivial=0.5)
    value, low, high = bands.contrast(["query", "key"], ["up"], **ask)[:3]
    assert value == pytest.approx(0.375)
    assert 0 < low < value < high
    assert bands.contrast(["up"], ["query", "key"], **ask)[:3] == pytest.approx((-value, -high, -low))
    same, low, high = bands.contrast(["up"], ["up"], **ask)[:3]
    assert low < same == 0 < high
    lost, low, high = bands.contrast(["up"], ["up"], against=REMOVED, **ask)[:3]
    assert lost == pytest.approx(0.5)  # of the top band's half nothing is left without it
    assert 0 < low < lost < high


def test_a_model_that_gained_nothing_has_no_share_to_keep(answers):
    assert all(math.isnan(value) for value in kept(answers, ["up"], "top", [0.25], trivial=0.89)[:3])
    assert kept_shares(answers, 0.25, metric="accuracy", trivial=0.89)["share"].isna().all()


def test_shares_come_by_role_and_band_of_one_size_with_what_is_left_without_any(answers):
    table = kept_shares(answers, 0.25, metric="accuracy", trivial=0.5)
    assert {(row.role, row.band) for row in table.itertuples()} == {
        ("up", REMOVED), ("up", "top"), ("up", "bottom"), ("query", "top"), ("key", "top"),
    }  # fmt: skip
    assert kept_shares(answers, 0.5, metric="accuracy", trivial=0.5)["band"].tolist() == [REMOVED]


def test_answers_that_are_not_there_or_not_alike_are_refused(answers):
    with pytest.raises(VxlabError, match=r"no answers with the top 0.1 of the up weights; ask for them first"):
        kept(answers, ["up"], "top", [0.1])
    with pytest.raises(VxlabError, match="different test items"):
        truncation_scores(answers[(answers["role"] != "key") | (answers["item"] > 5)])
