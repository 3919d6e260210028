"""What singular values say of a matrix's rank, by the formulas and by numpy."""

import math

import numpy as np
import pytest
import torch

from vxlab.analysis.spectrum import condition_number, effective_rank, energy, rank_for_energy, stable_rank
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
