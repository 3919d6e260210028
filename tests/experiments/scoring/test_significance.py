"""Summaries and comparisons against hand computation, other formulas, and tables whose truth is known."""

import json
import math
import time

import numpy as np
import pytest
import scipy.stats
import verdicts as study

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.metrics import compute
from vxlab.experiments.scoring.significance import compare_all, compare_two, holm, score_intervals, summarise

LABELS = np.arange(400) % 2


def answers(*wrong: int, items: int = 400, first: int = 0) -> dict[int, np.ndarray]:
    """Return runs that miss so many items, from ``first`` on, round and round."""
    labels = np.arange(items) % 2
    misses = [np.isin(np.arange(items), (first + np.arange(each)) % items) for each in wrong]
    return {seed: np.where(missed, 1 - labels, labels) for seed, missed in enumerate(misses)}


def simulated(scores, seeds, items, seed_sd, number, **more) -> dict[str, dict[int, np.ndarray]]:
    random = np.random.default_rng([number, seeds, items, 77])
    drawn = study.simulated(random, scores, seeds, items, [seed_sd] * len(scores), **more)
    return {str(i): dict(enumerate(runs.astype(int))) for i, runs in enumerate(drawn)}


def test_a_summary_worked_out_by_hand():
    row = summarise([0.9, 0.8, 0.7, 1.0, math.nan])
    expected = {
        "median": 0.85,
        "q1": 0.775,
        "q3": 0.925,
        "mean": 0.85,
        "sd": math.sqrt(0.05 / 3),
        "n": 4,
        "diverged": 1,
    }
    assert row == pytest.approx(expected)


@pytest.mark.parametrize(("scores", "n", "diverged"), [([0.5], 1, 0), ([math.nan] * 2, 0, 2), ([], 0, 0)])
def test_what_few_scores_cannot_tell_is_nan_without_a_warning(scores, n, diverged):
    row = summarise(scores)
    assert (row["n"], row["diverged"]) == (n, diverged)
    assert math.isnan(row["sd"])
    assert math.isnan(row["median"]) == (n == 0)


def test_holm_is_the_step_down_of_bonferroni():
    random = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = random.random(size) ** 3
        expected, largest = np.empty(size), 0.0
        for place, index in enumerate(sorted(range(size), key=lambda i: p[i])):
            largest = max(largest, min(1.0, (size - place) * p[index]))
            expected[index] = largest
        assert holm(p) == pytest.approx(expected)
        assert (holm(p) <= np.minimum(1, size * p) + 1e-12).all()
    assert holm([]).shape == (0,)


def test_holm_leaves_what_could_not_be_compared_out_of_the_count():
    assert holm([0.01, math.nan, 0.04])[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm([0.01, math.nan, 0.04])[1])
    with pytest.raises(VxlabError, match=r"p_values=\[1\.5\]: a p-value lies between 0 and 1"):
        holm([0.5, 1.5])


def test_runs_of_one_seed_are_compared_over_items_as_a_paired_t_test_does():
    a, b = answers(30), answers(50, first=20)
    found = compare_two(a, b, LABELS)
    right = [(each[0] == LABELS).astype(float) for each in (a, b)]
    oracle = scipy.stats.ttest_rel(*right)
    assert found.difference == pytest.approx(20 / 400)
    assert not found.covers_seeds
    # Two more items, answered one each way, widen it a little.
    interval = oracle.confidence_interval()
    assert found.low < interval.low < interval.high < found.high
    assert found.high - found.low < 1.05 * (interval.high - interval.low)
    assert oracle.pvalue < found.p < 1.4 * oracle.pvalue


def test_where_seeds_are_all_that_varies_it_is_students_t_test():
    # Each run misses another part of very many items: nothing is left of the items once seeds are counted.
    random = np.random.default_rng(3)
    labels = np.ones(20_000, int)
    a, b = ({s: (random.random(20_000) < each).astype(int) for s, each in enumerate(scores)}
            for scores in ((0.80, 0.83, 0.81), (0.88, 0.85, 0.90)))  # fmt: skip
    found = compare_two(a, b, labels)
    oracle = scipy.stats.ttest_ind(*([run.mean() for run in runs.values()] for runs in (a, b)))
    assert found.p == pytest.approx(oracle.pvalue, rel=0.05)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()), rel=0.05)


def test_swapping_the_two_turns_the_sign_and_order_does_not_matter():
    a, b = simulated([0.85, 0.80], 3, 400, 1.0, 0).values()
    one, other = compare_two(a, b, np.ones(400, int)), compare_two(b, a, np.ones(400, int))
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(
        (-other.difference, -other.high, -other.low, other.p)
    )
    shuffle = np.random.default_rng(0).permutation(400)
    assert compare_two({s: p[shuffle] for s, p in a.items()}, {s: p[shuffle] for s, p in b.items()},
                   np.ones(400, int)) == pytest.approx(one)  # fmt: skip


def test_logits_and_class_ids_give_the_same():
    a, b = answers(30, 33), answers(50, 41, first=20)
    logits = [{seed: np.eye(2)[run] for seed, run in each.items()} for each in (a, b)]
    assert compare_two(*logits, LABELS) == compare_two(a, b, LABELS)


def test_one_run_beside_itself_differs_by_nothing():
    found = compare_two(answers(30), answers(30), LABELS)
    assert (found.difference, found.p) == (0, 1)
    assert found.low < 0 < found.high


def test_a_handful_of_items_proves_little_even_where_all_agree():
    few = np.ones(3, int)
    assert compare_two({0: few}, {0: 1 - few}, few).p > 0.05
    # Five misses to none, of a thousand: the sign test says 0.06.
    many = np.ones(1000, int)
    assert compare_two({0: many}, {0: np.where(np.arange(1000) < 5, 0, 1)}, many).p > 0.05


def test_seeds_widen_the_interval():
    steady, shaky = answers(60, 60, 60, first=5), answers(30, 60, 90)
    calm = compare_two(answers(60, 60, 60), steady, LABELS)
    assert compare_two(shaky, steady, LABELS).high > 3 * calm.high


def test_diverged_runs_are_left_out_and_none_left_is_nan():
    a, b = answers(30, 33), answers(50, 41)
    broken = np.full(400, np.nan)
    assert compare_two({**a, 7: broken}, b, LABELS) == compare_two(a, b, LABELS)
    nothing = compare_two({7: broken}, b, LABELS)
    assert all(math.isnan(value) for value in nothing[:4])
    assert math.isnan(compare_two({}, b, LABELS).p)


def test_a_lone_run_borrows_the_luck_of_seeds_from_the_others():
    runs = {"a": answers(30), "b": answers(50, first=20)}
    alone = compare_all(runs, LABELS)["a", "b"]
    beside = compare_all({**runs, "c": answers(10, 30, 50)}, LABELS)["a", "b"]
    assert (alone.covers_seeds, beside.covers_seeds) == (False, True)
    assert beside.high > alone.high


def test_a_collapsed_run_widens_its_own_candidate_and_not_the_others():
    runs = simulated([0.85] * 9, 3, 500, 0.5, 1)
    labels = np.ones(500, int)
    before = compare_all(runs, labels)
    runs["0"][0] = (np.arange(500) % 2).astype(int)
    after = compare_all(runs, labels)
    assert after["1", "2"].high - after["1", "2"].low == pytest.approx(
        before["1", "2"].high - before["1", "2"].low, rel=0.2
    )
    assert after["0", "1"].high - after["0", "1"].low > 5 * (before["0", "1"].high - before["0", "1"].low)


def test_more_candidates_teach_how_much_seeds_matter():
    runs = simulated([0.85] * 9, 2, 2553, 1.0, 5)
    labels = np.ones(2553, int)
    family = compare_all(runs, labels)
    pairs = [(str(i), str(i + 1)) for i in range(8)]
    widths = [family[pair].high - family[pair].low for pair in pairs]
    alone = [compare_two(runs[a], runs[b], labels) for a, b in pairs]
    assert np.mean(widths) < 0.8 * np.mean([each.high - each.low for each in alone])


@pytest.mark.parametrize("metric", ["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman"])
def test_the_variance_over_items_is_the_bootstraps(metric):
    # The jackknife, and for correlations 1,000 resamples, against 4,000 of another generator.
    a, b = ({0: runs[0]} for runs in simulated([0.85, 0.80], 1, 600, 1.0, 2).values())
    labels = np.random.default_rng(0).integers(0, 2, 600)
    a, b = ({0: np.where(runs[0] == 1, labels, 1 - labels)} for runs in (a, b))
    found = compare_two(a, b, labels, metric)
    random = np.random.default_rng(9)
    drawn = [random.integers(600, size=600) for _ in range(4000)]
    differences = [
        compute([metric], a[0][items], labels[items])[metric] - compute([metric], b[0][items], labels[items])[metric]
        for items in drawn
    ]
    half = scipy.stats.t.ppf(0.975, 599) * math.sqrt(np.var(differences) + 2 / 600**2)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.07)
    assert found.difference == pytest.approx(
        compute([metric], a[0], labels)[metric] - compute([metric], b[0], labels)[metric]
    )


@pytest.mark.parametrize("metric", ["matthews", "f1_macro", "spearman"])
def test_a_pair_of_full_size_takes_about_a_second(metric):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2553)
    runs = [{s: labels + random.standard_normal(2553) for s in range(5)} for _ in range(2)]
    if metric != "spearman":
        runs = [{s: (run > 0.5).astype(int) for s, run in each.items()} for each in runs]
    start = time.process_time()
    compare_two(*runs, labels, metric)
    # Classes take 0.02 s and ranks 2 s on a slow core; this catches a loss of several times.
    assert time.process_time() - start < (6 if metric == "spearman" else 0.3)


@pytest.mark.parametrize("own_items", [0.0, 1.0], ids=["copies", "other items"])
def test_two_equal_candidates_are_told_apart_in_at_most_5_percent_of_300_tables(own_items):
    sizes = [(seeds, items, sd) for seeds in (2, 3, 5) for items in (200, 872) for sd in (0.5, 2.0)]
    rates = {}
    for seeds, items, sd in sizes:
        tables = [simulated([0.85] * 2, seeds, items, sd, number, own_items=own_items) for number in range(25)]
        false = [compare_two(*table.values(), np.ones(items, int)).p <= 0.05 for table in tables]
        rates[seeds, items, sd] = np.mean(false)
    assert np.mean(list(rates.values())) <= 0.05, rates
    assert max(rates.values()) <= 0.2, rates  # of 25 tables each: more is beyond chance


@pytest.mark.parametrize("seeds", [2, 3])
def test_nine_equal_candidates_hold_a_false_verdict_in_at_most_5_percent_of_100_tables(seeds):
    labels = np.ones(872, int)
    tables = (simulated([0.85] * 9, seeds, 872, 1.0, number) for number in range(100))
    false = [(holm([c.p for c in compare_all(table, labels).values()]) <= 0.05).any() for table in tables]
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize("own_items", [0.0, 1.0])
def test_8_points_are_seen_with_2_seeds_and_500_items_and_covered(own_items):
    labels = np.ones(500, int)
    found = [
        compare_two(*simulated([0.85, 0.77], 2, 500, 0.5, number, own_items=own_items).values(), labels)
        for number in range(200)
    ]
    assert np.mean([each.p <= 0.05 for each in found]) > 0.9
    assert 0.93 <= np.mean([each.low <= 0.08 <= each.high for each in found]) <= 0.995


def test_the_simulated_scores_are_what_was_asked_for():
    random = np.random.default_rng(0)
    drawn = study.simulated(random, [0.85, 0.77], 400, 2000, [2.0, 0.5], own_items=1.0)
    assert drawn.mean(axis=(1, 2)) == pytest.approx([0.85, 0.77], abs=0.02)
    assert drawn.mean(axis=2).std(axis=1) == pytest.approx([0.02, 0.008], rel=0.25)


METRICS = ["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman"]


def in_units(units=60, seeds=2, shared=1.5, number=0, scores=(0.8, 0.7), mean=8):
    """Return candidates' runs on items of unequal units, labels, and units: an item is hard where its unit is, by a
    candidate's own measure.
    """
    random = np.random.default_rng([number, units])
    of = np.repeat(np.arange(units), np.maximum(1, random.lognormal(np.log(mean), 0.8, units).astype(int)))
    labels = random.integers(0, 2, len(of))
    runs = {}
    for name, score in zip("abcdefghi", scores, strict=False):
        ease = shared * random.standard_normal(units)[of] + random.standard_normal(len(of))
        ease = ease + scipy.stats.norm.ppf(score) * math.sqrt(1 + shared**2)
        noise = 0.2 * random.standard_normal((seeds, len(of)))
        runs[name] = {seed: np.where(ease + each > 0, labels, 1 - labels) for seed, each in enumerate(noise)}
    return runs, labels, of


@pytest.mark.parametrize("metric", METRICS)
def test_units_of_one_item_each_change_nothing(metric):
    runs, labels, _ = in_units()
    own = np.random.default_rng(0).permutation(len(labels))
    found, expected = (compare_all(runs, labels, metric, units=units)["a", "b"] for units in (own, None))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_items_repeated_as_one_unit_tell_no_more_than_the_items_once(metric, seeds):
    runs, labels, _ = in_units(units=40, seeds=seeds)
    repeated = {name: {s: np.repeat(run, 5) for s, run in each.items()} for name, each in runs.items()}
    of = np.repeat(np.arange(len(labels)), 5)
    once = compare_all(runs, labels, metric)["a", "b"]
    often = compare_all(repeated, np.repeat(labels, 5), metric, units=of)["a", "b"]
    assert often == pytest.approx(once, rel=1e-9 if metric == "accuracy" else 0.01, abs=1e-12)


def test_the_variance_over_units_is_the_sandwichs_with_each_unit_left_out():
    # By hand, of the 0-1 differences: u is a unit's sum of residuals, widened by how much of the fit the unit is.
    runs, labels, of = in_units(seeds=1)
    found = compare_all(runs, labels, units=of)["a", "b"]
    right = [(runs[name][0] == labels).astype(float) for name in "ab"]
    residual, sizes, items = right[0] - right[1] - found.difference, np.bincount(of), len(of)
    u = np.bincount(of, weights=residual) / items / (1 - sizes / items)
    units = len(sizes)
    left_out = units / (units - 1) * ((u - u.mean()) ** 2).sum() * ((units - 1) / units) ** 2
    ratio = left_out * (units - 1) / units / ((residual**2).sum() / items**2)
    errors = (residual**2).sum()
    together = (ratio * errors + ratio * (sizes**2).sum() / items) / (errors + ratio)
    assert found.error**2 == pytest.approx(left_out + 2 * (together / items) ** 2, rel=1e-9)
    variances = sizes * (1 + (sizes - 1) * (together - 1) / ((sizes**2).sum() / items - 1))
    assert found.freedom == pytest.approx(variances.sum() ** 2 / (variances**2).sum() - 1)


@pytest.mark.parametrize("metric", METRICS)
def test_the_error_over_units_is_that_of_a_bootstrap_of_units(metric):
    runs, labels, of = in_units(units=150, seeds=1)
    found = compare_all(runs, labels, metric, units=of)["a", "b"]
    random, items = np.random.default_rng(9), [np.flatnonzero(of == unit) for unit in range(150)]
    differences = []
    for _ in range(2000):
        drawn = np.concatenate([items[unit] for unit in random.integers(150, size=150)])
        scores = [compute([metric], runs[name][0][drawn], labels[drawn])[metric] for name in "ab"]
        differences.append(scores[0] - scores[1])
    assert found.error == pytest.approx(np.std(differences), rel=0.1)
    assert found.error > 1.5 * compare_all(runs, labels, metric)["a", "b"].error


def test_the_order_and_the_names_of_units_do_not_matter():
    runs, labels, of = in_units()
    expected = compare_all(runs, labels, units=of)["a", "b"]
    shuffle = np.random.default_rng(1).permutation(len(of))
    names = np.array([f"film {7 * unit % 60}" for unit in of])[shuffle]
    moved = {name: {s: run[shuffle] for s, run in each.items()} for name, each in runs.items()}
    assert compare_all(moved, labels[shuffle], units=names)["a", "b"] == pytest.approx(expected)


def test_one_unit_all_one_way_proves_little():
    """30 items missed to none are much if they are of 30 films, and one stroke of luck if they are one film's."""
    labels, of = np.ones(1200, int), np.arange(1200) // 30
    one_film, spread = np.where(of == 3, 0, 1), np.where(np.arange(1200) % 40 == 0, 0, 1)
    assert compare_two({0: labels}, {0: spread}, labels, units=of).p < 0.001
    assert compare_two({0: labels}, {0: one_film}, labels, units=of).p > 0.4
    assert compare_two({0: labels}, {0: one_film}, labels).p < 0.001
    alike = compare_two({0: labels}, {0: labels}, labels, units=of)
    assert alike.high > 10 * compare_two({0: labels}, {0: labels}, labels).high


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_candidates_on_units_are_told_apart_in_at_most_5_percent_of_200_tables(seeds):
    false = np.zeros((200, 2), dtype=bool)
    for number in range(200):
        runs, labels, of = in_units(40, seeds, 0.7, number, scores=(0.8, 0.8), mean=12)
        false[number] = [compare_two(*runs.values(), labels, units=units).p <= 0.05 for units in (of, None)]
    over_units, over_items = false.mean(axis=0)
    assert over_units <= 0.05
    assert over_items > 0.1


def test_a_candidate_without_luck_adds_none_and_counts_once():
    runs, labels, of = in_units(seeds=3, scores=(0.8, 0.7, 0.8))
    still = {0: runs["b"][0]}
    family = {"a": runs["a"], "c": runs["c"], "still": still}
    ordinary = compare_all(family, labels, units=of)["a", "still"]
    fixed = compare_all(family, labels, units=of, fixed=["still"])["a", "still"]
    assert fixed.high - fixed.low < ordinary.high - ordinary.low
    assert fixed.covers_seeds
    again = compare_all({**family, "still": dict.fromkeys(range(5), still[0])}, labels, units=of, fixed=["still"])
    assert again["a", "still"] == fixed
    # Two without luck differ by items alone, and nothing is left open; beside one whose luck is unknown something is.
    both = compare_all({"x": still, "y": {0: runs["a"][0]}}, labels, units=of, fixed=["x", "y"])["x", "y"]
    assert both[:4] == compare_two(still, {0: runs["a"][0]}, labels, units=of)[:4]
    assert both.covers_seeds
    assert not compare_all({"x": still, "y": {0: runs["a"][0]}}, labels, fixed=["x"])["x", "y"].covers_seeds


def test_runs_that_differ_are_not_without_luck_whatever_is_said_of_them():
    runs, labels, _ = in_units(seeds=3)
    assert compare_all(runs, labels, fixed=["a", "b"]) == compare_all(runs, labels)


def test_names_and_units_that_make_no_sense_are_refused():
    runs, labels, of = in_units()
    with pytest.raises(VxlabError, match=r"fixed=\['z'\]: no such candidates; give some of a, b"):
        compare_all(runs, labels, fixed=["z"])
    with pytest.raises(VxlabError, match=r"units has the shape .*; give one unit for each"):
        compare_all(runs, labels, units=of[1:])
    with pytest.raises(VxlabError, match="are of one unit, so nothing tells how much other units would score"):
        compare_all(runs, labels, units=0 * of)


def test_a_resample_is_the_same_every_time():
    a, b = answers(30, 33), answers(50, 41, first=20)
    assert compare_two(a, b, LABELS, "f1") == compare_two(a, b, LABELS, "f1")


def test_what_cannot_be_scored_is_named_with_candidate_and_seed():
    good = answers(30)
    with pytest.raises(VxlabError, match="b, seed 4: accuracy of 399 predictions and 400 labels"):
        compare_two(good, {4: good[0][1:]}, LABELS)
    with pytest.raises(VxlabError, match="a, seed 0: unknown metric 'acuracy'; did you mean 'accuracy'"):
        compare_two(good, good, LABELS, "acuracy")
    with pytest.raises(VxlabError, match=r"labels has 1 item\(s\); candidates are compared on 2 or more"):
        compare_two(good, good, LABELS[:1])


def test_a_scores_interval_is_that_of_its_difference_from_a_flawless_answer():
    runs = answers(20, 30, 40)
    compared = compare_all({"own": runs, "flawless": {0: LABELS}}, LABELS, fixed=["flawless"])["own", "flawless"]
    wanted = (1 + compared.low, 1 + compared.high)
    assert score_intervals({"own": runs}, LABELS)["own"] == pytest.approx(wanted)


def test_a_scores_interval_covers_what_is_true_of_other_items_and_seeds():
    scores, hits, count = [0.70, 0.75, 0.80, 0.85], 0, 0
    for number in range(60):
        found = score_intervals(simulated(scores, 3, 300, 2.0, number), np.ones(300, dtype=int))
        hits += sum(low <= score <= high for score, (low, high) in zip(scores, found.values(), strict=True))
        count += len(scores)
    assert 0.92 <= hits / count <= 1


def test_a_scores_interval_stays_in_the_metrics_range_and_has_no_zero_width():
    perfect = dict.fromkeys(range(3), LABELS)
    low, high = score_intervals({"perfect": perfect}, LABELS)["perfect"]
    assert 0.98 < low < high == 1
    wrong = dict.fromkeys(range(3), 1 - LABELS)
    assert score_intervals({"wrong": wrong}, LABELS)["wrong"][0] == 0
    assert score_intervals({"wrong": wrong}, LABELS, "matthews")["wrong"][0] == -1


def test_without_a_finished_run_a_score_has_no_interval():
    lost = {0: np.full(400, math.nan)}
    found = score_intervals({"lost": lost, "own": answers(20, 30)}, LABELS)
    assert np.isnan(found["lost"]).all()
    assert np.isfinite(found["own"]).all()


def test_the_study_in_the_tree_says_what_the_text_says():
    if not study.RESULTS.is_file():
        pytest.skip("benchmarks/results/verdicts.json is not there: run benchmarks/verdicts.py")
    rows = json.loads(study.RESULTS.read_text(encoding="utf-8"))
    equal = [row for row in rows if row["kind"].startswith(("copies", "equal")) and row["metric"] == "accuracy"]
    assert len(equal) == 72
    assert np.mean([row["tables_with_a_false_verdict"] for row in equal]) < 0.05
    assert all(row["coverage"] > 0.92 for row in equal)
    in_units = [row for row in rows if row["kind"] == "in units, equal"]
    assert len(in_units) == 48
    assert all(row["tables_with_a_false_verdict"] <= 0.05 for row in in_units)
    assert all(row["coverage"] >= 0.93 for row in rows if row["kind"].startswith("in units") and "coverage" in row)
    assert all(row["runs_falsely_told_apart"] <= 0.05 for row in rows if "exchanged" in row["kind"])
    assert all(row["tables_with_a_false_beaten"] <= 0.05 for row in rows if row["kind"].startswith("at chance"))
    assert all(
        row["coverage_ignoring_units"] < 0.8
        for row in in_units
        if row["design_effect_asked"] == 10 and row["seeds"] > 2
    )
    few = [row for row in equal if row["seeds"] == 2 and row["items"] == 2553 and 2.0 in row["seed_sd_points"]]
    assert all(row["plain_bootstrap_tables_with_a_false_verdict"] > 0.15 for row in few)
