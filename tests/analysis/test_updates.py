"""The size of an update from its thin factors, against the product formed in full."""

import math

import numpy as np
import pytest
import torch

from vxlab.analysis.updates import relative_update_norm, update_norm


def _factors(out_features: int, rank: int, in_features: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(out_features, rank, **draw), torch.randn(rank, in_features, **draw)


@pytest.mark.parametrize(
    ("out_features", "rank", "in_features"),
    [(7, 3, 5), (5, 3, 7), (6, 1, 6), (4, 4, 9), (4, 5, 9), (3, 64, 2), (1, 1, 1), (1, 8, 1)],
)
def test_norms_are_those_of_the_full_product(out_features, rank, in_features):
    left, right = _factors(out_features, rank, in_features)
    weight = torch.randn(out_features, in_features, dtype=torch.float64)
    dense = np.linalg.norm((left.numpy() @ right.numpy()), "fro")
    assert update_norm(left, right) == pytest.approx(dense, rel=1e-12)
    expected = dense / np.linalg.norm(weight.numpy(), "fro")
    assert relative_update_norm(left, right, weight) == pytest.approx(expected, rel=1e-12)


def test_rank_deficient_factors_count_once():
    left, right = _factors(6, 2, 5)
    doubled = torch.cat([left, left], dim=1), torch.cat([right, right], dim=0)
    assert update_norm(*doubled) == pytest.approx(2 * float(torch.linalg.matrix_norm(left @ right)), rel=1e-12)


def test_factors_that_cancel_leave_next_to_nothing_and_never_a_nan():
    for seed in range(20):  # rounding leaves the squared norm below 0 in some
        left, right = _factors(6, 2, 5, seed)
        cancelled = torch.cat([left, -left / 3], dim=1), torch.cat([right, 3 * right], dim=0)
        assert 0 <= update_norm(*cancelled) < 1e-6 * update_norm(left, right)


def test_factors_that_almost_cancel_keep_their_digits():
    left, right = _factors(6, 2, 5)
    noise_left, noise_right = (1e3 * factor for factor in _factors(6, 2, 5, 1))
    hidden = torch.cat([left, noise_left, -noise_left], 1), torch.cat([right, noise_right, noise_right])
    assert update_norm(*hidden) == pytest.approx(float(torch.linalg.matrix_norm(left @ right)), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e5, 1e30])
def test_tiny_and_huge_updates_keep_their_norm(scale):
    left, right = _factors(6, 2, 5)
    small = (left * scale).float(), right.float()
    dense = torch.linalg.matrix_norm(small[0].double() @ small[1].double())
    assert update_norm(*small) == pytest.approx(float(dense), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_double(dtype):
    left, right = (factor.to(dtype) for factor in _factors(64, 8, 48))
    weight = torch.randn(64, 48).to(dtype)
    dense = torch.linalg.matrix_norm(left.double() @ right.double())
    assert update_norm(left, right) == pytest.approx(float(dense), rel=1e-9)
    expected = float(dense / torch.linalg.matrix_norm(weight.double()))
    assert relative_update_norm(left, right, weight) == pytest.approx(expected, rel=1e-9)


def test_no_update_is_zero_and_an_update_of_a_zero_weight_infinite():
    left, right = _factors(4, 2, 3)
    zero, weight = torch.zeros(4, 3), torch.ones(4, 3)
    assert update_norm(torch.zeros(4, 2), right) == 0.0
    assert relative_update_norm(torch.zeros(4, 2), right, weight) == 0.0
    assert relative_update_norm(torch.zeros(4, 2), right, zero) == 0.0
    assert relative_update_norm(left, right, zero) == math.inf


def test_factors_that_still_train_are_measured_without_a_warning():
    left, right = (factor.requires_grad_() for factor in _factors(4, 2, 3))
    assert update_norm(left, right) > 0
    assert left.grad is None
