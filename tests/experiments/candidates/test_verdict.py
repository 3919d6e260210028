"""The verdict's sentences, each computed from the tables it is given."""

import numpy as np
import pandas as pd
import pytest
import verdicts as study

from vxlab.errors import VxlabError
from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.candidates.pairs import pairs_table
from vxlab.experiments.candidates.verdict import verdict
from vxlab.experiments.scoring.significance import summarise
from vxlab.experiments.sweeps.comparison import with_chance

LABELS = np.arange(2000) % 2
CANDIDATES = {
    "LoRA r=8": ("LoRA", 8, 73_728, 0.094),
    "VeRA r=256": ("VeRA", 256, 7_680, 0.10),
    "LoRA-XS r=8": ("LoRA-XS", 8, 1_536, 0.30),
}
FLOOR = {"head only": ("head only", None, 0, 0.35), "probe": ("probe", None, 0, 0.25)}


def tables(seeds=3, metric="accuracy", broken=None, edges=None, candidates=CANDIDATES, items=2000, luck=0.0):
    """Return pairs and summary of candidates that miss the share of items asked for, seed by seed."""
    labels, predictions, rows = LABELS[:items], {}, []
    for number, (name, (method, rank, backbone, missed)) in enumerate(candidates.items()):
        random = np.random.default_rng(number)
        lost = (broken or {}).get(name, 0)
        shares = missed + luck * random.standard_normal(seeds)
        runs = {s: np.where(random.random(items) < shares[s], 1 - labels, labels) for s in range(seeds - lost)}
        if method == "probe":
            runs = dict.fromkeys(runs, runs.get(0))
        predictions[name] = runs
        scores = [(run == labels).mean() for run in runs.values()] + [np.nan] * lost
        edge = (edges or {}).get(name, "")
        own = {"candidate": name, "method": method, "rank": rank, "backbone": backbone, "edge": edge}
        rows.append(own | summarise(scores) | {"scores": tuple(scores[: seeds - lost]), "fixed": method == "probe"})
    summary = pd.DataFrame(rows).astype({"rank": "Int64", "backbone": "Int64"})
    summary = with_chance(summary, predictions, labels, metric, 0.0)
    return pairs_table(predictions, labels, metric, summary), summary


def summarised(predictions, labels):
    """Return pairs and summary of (seeds, items) predictions by candidate, of which none is cheaper."""
    rows = []
    for name, runs in predictions.items():
        scores = [float((run == labels).mean()) for run in runs]
        own = {"candidate": name, "method": name, "rank": 8, "backbone": 1000, "edge": "", "fixed": False}
        rows.append(own | summarise(scores) | {"scores": tuple(scores)})
    runs = {name: dict(enumerate(each)) for name, each in predictions.items()}
    summary = with_chance(pd.DataFrame(rows), runs, labels, "accuracy", 0.0)
    return pairs_table(runs, labels, "accuracy", summary), summary


def told(pairs, summary, **more) -> str:
    return verdict(pairs, summary, **{"metric": "accuracy", "held_out": HeldOut(2000, 0.5), **more})


def missing(**shares):
    """Return candidates, of sizes that fall, that miss these shares of the items."""
    return {name: (name, 8, 10_000 // (i + 1), missed) for i, (name, missed) in enumerate(shares.items())}


def test_the_first_line_names_the_trivial_answer_the_items_and_the_seeds():
    first = told(*tables()).splitlines()[0]
    assert first == (
        "- All 3 candidates are shown to beat the trivial answer (most frequent class: accuracy 50.0 %) on 2,000 test "
        "items, 3 seeds each, after Holm over 3 tests."
    )
    some = told(*tables(candidates=missing(A=0.3, B=0.5, C=0.51))).splitlines()[0]
    assert some.startswith("- **Not shown to beat the trivial answer (most frequent class: accuracy 50.0 %)** on 2,000")
    assert some.endswith(": B (50.3 %), C (49.1 %). A is shown to, after Holm over 3 tests.")


def test_where_nothing_beats_chance_nothing_is_ranked():
    text = told(*tables(candidates=missing(A=0.49, B=0.5, C=0.51)))
    assert text.startswith("- None of 3 candidates is shown to beat the trivial answer")
    assert text.endswith(": none is ranked, and none named as the cheapest.")
    assert "best" not in text
    alone = told(*tables(candidates=missing(A=0.5)))
    assert alone.startswith("- A is not shown to beat the trivial answer")
    assert alone.endswith(": there is nothing to rank.")


def test_a_chance_candidate_of_the_highest_mean_is_not_the_one_named():
    pairs, summary = tables(candidates=missing(A=0.2, B=0.5))
    text = told(pairs, summary.assign(mean=[0.8, 0.9], above=[True, False]))
    assert "**A** scores highest" in text or "**A** is best" in text
    assert "**B**" not in text


def test_best_is_said_only_of_what_is_told_apart_from_every_other():
    apart = told(*tables(candidates={**CANDIDATES, "VeRA r=256": ("VeRA", 256, 7_680, 0.2)})).splitlines()
    assert apart[1] == (
        "- **LoRA r=8** is best: mean accuracy 90.1 % (3 seeds: 90.0, 90.3, 90.0). It is told apart from each of the 2 "
        "others, after Holm over 3 comparisons."
    )
    assert apart[2] == "- Nothing cheaper does as well: LoRA r=8 trains 73,728 backbone parameters."
    alike = told(*tables())
    assert "best" not in alike
    assert "- **LoRA r=8** scores highest: mean accuracy 90.1 %" in alike
    assert "It is better than 1 of 2 others (LoRA-XS r=8), after Holm over 3 comparisons." in alike
    assert "As the highest of 3 that cannot all be told apart, its score is likely to flatter it." in alike


def test_a_single_seed_is_never_best():
    candidates = {**CANDIDATES, "VeRA r=256": ("VeRA", 256, 7_680, 0.2)}
    pairs, summary = tables(seeds=1, candidates=candidates)
    assert pairs["seen"].all()
    text = told(pairs, summary)
    assert not any(words in text for words in ("best", "flatter", "cannot all be told"))
    assert "accuracy 90.0 %. It is better than 2 of 2 others (" in text
    assert "One seed: the luck of training" in text


def test_equal_candidates_at_chance_are_almost_never_called_best():
    """The false claim is made in at most 5 of 100 tables, whatever the labels."""
    calls = 0
    for number in range(60):
        random = np.random.default_rng(number)
        answers = study.simulated(random, [0.5] * 4, seeds=3, items=200, seed_sd=[1.0] * 4)
        predictions, labels = study.as_predictions(random, answers)
        calls += "best" in told(*summarised({f"M{i}": each for i, each in enumerate(predictions)}, labels))
    assert calls <= 3


def test_few_seeds_are_shown_one_by_one_and_five_by_their_spread():
    assert "(3 seeds: 90.0, 90.3, 90.0)" in told(*tables())
    five = told(*tables(seeds=5))
    assert "mean accuracy 90.2 % (sd 0.2 over 5 seeds)" in five
    assert "seeds:" not in five
    assert "median" not in five + told(*tables())


def test_wide_intervals_leave_the_cheapest_open():
    text = told(*tables(items=200))
    (line,) = [line for line in text.splitlines() if "cheapest" in line]
    assert line.startswith("- Which is the cheapest that does as well cannot be said with these data: intervals of ±")
    assert line.endswith("are too wide for a margin of 2.0 points.")
    assert "Not told apart from it (each interval is its pair's own): VeRA r=256 (" in text
    assert "That is not proof of equality." in text
    assert "quivalent" not in text


def test_the_cheapest_is_one_that_is_shown_to_lose_less_than_the_margin():
    pairs, summary = tables()
    row = pairs.iloc[0]  # LoRA r=8 less VeRA r=256
    text = told(pairs, summary)
    assert (
        "- The cheapest shown to be worse by less than 2.0 points (after Holm over 2 tests) is **VeRA r=256**: 7,680 "
        f"trained backbone parameters, 10.4 % of LoRA r=8's 73,728; its difference is −{100 * row['difference']:.1f} "
        f"points, 95 % −{100 * row['high']:.1f} to "
    ) in text
    assert "Equivalent within 2.0 points (after Holm over 2 tests): VeRA r=256 (" in text
    assert "cannot be told" not in text.replace("cannot all be told", "")


def test_what_is_neither_shown_to_lose_little_nor_told_apart_stands_beside_what_it_may_lose():
    pairs, summary = tables()
    lose = 100 * pairs.iloc[0]["high"]
    text = told(pairs, summary, margin=0.0146)
    assert "The cheapest that cannot be told from it is **VeRA r=256**" in text
    assert f"lets it be up to {lose:.1f} points worse, and it is not shown to be worse by less than 1.5 points." in text
    assert "Equivalent" not in text


def test_what_is_not_above_chance_is_not_the_cheapest_that_does_as_well():
    pairs, summary = tables()
    text = told(pairs, summary.assign(above=[True, False, False]))
    assert "Nothing cheaper is shown to do as well." in text


@pytest.mark.parametrize("margin", [0, -0.01, 2.0, "0.02", float("nan"), True])
def test_what_is_no_margin_is_refused(margin):
    with pytest.raises(VxlabError, match="margin"):
        told(*tables(), margin=margin)


def test_the_floor_is_the_stronger_of_probe_and_head_and_the_head_is_no_fair_one():
    pairs, summary = tables(candidates=CANDIDATES | FLOOR)
    (line,) = [line for line in told(pairs, summary).splitlines() if "floor" in line]
    assert line.startswith(
        "- The floor, which trains nothing in the backbone, is **probe**: accuracy 75.8 %, beside head only 64.7 %. "
        "2 of 3 others are shown to beat it, after Holm over 10 comparisons; the highest, LoRA r=8, gains 14.3 points, "
        "95 % 12."
    )
    assert line.endswith("head only is shown to score less than it: trained like this it is no fair floor.")
    head = told(*tables(candidates=CANDIDATES | {"head only": FLOOR["head only"]}))
    assert "is **head only**: mean accuracy 64.7 % (3 seeds: " in head
    assert "No probe is beside it: an undertrained head would flatter these gains." in head
    pairs, drawn = tables(candidates=CANDIDATES | FLOOR)
    assert "No probe" not in told(pairs, drawn.assign(fixed=False))  # as of a probe on several draws
    assert "floor" not in told(*tables())


def test_where_nothing_beats_the_floor_it_is_said():
    candidates = {**FLOOR, "probe": ("probe", None, 0, 0.1), "LoRA r=8": CANDIDATES["LoRA r=8"],
                  "VeRA r=256": CANDIDATES["VeRA r=256"]}  # fmt: skip
    text = told(*tables(candidates=candidates))
    assert "None of 2 others is shown to beat it" in text
    assert "gains" not in text


def test_a_probe_counts_for_no_seeds():
    text = told(*tables(candidates=CANDIDATES | FLOOR, broken={"probe": 2}))
    assert "3 seeds each" in text
    assert "small sweep" not in text
    assert "1 seed" not in text


def test_units_are_said_and_so_is_that_they_are_not_known():
    pairs, summary = tables()
    text = told(pairs, summary, held_out=HeldOut(2000, 0.5, units=87, unit="films"))
    assert "on 2,000 test items in 87 films, 3 seeds each" in text
    assert "independent" not in text
    unknown = told(pairs, summary, held_out=HeldOut(2000, 0.5, known=False))
    assert "Test items were taken as independent: which of them belong together is not known of these runs." in unknown


def test_a_regression_is_never_of_a_class():
    text = told(*tables(metric="pearson"), metric="pearson", held_out=HeldOut(2000, 0.0, "training mean"))
    assert "the trivial answer (training mean: Pearson correlation 0.000)" in text
    assert "class" not in text


def test_pairs_of_equal_rank_and_of_matched_parameters_are_counted():
    text = told(*tables(candidates=CANDIDATES | {"LoRA r=1": ("LoRA", 1, 9_216, 0.3)}))
    assert "Of 1 pair of equal rank, 1 can be told apart." in text
    assert "Of 1 pair matched in parameters, 1 can be told apart." in text


def test_edges_losses_and_untuned_rates_are_said():
    text = told(*tables(broken={"VeRA r=256": 1}, edges={"LoRA r=8": "high"}), tuned=False)
    assert "on the edge of its range: LoRA r=8 (high)." in text
    assert "diverged or failed, and are in no score: VeRA r=256 (1 of 3)." in text
    assert "on 2,000 test items, 2 to 3 seeds, after" in text
    assert "One learning rate each" in text
    quiet = told(*tables())
    assert not any(word in quiet for word in ("edge", "diverged", "One learning rate", "small sweep"))


@pytest.mark.parametrize(("seeds", "words"), [(1, "One seed: the luck of training"), (2, "A small sweep (2 seeds")])
def test_few_seeds_are_warned_of(seeds, words):
    text = told(*tables(seeds=seeds))
    assert words in text
    assert ("mean accuracy" in text) == (seeds > 1)


def test_a_candidate_that_never_finished_is_neither_best_nor_rival():
    text = told(*tables(broken={"LoRA r=8": 3}))
    assert "**VeRA r=256** is best" in text
    assert "LoRA r=8 (3 of 3)" in text
    assert "It is told apart from LoRA-XS r=8, at p ≤ 0.05" in text


def test_nothing_finished_and_one_candidate_alone_are_said():
    assert "No candidate finished a run" in told(*tables(broken=dict.fromkeys(CANDIDATES, 3)))
    alone = told(*tables(candidates={"LoRA r=8": CANDIDATES["LoRA r=8"]}))
    assert alone.splitlines()[0].startswith("- LoRA r=8 is shown to beat the trivial answer")
    assert alone.splitlines()[1].startswith("- **LoRA r=8**: mean accuracy 90.1 %")
    assert not any(word in alone for word in ("best", "others", "highest"))


def test_other_metrics_speak_their_own_unit():
    text = told(*tables(metric="matthews"), metric="matthews")
    assert "mean Matthews correlation 0." in text
    assert "in Matthews correlation" in text.splitlines()[1]
    assert "points" not in text


def test_tables_of_other_candidates_are_refused():
    pairs, summary = tables()
    with pytest.raises(VxlabError, match="different candidates: LoRA-XS r=8 in one of them only"):
        told(pairs, summary.iloc[:2])
