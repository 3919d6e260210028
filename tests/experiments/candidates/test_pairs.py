"""The table of pairs: its columns, kinds and sentences, on tables whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.candidates.pairs import Pair, difference_in_words, interval_in_words, pair_sentence, pairs_table
from vxlab.experiments.scoring.significance import Difference, compare_all, holm

LABELS = np.arange(600) % 2
SUMMARY = pd.DataFrame(
    [
        ("LoRA r=8", "LoRA", 8, 73_728),
        ("VeRA r=8", "VeRA", 8, 4_704),
        ("VeRA r=256", "VeRA", 256, 7_680),
        ("Head", "Head", None, 0),
    ],
    columns=["candidate", "method", "rank", "backbone"],
).astype({"rank": "Int64", "backbone": "Int64"})


def runs(missed: float, seeds: int = 3, start: int = 0) -> dict[int, np.ndarray]:
    random = np.random.default_rng(start)
    return {start + s: np.where(random.random(600) < missed, 1 - LABELS, LABELS) for s in range(seeds)}


@pytest.fixture(scope="module")
def predictions():
    shares = zip(SUMMARY["candidate"], (0.1, 0.1, 0.3, 0.3), strict=True)
    return {name: runs(missed, start=20 + 10 * i) for i, (name, missed) in enumerate(shares)}


@pytest.fixture(scope="module")
def pairs(predictions):
    return pairs_table(predictions, LABELS, "accuracy", SUMMARY).set_index(["a", "b"], drop=False)


def test_there_is_a_row_for_each_pair_with_the_columns_of_the_class(pairs):
    assert list(pairs.columns) == list(Pair._fields)
    assert list(pairs.index) == [
        (a, b) for i, a in enumerate(SUMMARY["candidate"]) for b in SUMMARY["candidate"][i + 1 :]
    ]
    assert pairs["seen"].dtype == bool


def test_the_numbers_are_those_of_the_comparison_corrected_for_all_pairs(pairs, predictions):
    compared = compare_all(predictions, LABELS)
    for pair, found in compared.items():
        assert tuple(pairs.loc[pair, ["difference", "low", "high", "p"]]) == tuple(found[:4])
    assert list(pairs["p_holm"]) == pytest.approx(list(holm(pairs["p"].to_numpy())))
    assert list(pairs["seen"]) == list(pairs["p_holm"] <= 0.05)
    assert pairs["seen"].tolist() == [False, True, True, True, True, False]


def test_kinds_and_ratios_come_of_rank_method_and_parameters(pairs, predictions):
    assert pairs.loc[("LoRA r=8", "VeRA r=8"), "kind"] == "equal rank"
    assert pairs.loc[("LoRA r=8", "VeRA r=256"), "kind"] == "other"  # nearest, at 9.6 times its parameters
    near = SUMMARY.assign(backbone=[9_216, 4_704, 7_680, 0])
    assert pairs_table(predictions, LABELS, "accuracy", near)["kind"][1] == "matched parameters"
    assert pairs.loc[("VeRA r=8", "VeRA r=256"), "kind"] == "other"  # of one method
    assert pairs.loc[("VeRA r=8", "Head"), "kind"] == "other"
    assert pairs.loc[("LoRA r=8", "VeRA r=256"), "parameter_ratio"] == pytest.approx(73_728 / 7_680)
    assert math.isnan(pairs.loc[("LoRA r=8", "Head"), "parameter_ratio"])


def test_sentences_name_the_better_first(pairs):
    assert pairs.loc[("LoRA r=8", "Head"), "sentence"].startswith("LoRA r=8 is better than Head by ")
    assert "cannot be told apart on this test set" in pairs.loc[("VeRA r=256", "Head"), "sentence"]


def test_a_candidate_without_a_finished_run_is_in_the_table_and_not_in_the_count(predictions):
    left = {name: each for name, each in predictions.items() if name != "Head"}
    found = pairs_table(left, LABELS, "accuracy", SUMMARY).set_index(["a", "b"])
    lost = found.loc[("LoRA r=8", "Head")]
    assert math.isnan(lost["difference"])
    assert not lost["seen"]
    assert lost["sentence"] == "LoRA r=8 and Head cannot be compared: a finished run of each is needed."
    assert "after Holm over 3 comparisons" in found.loc[("LoRA r=8", "VeRA r=256"), "sentence"]


def test_parameters_that_nobody_counted_leave_the_ratio_open(predictions):
    summary = SUMMARY.assign(backbone=pd.array([73_728, None, 7_680, 0], dtype="Int64"))
    found = pairs_table(predictions, LABELS, "accuracy", summary)
    assert math.isnan(found["parameter_ratio"][0])


def test_one_candidate_makes_an_empty_table_with_its_columns():
    found = pairs_table({"LoRA r=8": runs(0.1)}, LABELS, "accuracy", SUMMARY.iloc[:1])
    assert found.empty
    assert list(found.columns) == list(Pair._fields)


def test_sentences_word_for_word():
    better = Difference(-0.0312, -0.0431, -0.0192, 0.00006, True)
    assert pair_sentence("XS", "LoRA", better, 0.00216, 36, "accuracy") == (
        "LoRA is better than XS by 3.1 points (95 % 1.9 to 4.3; p = 0.0022 after Holm over 36 comparisons)."
    )
    assert pair_sentence("XS", "LoRA", better, 0.00006, 1, "f1") == (
        "LoRA is better than XS by 3.1 points of F1 (95 % 1.9 to 4.3; p < 0.001)."
    )
    assert pair_sentence("XS", "LoRA", better, 0.00216, 36, "rouge_l") == (
        "LoRA is better than XS by 3.1 points of ROUGE-L (95 % 1.9 to 4.3; p = 0.0022 after Holm over 36 comparisons)."
    )
    assert pair_sentence("XS", "LoRA", better, 0.00006, 1, "log_likelihood") == (
        "LoRA is better than XS by 0.031 nats of log-likelihood per token (95 % 0.019 to 0.043; p < 0.001)."
    )
    alone = Difference(0.012, 0.001, 0.023, 0.03, True)
    assert pair_sentence("A", "B", alone, 0.3, 10, "matthews") == (
        "A and B cannot be told apart on this test set: 0.012 in Matthews correlation, 95 % 0.001 to 0.023; "
        "p = 0.03 alone, p = 0.3 after Holm over 10 comparisons."
    )
    once = alone._replace(low=-0.01, p=0.2, covers_seeds=False)
    assert pair_sentence("A", "B", once, 0.2, 1, "accuracy") == (
        "A and B cannot be told apart on this test set: 1.2 points, 95 % −1.0 to 2.3. "
        "One seed each: the luck of training is not in this interval."
    )


def test_numbers_have_a_true_minus_and_none_before_a_zero():
    assert difference_in_words(-0.00004, "accuracy") == "0.0 points"
    assert interval_in_words(-0.02, -0.0004, "spearman") == "95 % −0.020 to 0.000"


def test_bad_tables_are_refused_by_name(predictions):
    with pytest.raises(
        VxlabError, match="predictions of 'LoRA r=9', which the summary does not hold; did you mean 'LoRA r=8'"
    ):
        pairs_table({"LoRA r=9": runs(0.1)}, LABELS, "accuracy", SUMMARY)
    with pytest.raises(VxlabError, match="the summary holds 'Head' twice; give each candidate one label"):
        pairs_table(predictions, LABELS, "accuracy", pd.concat([SUMMARY, SUMMARY.iloc[3:]]))
