"""One difference over tasks, against published figures, a brute-force likelihood, and its own error rates."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import t, ttest_1samp

from vxlab.errors import VxlabError
from vxlab.studies.atlas.random_effects import pool_tasks

# Trials of BCG vaccine (Colditz et al. 1994): ill and well of the vaccinated, and of the others.
BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
], dtype=float)  # fmt: skip


def test_it_has_the_published_figures_of_the_bcg_trials():
    ill, well, others_ill, others_well = BCG.T
    y = np.log(ill / (ill + well)) - np.log(others_ill / (others_ill + others_well))
    variance = 1 / ill - 1 / (ill + well) + 1 / others_ill - 1 / (others_ill + others_well)
    found = pool_tasks(y, np.sqrt(variance))
    # As metafor prints them by REML, with Knapp's and Hartung's error.
    assert found.between**2 == pytest.approx(0.3132, abs=5e-5)
    assert found.evidence.value == pytest.approx(-0.7145, abs=5e-5)
    assert found.error == pytest.approx(0.1808, abs=5e-5)
    assert found.evidence.units == 13
    assert found.p == pytest.approx(2 * t.sf(0.7145 / 0.1808, 12), rel=2e-3)


def test_the_variance_between_tasks_is_that_of_the_highest_restricted_likelihood():
    random = np.random.default_rng(0)
    for tasks in (2, 3, 6, 12):
        errors = random.uniform(0.3, 2.0, tasks)
        y = random.normal(1.0, np.hypot(errors, 1.5))

        def minus(between, y=y, variance=errors**2):
            whole = np.diag(variance + between)
            ones = np.ones((len(y), 1))
            inverse = np.linalg.inv(whole)
            information = ones.T @ inverse @ ones
            mean = np.linalg.solve(information, ones.T @ inverse @ y)
            residual = y - mean
            logs = np.linalg.slogdet(whole)[1] + np.linalg.slogdet(information)[1]
            return float((logs + residual @ inverse @ residual) / 2)

        found = pool_tasks(y, errors)
        best = minimize_scalar(minus, bounds=(0, 100), method="bounded", options={"xatol": 1e-10})
        assert minus(found.between**2) <= min(best.fun, minus(0.0)) + 1e-9


def test_like_errors_give_students_interval_of_the_plain_mean_where_tasks_vary():
    y = np.array([3.0, -1.0, 5.0, 2.0, 0.5])
    found = pool_tasks(y, np.full(5, 0.1))
    plain = ttest_1samp(y, 0)
    low, high = plain.confidence_interval()
    assert found.evidence[:3] == pytest.approx((y.mean(), low, high))
    assert found.p == pytest.approx(plain.pvalue)


def test_tasks_that_agree_by_luck_are_known_no_better_than_their_own_errors():
    found = pool_tasks([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    assert found.between == 0
    assert found.error == pytest.approx(0.5 / np.sqrt(3))
    assert found.evidence.high == pytest.approx(1 + t.ppf(0.975, 2) * 0.5 / np.sqrt(3))


def test_one_task_is_no_sample_of_tasks():
    found = pool_tasks([2.0, np.nan], [0.5, 0.5])
    assert found.evidence.value == 2
    assert np.isnan([found.evidence.low, found.p, found.between, found.error]).all()
    assert np.isnan(pool_tasks([], []).evidence.value)


@pytest.mark.parametrize(
    ("differences", "errors", "words"),
    [([1.0, 2.0], [0.5], "one error a task"), ([1.0, 2.0], [0.5, 0.0], "above 0"), ([1.0, np.inf], [1, 1], "finite")],
)
def test_what_is_no_measurement_is_refused(differences, errors, words):
    with pytest.raises(VxlabError, match=words):
        pool_tasks(differences, errors)


@pytest.mark.parametrize("between", [0.0, 1.0])
def test_six_tasks_without_a_difference_are_told_apart_at_most_once_in_twenty(between):
    random = np.random.default_rng(1)
    errors = random.uniform(0.4, 1.2, (600, 6))
    y = random.normal(0, np.hypot(errors, between))
    assert np.mean([pool_tasks(a, s).p <= 0.05 for a, s in zip(y, errors, strict=True)]) <= 0.06
