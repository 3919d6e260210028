"""The verdict's sentences, each computed from the tables it is given."""

import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.pairs import pairs_table
from vxlab.experiments.statistics import summarise
from vxlab.experiments.verdicts import verdict

LABELS = np.arange(2000) % 2
CANDIDATES = {
    "LoRA r=8": ("LoRA", 8, 73_728, 0.094),
    "VeRA r=256": ("VeRA", 256, 7_680, 0.10),
    "LoRA-XS r=8": ("LoRA-XS", 8, 1_536, 0.30),
}


def tables(seeds=3, metric="accuracy", broken=None, edges=None, candidates=CANDIDATES):
    """Return pairs and summary of candidates that miss the share of items asked for, seed by seed."""
    predictions, rows = {}, []
    for number, (name, (method, rank, backbone, missed)) in enumerate(candidates.items()):
        random = np.random.default_rng(number)
        lost = (broken or {}).get(name, 0)
        runs = {s: np.where(random.random(2000) < missed, 1 - LABELS, LABELS) for s in range(seeds - lost)}
        predictions[name] = runs
        scores = [(run == LABELS).mean() for run in runs.values()] + [np.nan] * lost
        edge = (edges or {}).get(name, "")
        rows.append(
            {"candidate": name, "method": method, "rank": rank, "backbone": backbone, "edge": edge, **summarise(scores)}
        )
    summary = pd.DataFrame(rows).astype({"rank": "Int64", "backbone": "Int64"})
    return pairs_table(predictions, LABELS, metric, summary), summary


def told(pairs, summary, **more) -> str:
    return verdict(pairs, summary, **{"metric": "accuracy", "items": 2000, **more})


def test_it_names_the_best_its_equals_in_sight_and_the_cheapest_of_them():
    pairs, summary = tables()
    row = pairs.iloc[0]  # LoRA r=8 less VeRA r=256
    lines = told(pairs, summary).splitlines()
    assert all(line.startswith("- ") for line in lines)
    assert lines[0].startswith("- **LoRA r=8** scores best: median accuracy 9")
    assert lines[0].endswith("3 seeds each, 2,000 test items.")
    assert "It is better than 1 of 2 others, after Holm over 3 comparisons." in lines[1]
    assert (
        f"No difference seen to VeRA r=256 (−{100 * row['difference']:.1f} points, 95 % −{100 * row['high']:.1f} to"
        in lines[1]
    )
    assert lines[1].endswith("That is not proof of equality.")
    assert "**VeRA r=256**: 7,680 trained backbone parameters, 10.4 % of LoRA r=8's 73,728." in lines[2]
    assert lines[2].endswith(f"lets it be up to {100 * row['high']:.1f} points worse.")


def test_where_everything_is_told_apart_nothing_cheaper_does():
    candidates = {**CANDIDATES, "VeRA r=256": ("VeRA", 256, 7_680, 0.2)}
    text = told(*tables(candidates=candidates))
    assert "It is better than 2 of 2 others" in text
    assert "No difference seen" not in text
    assert "Nothing cheaper does as well: LoRA r=8 trains 73,728 backbone parameters." in text


def test_pairs_of_equal_rank_and_of_matched_parameters_are_counted():
    text = told(*tables())
    assert "Of 1 pair of equal rank, 1 can be told apart." in text
    assert "Of 2 pairs matched in parameters, 1 can be told apart." in text


def test_edges_losses_and_untuned_rates_are_said():
    text = told(*tables(broken={"VeRA r=256": 1}, edges={"LoRA r=8": "high"}), tuned=False)
    assert "on the edge of its range: LoRA r=8 (high)." in text
    assert "diverged or failed, and are in no score: VeRA r=256 (1 of 3)." in text
    assert "2 to 3 seeds, 2,000 test items" in text
    assert "One learning rate each" in text
    quiet = told(*tables())
    assert not any(word in quiet for word in ("edge", "diverged", "One learning rate", "small sweep"))


@pytest.mark.parametrize(("seeds", "words"), [(1, "One seed: the luck of training"), (2, "A small sweep (2 seeds")])
def test_few_seeds_are_warned_of(seeds, words):
    text = told(*tables(seeds=seeds))
    assert words in text
    assert ("median" in text) == (seeds > 1)


def test_a_candidate_that_never_finished_is_neither_best_nor_rival():
    text = told(*tables(broken={"LoRA r=8": 3}))
    assert "**VeRA r=256** scores best" in text
    assert "LoRA r=8 (3 of 3)" in text
    assert "better than 1 of 1 others, at p ≤ 0.05" in text


def test_nothing_finished_and_one_candidate_alone_are_said():
    assert "No candidate finished a run" in told(*tables(broken=dict.fromkeys(CANDIDATES, 3)))
    alone = told(*tables(candidates={"LoRA r=8": CANDIDATES["LoRA r=8"]}))
    assert alone.startswith("- **LoRA r=8** scores best")
    assert "others" not in alone


def test_a_median_may_lead_where_the_mean_trails():
    pairs, summary = tables(candidates={**CANDIDATES, "VeRA r=256": ("VeRA", 256, 7_680, 0.2)})
    text = told(pairs, summary.assign(median=[0.80, 0.95, 0.70]))
    assert "**VeRA r=256** scores best" in text
    assert "By the mean, LoRA r=8 is better, after Holm over 3 comparisons." in text


def test_other_metrics_speak_their_own_unit():
    text = told(*tables(metric="matthews"), metric="matthews")
    assert "median Matthews correlation 0." in text
    assert "in Matthews correlation" in text.splitlines()[1]
    assert "points" not in text


def test_tables_of_other_candidates_are_refused():
    pairs, summary = tables()
    with pytest.raises(VxlabError, match="different candidates: LoRA-XS r=8 in one of them only"):
        told(pairs, summary.iloc[:2])
