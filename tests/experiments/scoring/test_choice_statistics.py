"""Statistics of choices against choosing item by item."""

import numpy as np
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import compute, interval
from vxlab.experiments.scoring.choice_statistics import choice_statistics, place_choices

ITEM = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
RIGHT = np.array([0, 1, 0, 1, 0, 0, 0, 0, 1], dtype=bool)


def test_every_item_is_chosen_as_by_a_loop() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        sums = np.column_stack([-draw.exponential(5, 9), draw.integers(1, 9, 9)])
        characters = draw.integers(1, 30, 9)
        statistics, chosen = choice_statistics(sums, characters, RIGHT, ITEM)
        hits, normed, places = [], [], []
        for item in range(3):
            mine = np.flatnonzero(item == ITEM)
            places.append(int(np.argmax(sums[mine, 0])))
            hits.append(RIGHT[mine][places[-1]])
            normed.append(RIGHT[mine][np.argmax(sums[mine, 0] / characters[mine])])
        assert chosen.tolist() == places
        scores = compute(["acc", "acc_norm", "log_likelihood"], statistics, np.arange(3))
        assert scores["acc"] == pytest.approx(np.mean(hits))
        assert scores["acc_norm"] == pytest.approx(np.mean(normed))
        assert scores["log_likelihood"] == pytest.approx(sums[RIGHT, 0].sum() / sums[RIGHT, 1].sum())


def test_of_equal_ones_the_first_is_chosen() -> None:
    found = choice_statistics(np.full((9, 2), -1.0), np.ones(9), RIGHT, ITEM)
    assert found.chosen.tolist() == [0, 0, 0]


def test_what_is_not_a_number_is_no_score() -> None:
    sums = np.full((9, 2), -1.0)
    sums[1, 0] = np.nan
    statistics = choice_statistics(sums, np.ones(9), RIGHT, ITEM).statistics
    assert np.isnan(compute(["acc"], statistics, np.arange(3))["acc"])


def test_a_perfect_score_has_an_interval_of_some_width() -> None:
    statistics = place_choices(np.full((20, 2), -1.0), np.ones(20, dtype=bool))
    low, high = interval("acc", statistics, np.arange(20))
    assert low < 0.9 < high == 1


@pytest.mark.parametrize(
    ("right", "item", "characters", "told"),
    [
        ([1, 1], [0, 0], [1, 1], "not one right answer"),
        ([1, 1], [0, 1], [1, 1], "fewer than two answers"),
        ([1, 0], [0, 0], [0, 1], "an empty answer"),
        ([1, 0], [1, 0], [1, 1], "does not number the items"),
        ([1, 0], [1, 1], [1, 1], "does not number the items"),
    ],
)
def test_items_that_cannot_be_scored_are_refused(
    right: list[int], item: list[int], characters: list[int], told: str
) -> None:
    with pytest.raises(VxlabError, match=told):
        choice_statistics(np.full((2, 2), -1.0), np.array(characters), np.array(right, dtype=bool), np.array(item))
