"""The judge's noise: measured as it was put in, and in every interval once."""

import math

import numpy as np
import pandas as pd
import pytest

from vxlab.experiments.judges.contestants import BASE
from vxlab.experiments.judges.noise import cell_means, judge_noise, mean_rating, rating_differences

QUESTIONS = 40


def _ratings(random, seeds, repeats, noise, gain=0.0, luck=0.0, apart=1.0):
    """Return ratings of the base and of another candidate, on the judge's scale of whole numbers.

    Args:
        seeds: of the other candidate.
        noise: of the judge.
        gain: of the other candidate.
        luck: standard deviation over seeds of the mean.
        apart: by how much two models' answers to one question differ.
    """
    question = random.normal(5.5, 1.5, QUESTIONS)
    runs = [(BASE, 0, 0.0), *(("LoRA", seed, gain + luck * random.normal()) for seed in range(seeds))]
    own = {name: random.normal(0, apart, (QUESTIONS, 2)) for name, _, _ in runs}
    shape = (QUESTIONS, 2, repeats)
    tables = []
    for name, seed, shift in runs:
        deserved = question[:, None, None] + own[name][:, :, None] + shift
        rated = np.clip(np.round(deserved + random.normal(0, noise, shape)), 1, 10)
        which = np.indices(rated.shape).reshape(3, -1)
        tables.append(
            pd.DataFrame(
                {"candidate": name, "seed": seed, "question": which[0], "turn": which[1] + 1, "repeat": which[2],
                 "rating": rated.ravel(), "answer": len(tables) * QUESTIONS * 2 + which[0] * 2 + which[1]}
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _differ(ratings):
    ((_, found),) = rating_differences(cell_means(ratings), BASE)[0].items()
    return found.turned()


def test_the_noise_is_what_was_put_in():
    ratings = _ratings(np.random.default_rng(0), 3, 4, noise=1.2)
    found = judge_noise(ratings)
    assert found.deviation == pytest.approx(math.hypot(1.2, 1 / math.sqrt(12)), rel=0.06)  # rounded to whole numbers
    assert (found.answers, found.freedom) == (4 * QUESTIONS * 2, 4 * QUESTIONS * 2 * 3)


def test_a_judge_that_repeats_itself_has_none_and_one_rating_tells_nothing():
    once = _ratings(np.random.default_rng(0), 1, 1, noise=1.0)
    assert math.isnan(judge_noise(once).deviation)
    assert judge_noise(pd.concat([once, once.assign(repeat=1)])).deviation == 0


def test_the_noise_leaves_out_what_was_not_rated():
    table = pd.DataFrame({"answer": [0, 0, 0, 1, 1], "rating": [4.0, 6.0, math.nan, 9.0, math.nan]})
    assert judge_noise(table) == (pytest.approx(math.sqrt(2)), 1, 1)


@pytest.mark.parametrize(
    ("seeds", "repeats", "noise", "luck"),
    [(1, 1, 2.0, 0.0), (1, 1, 0.5, 0.0), (1, 3, 2.0, 0.0), (3, 1, 2.0, 0.0), (3, 2, 1.0, 0.3)],
)
def test_equal_models_are_told_apart_no_more_often_than_said(seeds, repeats, noise, luck):
    random = np.random.default_rng(7)
    wrong = [_differ(_ratings(random, seeds, repeats, noise, luck=luck)).seen for _ in range(300)]
    assert np.mean(wrong) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_the_intervals_are_no_wider_than_the_noise_makes_them():
    """To add the judge's noise to them again would make them too wide: hardly any would miss."""
    random, missed = np.random.default_rng(3), []
    for _ in range(400):
        found = _differ(_ratings(random, 1, 1, noise=2.0, gain=0.8))
        missed.append(not found.low <= 0.8 <= found.high)
    assert 0.02 <= np.mean(missed) <= 0.07  # the clipped scale moves it a little


def test_repeats_make_intervals_narrower_where_the_judge_is_noisy():
    random = np.random.default_rng(5)
    once, often = (
        np.mean([_differ(_ratings(random, 1, repeats, noise=3.0, apart=0.3)).error for _ in range(20)])
        for repeats in (1, 4)
    )
    assert often < 0.7 * once


def test_what_one_run_lacks_counts_for_none():
    ratings = _ratings(np.random.default_rng(1), 1, 1, noise=1.0)
    hard = (ratings["candidate"] == "LoRA") & (ratings["question"] < 5) & (ratings["turn"] == 2)
    lost = ratings.assign(rating=ratings["rating"].mask(hard))
    compared, used = rating_differences(cell_means(lost), BASE)
    assert used == QUESTIONS * 2 - 5
    kept = ratings[(ratings["question"] >= 5) | (ratings["turn"] == 1)]
    alone, _ = rating_differences(cell_means(kept), BASE)
    assert compared == alone


def test_a_run_that_nobody_could_rate_takes_nothing_from_the_others():
    ratings = _ratings(np.random.default_rng(1), 2, 1, noise=1.0)
    lost = ratings.assign(rating=ratings["rating"].mask((ratings["candidate"] == "LoRA") & (ratings["seed"] == 1)))
    found = _differ(lost)
    assert found.difference == pytest.approx(_differ(ratings[ratings["seed"] == 0]).difference)
    assert not found.covers_seeds
    nothing = ratings.assign(rating=ratings["rating"].mask(ratings["candidate"] == "LoRA"))
    assert rating_differences(cell_means(nothing), BASE) == ({}, QUESTIONS * 2)


def test_means_are_over_turns_and_over_runs():
    means = pd.DataFrame(
        {("LoRA", 0): [2.0, 4.0], ("LoRA", 1): [6.0, math.nan]},
        index=pd.MultiIndex.from_tuples([(1, 1), (1, 2)], names=["question", "turn"]),
    )
    assert mean_rating(means) == 4.5
    assert mean_rating(means, turn=2) == 4.0
