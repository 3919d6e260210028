"""The formulas of texts' metrics: where their columns lie, on stacks of sums, by hand, and where nothing was said."""

import math

import numpy as np
import pytest

from vxlab.experiments.scoring.text_formulas import COLUMNS, OF_SUMS, SHARES, TEXT_METRICS, WIDTH


def test_the_columns_follow_one_another_and_the_log_likelihoods_come_first():
    assert TEXT_METRICS[0] == "log_likelihood"
    assert COLUMNS["log_likelihood"] == slice(0, 2)
    ends = [0, *(columns.stop for columns in COLUMNS.values())]
    assert [columns.start for columns in COLUMNS.values()] == ends[:-1]
    assert [COLUMNS[name].start for name in ("exact_match", "acc", "gsm8k")] == [
        33,
        35,
        39,
    ]  # stored runs keep them so: new metrics come behind
    assert ends[-1] == WIDTH
    assert list(COLUMNS) == list(OF_SUMS)
    assert [name for name in OF_SUMS if name not in ("acc", "acc_norm")] == list(TEXT_METRICS)
    assert set(SHARES) < set(OF_SUMS)


@pytest.mark.parametrize("metric", TEXT_METRICS)
def test_a_stack_of_sums_scores_as_each_alone(metric):
    columns = COLUMNS[metric]
    sums = np.random.default_rng(0).integers(0, 4, (5, 3, columns.stop - columns.start)).astype(float)
    stack = OF_SUMS[metric](sums)
    assert stack.shape == (5, 3)
    alone = np.array([[float(OF_SUMS[metric](each)) for each in row] for row in sums])
    np.testing.assert_array_equal(stack, alone)


@pytest.mark.parametrize("metric", TEXT_METRICS)
def test_no_words_at_all_score_0_and_a_mean_of_nothing_is_nan(metric):
    columns = COLUMNS[metric]
    score = float(OF_SUMS[metric](np.zeros(columns.stop - columns.start)))
    assert score == 0 if metric in ("bleu", "nist", "meteor") else math.isnan(score)


def test_scores_worked_out_by_hand():
    assert OF_SUMS["log_likelihood"](np.array([-6.0, 4.0])) == -1.5
    bleu = OF_SUMS["bleu"](np.array([4, 3, 2, 1, 5, 4, 3, 2, 5, 6.0]))
    assert bleu == pytest.approx(math.exp(1 - 6 / 5) * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    nist = OF_SUMS["nist"](np.array([6, 2, 0, 0, 0, 4, 2, 0, 0, 0, 6.0]))
    assert nist == pytest.approx(0.5 * (6 / 4 + 2 / 2))  # four words for six
    precision, recall, broken = 3 / 4, 3 / 6, 0.6 * (2 / 4) ** 0.2
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert OF_SUMS["meteor"](np.array([3, 3, 4, 6, 2, 4.0])) == pytest.approx((1 - broken) * mean)
