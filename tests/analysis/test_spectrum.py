"""The spectrum of an update from its thin factors against the SVD of the product formed in full."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vxlab.analysis.spectrum import (
    BLOCK,
    condition_number,
    effective_rank,
    energy,
    rank_for_energy,
    stable_rank,
    update_singular_values,
    update_svd,
)
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _factors(out_features, rank, in_features, seed=0):
    return _draw(out_features, rank, seed=seed), _draw(rank, in_features, seed=seed + 1)


def _rank_deficient():
    left, right = _factors(30, 4, 20)
    return torch.cat([left, left @ _draw(4, 5, seed=2)], dim=1), torch.cat([right, right[:3], right[:2]])


def _lora_xs():
    U, S, Vh = torch.linalg.svd(_draw(40, 24), full_matrices=False)
    return U[:, :8] @ _draw(8, 8, seed=3), S[:8, None] * Vh[:8]


def _vera():
    left, right = _factors(24, 64, 16)
    return _draw(24, 1, seed=4) * left * _draw(64, seed=5), right


def _badly_scaled():
    left, right = _factors(30, 6, 20)
    return left * torch.logspace(0, -14, 6, dtype=torch.float64), right


UPDATES = {
    "tall": _factors(50, 3, 7),
    "wide": _factors(7, 3, 50),
    "rank 1": _factors(9, 1, 6),
    "scalar": _factors(1, 1, 1),
    "rank min(in, out)": _factors(12, 8, 8),
    "one above": _factors(12, 9, 8),
    "far above": _factors(6, 40, 5),
    "several blocks": _factors(2 * BLOCK + 3, 5, BLOCK + 1),
    "whole blocks": _factors(2 * BLOCK, 40, 60),
    "rank-deficient": _rank_deficient(),
    "LoRA-XS": _lora_xs(),
    "VeRA": _vera(),
    "columns of many sizes": _badly_scaled(),
    "left zero": (torch.zeros(9, 3), _draw(3, 8)),
    "transposed views": (_draw(3, 50).mT, _draw(20, 3, seed=1).mT),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_the_spectrum_is_that_of_the_full_product(update):
    left, right = (factor.double().numpy() for factor in update)
    expected = np.linalg.svd(left @ right, compute_uv=False)[: left.shape[1]]
    tolerance = 1e-10 * max(expected[0], 1e-300)
    U, S, Vh = update_svd(update)
    for values in (S, update_singular_values(update)):
        assert values.dtype == torch.float64
        assert values.shape == (min(*left.shape, right.shape[1]),)
        assert np.abs(values.numpy() - expected).max() <= tolerance
        assert (values.diff() <= 0).all()
    assert np.abs((U * S @ Vh).numpy() - left @ right).max() <= tolerance
    for basis in (U, Vh.mT):
        assert torch.allclose(basis.mT @ basis, torch.eye(len(S), dtype=torch.float64), atol=1e-12)


def test_the_spectrum_of_a_zero_update_is_zero():
    for update in ((torch.zeros(5, 2), torch.ones(2, 4)), (torch.ones(5, 2), torch.zeros(2, 4))):
        assert update_singular_values(update).tolist() == [0.0, 0.0]
        assert update_svd(update).S.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e30])
def test_tiny_and_huge_updates_keep_their_digits(scale):
    left, right = _factors(30, 5, 20)
    expected = torch.linalg.svdvals(left @ right)[:5] * scale
    assert torch.allclose(update_singular_values((scale * left, right)), expected, rtol=1e-12, atol=0)
    assert torch.allclose(update_svd((scale * left, right)).S, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn])
def test_lower_precision_is_widened_before_anything_is_computed(dtype):
    left, right = (factor.to(dtype) for factor in _factors(300, 8, 48))
    expected = torch.linalg.svdvals(left.double() @ right.double())[:8]
    assert torch.allclose(update_singular_values((left, right)), expected, rtol=1e-12, atol=0)
    assert torch.allclose(update_svd((left, right)).S, expected, rtol=1e-12, atol=0)


def test_left_vectors_point_to_their_largest_entry():
    left, right = _factors(30, 5, 20)
    first, second = update_svd((left, right)), update_svd((-left, right))
    assert (first.U.gather(0, first.U.abs().argmax(0, keepdim=True)) > 0).all()
    assert torch.allclose(first.U, second.U, atol=1e-12)
    assert torch.allclose(first.Vh, -second.Vh, atol=1e-12)


def test_factors_stay_as_they_were_and_no_gradient_is_recorded():
    update = tuple(factor.requires_grad_() for factor in _factors(300, 4, 20))
    before = [factor.detach().clone() for factor in update]
    assert not update_singular_values(update).requires_grad
    assert not any(part.requires_grad for part in update_svd(update))
    assert all(torch.equal(old, new) for old, new in zip(before, update, strict=True))


class _Sizes(TorchDispatchMode):
    """Record the largest tensor that is made, views of the factors aside."""

    def __init__(self, factors):
        super().__init__()
        self.given = {factor.untyped_storage().data_ptr() for factor in factors}
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else [found]:
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in self.given:
                self.largest = max(self.largest, each.numel())
        return found


def test_singular_values_take_no_memory_of_the_size_of_the_weight_or_of_a_factor():
    rank = 16
    update = tuple(factor.float() for factor in _factors(2000, rank, 1500))
    with _Sizes(update) as sizes:
        update_singular_values(update)
    assert sizes.largest == BLOCK * rank


def test_energy_is_what_the_best_approximation_of_each_rank_keeps():
    W = _draw(12, 9)
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    for k, share in enumerate(energy(S).tolist(), start=1):
        residual = torch.linalg.matrix_norm(W - U[:, :k] * S[:k] @ Vh[:k]) / torch.linalg.matrix_norm(W)
        assert share == pytest.approx(1 - float(residual) ** 2, abs=1e-12)


@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 0.9, 0.99, 1.0])
def test_the_rank_for_a_share_of_energy_is_the_first_that_reaches_it(share):
    S = torch.linalg.svdvals(_draw(12, 9))
    rank, shares = rank_for_energy(S, share), energy(S).tolist()
    assert shares[rank - 1] >= share
    assert rank == 1 or shares[rank - 2] < share


def test_zeros_hold_no_energy():
    S = torch.tensor([4.0, 3.0, 0.0, 0.0])
    assert rank_for_energy(S, 1.0) == 2
    assert energy(S).tolist() == pytest.approx([0.64, 1, 1, 1])


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_equal_singular_values_count_in_full_and_zeros_not_at_all(n, size):
    S = torch.cat([torch.full((n,), size, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)])
    assert stable_rank(S) == pytest.approx(n)
    assert effective_rank(S) == pytest.approx(n)
    assert condition_number(S[:n]) == 1
    assert condition_number(S) == math.inf


def test_ranks_follow_their_formulas():
    S = torch.linalg.svdvals(_draw(12, 9))
    values = S.numpy()
    shares = values / values.sum()
    assert stable_rank(S) == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-12)
    assert effective_rank(S) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-12)
    assert condition_number(S) == pytest.approx(np.linalg.cond(_draw(12, 9).numpy()), rel=1e-10)
    assert 1 <= stable_rank(S) <= 9
    assert 1 <= effective_rank(S) <= 9


def test_a_zero_matrix_has_rank_0_and_neither_shares_nor_a_condition():
    S = torch.zeros(4)
    assert energy(S).isnan().all()
    assert rank_for_energy(S, 0.9) == 0
    assert stable_rank(S) == effective_rank(S) == 0
    assert math.isnan(condition_number(S))


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (torch.ones(3, 3), r"an update is a tensor \(3, 3\) of torch.float32 on cpu; give its two factors as a tuple"),
        ((torch.ones(3, 2),), "an update is of type tuple and length 1; give its two factors"),
        ((torch.ones(3), torch.ones(1, 3)), r"left factor is a tensor \(3,\).*; give a matrix"),
        ((torch.ones(3, 2), np.ones((2, 3))), "right factor is of type ndarray; give a matrix"),
        ((torch.ones(3, 2).long(), torch.ones(2, 3)), "left factor is .*int64.*; give a matrix of real"),
        ((torch.ones(3, 2, device="meta"), torch.ones(2, 3)), "left factor is .* on meta"),
        ((torch.ones(3, 0), torch.ones(0, 3)), r"left factor is \(3, 0\), an empty matrix; give one row"),
        ((torch.ones(3, 2), torch.ones(3, 4)), r"\(3, 2\) and \(3, 4\), so left has 2 columns and right 3 rows"),
        ((torch.tensor([[math.nan]]), torch.ones(1, 1)), r"left factor, \(1, 1\), holds NaN or infinite values"),
        ((torch.ones(1, 1), torch.tensor([[math.inf]])), r"right factor, \(1, 1\), holds NaN or infinite values"),
    ],
)
@pytest.mark.parametrize("function", [update_svd, update_singular_values])
def test_what_is_no_update_is_refused_in_words(function, update, message):
    with pytest.raises(VxlabError, match=message):
        function(update)


@pytest.mark.parametrize(
    ("S", "message"),
    [
        (torch.ones(2, 2), r"S is a tensor \(2, 2\)"),
        (torch.ones(0), r"S is a tensor \(0,\)"),
        ([2.0, 1.0], "S is of type list and length 2; give one or more singular values"),
        (torch.tensor([1.0, 2.0]), "descending order; sort them"),
        (torch.tensor([1.0, -2.0]), "0 or more"),
        (torch.tensor([math.nan, 1.0]), "finite"),
    ],
)
@pytest.mark.parametrize("function", [energy, stable_rank, effective_rank, condition_number])
def test_what_is_no_spectrum_is_refused_in_words(function, S, message):
    with pytest.raises(VxlabError, match=message):
        function(S)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(VxlabError, match=r"share=.* is no share of the energy; choose one above 0 and at most 1"):
        rank_for_energy(torch.ones(3), share)
