"""Strengths by cross-validation: folds that keep units together, rare classes, and what cannot be fitted."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from vxlab.errors import VxlabError
from vxlab.experiments.probes import linear_probe
from vxlab.experiments.probes.linear_probe import ABSENT, _folds, cross_validate, fit, strengths

DRAW = np.random.default_rng(0)
FEATURES = DRAW.normal(size=(90, 6)) * np.array([1, 10, 0.1, 1, 1, 1]) + np.array([0, 5, 0, -3, 0, 0])
LABELS = (FEATURES[:, 0] + DRAW.normal(size=90) > 0).astype(int) + (FEATURES[:, 1] > 10)
UNITS = np.arange(90) // 7


@pytest.mark.parametrize("num_labels", [1, 3])
def test_folds_keep_units_together_and_hold_out_every_row_once(num_labels: int) -> None:
    for units in (None, UNITS):
        folds = _folds(LABELS, num_labels, units)
        assert len(folds) == 5
        assert sorted(np.concatenate([held for _, held in folds])) == list(range(90))
        for train, held in folds:
            assert units is None or not {*units[train]} & {*units[held]}
            assert not {*train} & {*held}


def test_folds_are_the_same_at_every_call() -> None:
    first = _folds(LABELS, 3, UNITS)
    for (_, held), (_, again) in zip(first, _folds(LABELS, 3, UNITS), strict=True):
        assert held.tolist() == again.tolist()


def test_fewer_rows_units_or_a_rare_class_give_fewer_folds_or_none() -> None:
    labels = np.array([0, 0, 0, 1])
    assert len(_folds(labels, 2, None)) == 3
    assert len(_folds(np.array([0, 1]), 2, None)) == 0
    assert len(_folds(labels, 2, np.array([0, 0, 1, 1]))) == 2
    assert len(_folds(labels, 2, np.zeros(4))) == 0
    assert len(_folds(labels.astype(float), 1, None)) == 4
    assert cross_validate(FEATURES[:2], np.array([0, 1]), 2, "accuracy") is None
    chosen = cross_validate(FEATURES[:40], np.array([0] * 39 + [1]), 2, "accuracy")  # a fold's train has one class
    assert chosen is not None
    assert chosen.folds == 5


def test_a_fit_runs_on_one_thread_of_blas_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    ticks: list[None] = []
    real = LogisticRegression.fit

    def watched(self: LogisticRegression, *given: object) -> LogisticRegression:
        threads.update(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")
        return real(self, *given)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2, user_api="blas"):
        cross_validate(FEATURES, LABELS, 3, "accuracy", done=lambda: ticks.append(None))
    assert threads == {1}
    assert len(ticks) == len(strengths(3))


def test_a_class_without_a_training_row_is_never_answered() -> None:
    fitted = fit(FEATURES, LABELS % 2 * 2, 4, 1.0)  # of classes 0 to 3, two are there
    logits = fitted.logits(FEATURES)
    assert set(logits.argmax(1)) == {0, 2}
    assert (fitted.bias[[1, 3]] == ABSENT).all()
    assert np.isfinite(logits).all()


def test_a_feature_constant_but_for_rounding_has_no_say() -> None:
    noisy = np.column_stack([FEATURES, 7 + 1e-6 * DRAW.normal(size=90)]).astype(np.float32)
    without = FEATURES.astype(np.float32)
    expected = fit(without, LABELS, 3, 1.0).logits(without)
    np.testing.assert_allclose(fit(noisy, LABELS, 3, 1.0).logits(noisy), expected, atol=1e-3)


def test_the_edge_of_the_strengths_is_told() -> None:
    assert linear_probe.best_strength([0.0] * 13, 2, 5) == (1e-4, 5, "low")
    assert linear_probe.best_strength([*range(13)], 2, 5) == (100.0, 5, "high")


def test_a_classifier_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_probe, "_STEPS", 1)
    with pytest.raises(VxlabError, match=r"at C=1 did not converge within 1 steps"):
        fit(FEATURES, LABELS, 3, 1.0)
