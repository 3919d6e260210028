"""Laws of carving and sampling."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.splits import carve, sample


def _random_case(seed):
    random = np.random.default_rng(seed)
    rows = int(random.integers(20, 400))
    labels = random.choice(int(random.integers(2, 6)), size=rows)
    if seed % 3 == 0:
        labels = random.normal(size=rows)
    groups = random.integers(0, max(3, rows // 8), size=rows).astype(str)
    return labels, groups, float(random.uniform(0.05, 0.5))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("grouped", [False, True])
def test_carve_gives_every_row_to_exactly_one_side(seed, grouped):
    labels, groups, fraction = _random_case(seed)
    kept, held = carve(labels, groups if grouped else None, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert len(kept)
    assert len(held)
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()


@pytest.mark.parametrize("seed", range(30))
def test_carve_never_splits_a_group(seed):
    labels, groups, fraction = _random_case(seed)
    kept, held = carve(labels, groups, fraction, seed)
    assert not set(groups[kept]) & set(groups[held])


@pytest.mark.parametrize("seed", range(30))
def test_carve_gives_each_class_its_share_to_within_one_row(seed):
    random = np.random.default_rng(seed)
    labels, fraction = random.choice(4, size=500, p=[0.6, 0.3, 0.08, 0.02]), random.uniform(0.05, 0.5)
    _, held = carve(labels, None, fraction, seed)
    assert len(held) == round(fraction * 500)
    assert np.abs(np.bincount(labels[held], minlength=4) - fraction * np.bincount(labels)).max() <= 1


def test_carve_stratifies_real_targets_by_quantile():
    targets = np.random.default_rng(0).exponential(size=1000)
    kept, held = carve(targets, None, 0.2, 0)
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert abs((targets[held] < np.quantile(targets[kept], quantile)).mean() - quantile) < 0.025


@pytest.mark.parametrize("seed", range(5))
def test_grouped_carve_is_as_well_balanced_as_scikit_learns(seed):
    random = np.random.default_rng(seed)
    groups = random.integers(0, 200, size=4000)
    labels = (random.random(4000) < random.beta(2, 2, size=200)[groups]).astype(int)  # films differ in how they fare

    def imbalance(held):
        return np.abs(np.bincount(labels[held], minlength=2) / np.bincount(labels) - 0.2).sum()

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
    ours = imbalance(carve(labels, groups, 0.2, seed)[1])
    assert ours <= max(imbalance(held) for _, held in folds) + 0.01
    assert ours < 0.03


def test_same_seed_gives_same_rows_and_another_seed_others():
    labels, groups = np.arange(300) % 3, np.arange(300) // 5
    for by in (None, groups):
        first, again, other = (carve(labels, by, 0.2, seed)[1] for seed in (0, 0, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_the_rows_of_a_seed_are_the_recorded_ones():
    # A change here changes every published test split: it must be deliberate.
    assert carve(np.arange(20) % 2, None, 0.2, 0)[1].tolist() == [1, 8, 18, 19]
    assert carve(np.arange(20) % 2, np.arange(20) // 2, 0.2, 0)[1].tolist() == [4, 5, 16, 17]


def test_a_class_of_one_row_stays_with_the_kept_rows():
    labels = np.array([0] * 50 + [1] * 49 + [2])
    for seed in range(20):
        assert 99 in carve(labels, None, 0.2, seed)[0]


def test_a_smaller_sample_is_part_of_a_larger_one_and_keeps_the_mix():
    labels = np.random.default_rng(0).choice(3, size=900, p=[0.7, 0.2, 0.1])
    small, large = sample(labels, 100, 7), sample(labels, 400, 7)
    assert set(small) < set(large)
    assert np.abs(np.bincount(labels[small]) - np.bincount(labels) / 9).max() <= 1
    assert np.array_equal(sample(labels, 900, 7), np.arange(900))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(VxlabError, match=r"fraction=.*between 0 and 1"):
        carve(np.arange(10) % 2, None, fraction, 0)


def test_one_row_or_one_group_cannot_be_carved():
    with pytest.raises(VxlabError, match=r"cannot carve 1 row\(s\)"):
        carve(np.array([0]), None, 0.5, 0)
    with pytest.raises(VxlabError, match=r"cannot carve 1 group\(s\) in two: at least two groups"):
        carve(np.array([0, 1, 0]), np.array(["a", "a", "a"]), 0.5, 0)


@pytest.mark.parametrize("seed", range(10))
def test_rows_with_the_same_text_stay_together(seed):
    labels, _, _ = _random_case(seed)
    copies = np.random.default_rng(seed).integers(0, len(labels) * 2 // 3, size=len(labels))
    kept, held = carve(labels, None, 0.2, seed, copies=copies)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert not set(copies[kept]) & set(copies[held])
    assert abs(len(held) - 0.2 * len(labels)) <= np.bincount(copies).max()


def test_texts_that_are_all_different_leave_the_rows_as_they_were():
    for seed in range(20):
        labels, _, fraction = _random_case(seed)
        plain, told = (carve(labels, None, fraction, seed, ids) for ids in (None, np.arange(len(labels)) * 7))
        assert np.array_equal(plain[1], told[1])


def test_copies_are_held_out_with_the_mix_of_classes():
    random = np.random.default_rng(0)
    copies = random.integers(0, 1000, size=2000)
    labels = (random.random(1000) < 0.1).astype(int)[copies]
    held = carve(labels, None, 0.2, 0, copies)[1]
    assert len(held) == pytest.approx(400, abs=3)
    assert labels[held].mean() == pytest.approx(labels.mean(), abs=0.005)


def test_enough_is_kept_for_another_carving():
    groups = np.repeat(["a", "b", "c"], [1, 1, 98])
    for seed in range(20):
        kept, _ = carve(np.arange(100) % 2, groups, 0.2, seed, keep=2)
        assert len(set(groups[kept])) == 2
    with pytest.raises(VxlabError, match=r"cannot carve 1 text\(s\) in two: at least two texts are needed"):
        carve(np.arange(4) % 2, None, 0.2, 0, copies=np.zeros(4, dtype=int))


def test_a_sample_larger_than_the_rows_is_refused():
    with pytest.raises(VxlabError, match="cannot draw 11 of 10 rows: ask for 1 to 10"):
        sample(np.arange(10) % 2, 11, 0)
