"""Laws of candidates on the same draws: paired by draw, no surer than the draws allow, never narrow by shared rows."""

import json

import drawn as study
import numpy as np
import pytest
import verdicts
from scipy.stats import ttest_rel

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.against_trivial import against_trivial
from vxlab.experiments.scoring.draw_luck import draw_luck, paired_luck, widening
from vxlab.experiments.scoring.significance import compare_all, compare_two

ITEMS = 2000
LABELS = np.ones(ITEMS, int)


def answers(right: int) -> np.ndarray:
    """Return answers of which so many are right, the same ones of all."""
    return (np.arange(ITEMS) < right).astype(int)


def on(*rights: int, first: int = 0) -> dict[tuple[int, int], np.ndarray]:
    return {(draw, draw): answers(right) for draw, right in enumerate(rights, first)}


def simulated(number: int, candidates: int, draws: int, items: int = 486, **luck: float) -> np.ndarray:
    return study.on_draws(np.random.default_rng([number, candidates, draws, 7]), candidates, draws, items, **luck)


def test_of_two_candidates_it_is_the_paired_t_test():
    scores = {"a": np.array([0.5, 0.6, 0.8]), "b": np.array([0.4, 0.55, 0.6])}
    (luck,) = paired_luck(scores).values()
    t = (scores["a"] - scores["b"]).mean() / np.sqrt(luck.variance / 3)
    assert (t, luck.freedom) == pytest.approx((ttest_rel(*scores.values()).statistic, 2))
    assert luck.own == pytest.approx(luck.variance)


def test_what_a_draw_gives_to_all_is_no_difference():
    found = compare_two(on(1000, 1400, 1700), on(960, 1361, 1659), LABELS)
    unpaired = compare_two(*({key[0]: run for key, run in each.items()} for each in
                             (on(1000, 1400, 1700), on(960, 1361, 1659))), LABELS)  # fmt: skip
    assert found.difference == unpaired.difference == pytest.approx(0.02)
    assert found.seen
    assert unpaired.high - unpaired.low > 20 * (found.high - found.low)


def test_seeds_of_one_draw_are_one_run():
    several = {(0, 0): answers(1000), (0, 1): answers(1100), (1, 0): answers(1200), (1, 1): answers(1300)}
    one = compare_two(several, on(900, 1000), LABELS)
    assert one.difference == pytest.approx(0.1)
    assert one.freedom < 2
    alone = paired_luck({"a": np.array([0.525, 0.625]), "b": np.array([0.45, 0.5])})["a", "b"]
    assert one.error >= np.sqrt(alone.own / 2)


def test_the_order_of_draws_does_not_matter():
    a, b = on(1000, 1400, 1700), on(900, 1350, 1500)
    assert compare_two(a, dict(reversed(b.items())), LABELS) == compare_two(a, b, LABELS)


def test_draws_that_are_not_the_same_are_not_paired():
    a, b = on(1000, 1400, 1700), on(960, 1360, 1660, first=1)
    lost = a | {(2, 2): np.full((ITEMS, 2), np.nan)}
    for found in (compare_two(a, b, LABELS), compare_two(lost, on(960, 1360, 1660), LABELS)):
        assert found.covers_seeds
        assert found.high - found.low > 0.3


def test_more_candidates_tell_no_more_of_what_a_draw_does_to_one():
    scores = {name: np.array([0.5, 0.6, 0.8]) for name in "abcdef"}
    assert {luck.freedom for luck in draw_luck(scores).values()} == {2}
    rights = on(1000, 1200, 1600)
    found = against_trivial(dict.fromkeys("abcdef", rights), LABELS, constant=0)
    alone = against_trivial({"a": rights}, LABELS, constant=0)
    assert found["a"].low == pytest.approx(alone["a"].low)


def test_a_pair_of_two_families_is_no_surer_than_its_own_draws():
    family = np.array([0.0, 0.1, 0.3, 0.2])
    noise = np.random.default_rng(0).normal(0, 0.001, (6, 4))
    lucks = paired_luck({str(i): 0.5 + (i % 2) * family + noise[i] for i in range(6)})
    assert lucks["0", "1"].own > lucks["0", "1"].variance  # the pool holds pairs of one family, too
    assert lucks["0", "1"].freedom == pytest.approx(3, abs=0.1)  # all differ along one line: not 5 · 3


def test_a_collapsed_run_widens_its_own_candidate_and_not_the_others():
    noise = np.random.default_rng(1).normal(0, 0.01, (6, 5))
    scores = {str(i): 0.6 + noise[i] for i in range(6)}
    before = paired_luck(scores)
    scores["5"] = scores["5"] - np.array([0, 0, 0.5, 0, 0])
    after = paired_luck(scores)
    assert after["0", "1"].variance < 1.5 * before["0", "1"].variance
    assert after["0", "5"].variance > 100 * before["0", "5"].variance
    assert after["0", "5"].freedom == 4


def test_draws_that_share_rows_widen_the_interval():
    a, b = on(1000, 1400, 1500), on(900, 1250, 1450)
    fresh, shared = (compare_all({"a": a, "b": b}, LABELS, drawn={"a": share})["a", "b"] for share in (0.0, 0.5))
    assert shared.error > 1.5 * fresh.error
    assert widening(3, 0.5) == 4
    with pytest.raises(
        VxlabError, match=r"drawn=1\.0 of b: give the share of the rows that a draw takes, 0 to below 1"
    ):
        compare_all({"a": a, "b": b}, LABELS, drawn={"b": 1.0})


def test_single_draws_tell_no_luck_and_say_so():
    found = compare_two(on(1000), on(900), LABELS)
    assert not found.covers_seeds


def test_what_cannot_be_scored_is_named_with_its_draw():
    with pytest.raises(VxlabError, match="b, draw 1, seed 7: accuracy of 1999 predictions and 2000 labels"):
        compare_two(on(1000), {(1, 7): answers(1000)[1:]}, LABELS)


@pytest.mark.parametrize(
    ("candidates", "draws", "luck"),
    [(2, 3, {"shared": 4.0}), (2, 5, {"own": 2.0}), (5, 3, {"shared": 4.0, "family": 2.0}),
     (2, 3, {"own": 2.0, "share": 0.5})],
)  # fmt: skip
def test_equal_candidates_on_the_same_draws_are_told_apart_in_at_most_5_percent_of_200_tables(candidates, draws, luck):
    shares, labels = dict.fromkeys(map(str, range(candidates)), luck.get("share", 0.0)), np.ones(486, int)
    tables = (study.as_runs(simulated(number, candidates, draws, **luck)) for number in range(200))
    false = [each.p <= 0.05 for runs in tables for each in compare_all(runs, labels, drawn=shares).values()]
    assert np.mean(false) <= 0.05


def test_where_draws_are_shared_pairs_see_what_candidates_alone_do_not():
    labels = np.ones(486, int)
    tables = [simulated(number, 2, 5, shared=4.0, worse=0.04) for number in range(40)]
    seen, alone = (
        np.mean([compare_two(*study.as_runs(right, by_draw).values(), labels).seen for right in tables])
        for by_draw in (True, False)
    )
    assert seen > 0.7
    assert alone < 0.4


def test_the_study_of_draws_in_the_tree_says_what_the_text_says():
    if not verdicts.RESULTS.is_file():
        pytest.skip("benchmarks/results/verdicts.json is not there: run benchmarks/verdicts.py")
    rows = [
        row for row in json.loads(verdicts.RESULTS.read_text(encoding="utf-8")) if row["kind"].startswith("on draws")
    ]
    equal = [row for row in rows if "equal" in row["kind"]]
    assert len(equal) == 52
    wrong = [row["pairs_falsely_told_apart_uncorrected"] for row in equal]
    assert max(wrong) < 0.06
    assert np.mean(wrong) < 0.03
    assert all(row["tables_with_a_false_verdict"] < 0.06 for row in equal)
    assert all(row["false_against_trivial"] < 0.03 for row in rows)
    pools = [row for row in equal if row.get("share", 0) >= 0.3 and row["draws"] == 5]
    assert all(row["unwidened_pairs_falsely_told_apart_uncorrected"] > 0.15 for row in pools)
    shared = [row for row in rows if "worse, shared" in row["kind"] and row["draws"] == 5]
    assert all(row["power"] > 8 * row["unpaired_power"] or row["power"] > 0.6 for row in shared)
