"""The front and the pairs against brute force and hand computation."""

import itertools

import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.candidates.pareto import gain_per_thousand, matched_pairs, pareto_front


def table(rows, columns=("candidate", "method", "backbone", "mean")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_brute_force_finds(seed):
    random = np.random.default_rng(seed)
    points = random.integers(0, 6, (25, 2)).astype(float)  # many ties
    points[random.random(25) < 0.1, 0] = np.nan
    shown = pd.DataFrame(points, columns=["mean", "backbone"], index=random.permutation(25))
    found = pareto_front(shown)
    assert found.dtype == bool
    assert list(found.index) == list(shown.index)
    for label, (score, cost) in shown.iterrows():
        rivals = [(s, c) for s, c in points if not np.isnan(s) and (s, c) != (score, cost)]
        beaten = any(s >= score and c <= cost for s, c in rivals)
        assert found[label] == (not np.isnan(score) and not beaten)


def test_what_is_not_shown_to_beat_the_trivial_answer_is_on_no_front_and_beats_nobody():
    shown = pd.DataFrame({"mean": [0.58, 0.7, 0.65], "backbone": [0, 10, 5], "p_trivial": [0.4, 0.01, 0.05]})
    assert pareto_front(shown).tolist() == [False, True, True]
    assert pareto_front(shown.assign(mean=[0.9, 0.7, 0.65])).tolist() == [False, True, True]
    assert not pareto_front(shown.assign(p_trivial=0.06)).any()
    assert pareto_front(shown.assign(p_trivial=np.nan)).all()  # nothing was tested


def test_equal_points_are_on_the_front_together():
    assert pareto_front(pd.DataFrame({"mean": [0.9, 0.9], "backbone": [5, 5]})).all()


def test_of_one_cost_only_the_best_and_of_one_score_only_the_cheapest():
    shown = pd.DataFrame({"mean": [0.9, 0.8, 0.9], "backbone": [5, 5, 6]})
    assert pareto_front(shown).tolist() == [True, False, False]


def test_the_front_rises_in_score_with_cost_whatever_the_cost():
    random = np.random.default_rng(0)
    shown = pd.DataFrame({"mean": random.random(50), "step_seconds": random.random(50)})
    front = shown[pareto_front(shown, score="mean", cost="step_seconds")].sort_values("step_seconds")
    assert front["mean"].is_monotonic_increasing


def test_missing_numbers_of_any_kind_are_off_the_front_and_beat_nobody():
    shown = pd.DataFrame({"mean": [np.nan, 0.9, 0.8], "backbone": pd.array([1, None, 7], dtype="Int64")})
    assert pareto_front(shown).tolist() == [False, False, True]
    assert pareto_front(shown.iloc[:0]).tolist() == []


def test_a_partner_is_the_nearest_in_ratio_of_every_other_method():
    rows = [("L1", "LoRA", 1000), ("L2", "LoRA", 4000), ("V", "VeRA", 2400), ("X", "LoRA-XS", 600), ("H", "Head", 0)]
    found = matched_pairs(table(rows, ("candidate", "method", "backbone")))
    # V is nearer to L2 by ratio (1.7 to 2.4) though nearer to L1 by count; nothing of LoRA-XS is near to V.
    assert [(a, b) for a, b, _ in found] == [("L1", "X"), ("L2", "V")]
    assert {(a, b): ratio for a, b, ratio in found}["L2", "V"] == pytest.approx(4000 / 2400)


def test_the_nearest_does_not_match_where_it_has_over_twice_the_parameters():
    rows = [("L", "LoRA", 147_456), ("V", "VeRA", 7_680), ("X", "LoRA-XS", 3_840), ("Y", "LiDB", 3_839)]
    found = matched_pairs(table(rows, ("candidate", "method", "backbone")))
    assert [(a, b) for a, b, _ in found] == [("V", "X"), ("X", "Y")]


def test_every_trained_candidate_has_as_partner_the_nearest_of_every_other_method_if_it_is_near():
    random = np.random.default_rng(1)
    drawn = zip(random.choice(["a", "b", "c"], 20).tolist(), random.integers(1, 10**6, 20).tolist(), strict=True)
    rows = [(f"c{i}", method, size) for i, (method, size) in enumerate(drawn)]
    shown = table(rows, ("candidate", "method", "backbone"))
    rows = shown.set_index("candidate")
    pairs = {frozenset((a, b)): ratio for a, b, ratio in matched_pairs(shown)}
    for name, method in itertools.product(rows.index, {"a", "b", "c"}):
        if rows["method"][name] == method:
            assert not any(pair == {name, other} for pair in pairs for other in rows.index[rows["method"] == method])
            continue
        others = rows[rows["method"] == method]
        distance = np.abs(np.log(others["backbone"].astype(float) / rows["backbone"][name]))
        if distance.min() <= np.log(2):
            assert frozenset((name, distance.idxmin())) in pairs
    assert pairs
    assert all(0.5 <= ratio <= 2 for ratio in pairs.values())


def test_the_gain_is_the_papers_formula_by_hand():
    # VeRA's Table of ViT-B on CIFAR100: LoRA 85.9 at 294.9K, VeRA 84.8 at 24.6K, head 77.7.
    rows = [("L", "LoRA", 294_912, 0.859), ("V", "VeRA", 24_576, 0.848), ("H", "Head", 0, 0.777)]
    gains = gain_per_thousand(table(rows), 0.777)
    assert gains[:2].tolist() == pytest.approx([100 * 0.859 / 0.777 / 294.912, 100 * 0.848 / 0.777 / 24.576])
    assert np.isnan(gains[2])
    # It favours small counts by construction: a candidate no better than the head wins.
    assert gain_per_thousand(table([("T", "TinyLoRA", 1000, 0.777)]), 0.777)[0] > gains[:2].max()


def test_bad_tables_are_refused_by_name():
    shown = table([("L", "LoRA", 1000, 0.9)])
    with pytest.raises(VxlabError, match="no column 'backbones'; did you mean 'backbone'"):
        pareto_front(shown, cost="backbones")
    with pytest.raises(VxlabError, match="head_score=0: the gain is over the head alone, whose score must be above 0"):
        gain_per_thousand(shown, 0)
    with pytest.raises(VxlabError, match="head_score=nan"):
        gain_per_thousand(shown, float("nan"))
