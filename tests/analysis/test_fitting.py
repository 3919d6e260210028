"""The best fits of each family, against Eckart and Young, least squares on the whole system, and many restarts."""

import pytest
import torch

from vxlab import VxlabError
from vxlab.analysis.fitting import fit_lidb, fit_lora, fit_lora_xs, lora_errors
from vxlab.analysis.fitting_vera import fit_vera

SHAPES = [(8, 8), (5, 9), (9, 5)]


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _pairs(m, out_features, in_features, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (m, rank, in_features), (m, out_features, rank)
    return tuple(2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1 for shape in shapes)


def _residual(targets, fit):
    return (targets - fit.left @ fit.right).square().sum((-2, -1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 5, 9])
def test_lora_fits_as_well_as_eckart_and_young_allow(shape, rank):
    targets = _normal(4, *shape)
    fit = fit_lora(targets, rank)
    tail = torch.linalg.svdvals(targets)[:, rank:].square().sum(-1)
    torch.testing.assert_close(fit.error, tail, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(_residual(targets, fit), tail, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(lora_errors(targets, [rank])[:, 0], tail, rtol=1e-8, atol=1e-12)
    assert torch.linalg.matrix_rank(fit.left @ fit.right).max() <= rank


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dependent", [False, True], ids=["full rank", "dependent columns"])
def test_lora_xs_is_least_squares_on_the_kronecker_system(shape, dependent):
    targets, left, right = _normal(3, *shape), _normal(shape[0], 3, seed=1), _normal(3, shape[1], seed=2)
    if dependent:
        left[:, 2], right[2] = left[:, 0] - left[:, 1], 2 * right[0]
    fit = fit_lora_xs(targets, left, right)
    system = torch.kron(left, right.T.contiguous())
    for target, error, whole in zip(targets, fit.error, fit.left @ fit.right, strict=True):
        core = torch.linalg.lstsq(system, target.reshape(-1, 1), driver="gelsd").solution
        fitted = (system @ core).reshape(shape)
        torch.testing.assert_close(whole, fitted, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(error, (target - fitted).square().sum(), rtol=1e-8, atol=1e-12)


def test_lora_xs_does_not_care_about_the_scale_and_rotation_of_its_bases():
    targets, left, right = _normal(3, 7, 6), _normal(3, 7, 2, seed=1), _normal(3, 2, 6, seed=2)
    mixed = fit_lora_xs(targets, left @ _normal(2, 2, seed=3), torch.tensor([[100.0], [0.01]]) * right)
    torch.testing.assert_close(mixed.error, fit_lora_xs(targets, left, right).error)


def test_lora_xs_between_a_targets_own_vectors_is_lora():
    targets = _normal(3, 7, 6)
    U, _, Vh = torch.linalg.svd(targets, full_matrices=False)
    torch.testing.assert_close(fit_lora_xs(targets, U[..., :2], Vh[:, :2]).error, fit_lora(targets, 2).error)


def test_lidb_loses_what_its_bases_miss_and_the_tail_between_them():
    targets, left, right = _normal(3, 8, 7), torch.linalg.qr(_normal(8, 4)).Q, torch.linalg.qr(_normal(7, 5)).Q.T
    fit = fit_lidb(targets, left, right, rank=2)
    core = left.T @ targets @ right.T
    missed = targets.square().sum((-2, -1)) - core.square().sum((-2, -1))
    expected = missed + torch.linalg.svdvals(core)[:, 2:].square().sum(-1)
    torch.testing.assert_close(fit.error, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(_residual(targets, fit), expected, rtol=1e-10, atol=1e-10)


def test_lidb_between_whole_bases_is_lora():
    targets = _normal(3, 6, 5)
    fit = fit_lidb(targets, _normal(6, 6), _normal(5, 5), rank=2)
    torch.testing.assert_close(fit.error, fit_lora(targets, 2).error)


def test_lidb_finds_nothing_outside_bases_whose_columns_depend_on_each_other():
    targets = torch.eye(4, dtype=torch.float64)[None]
    left = torch.ones(4, 3, dtype=torch.float64)  # one direction in three columns
    fit = fit_lidb(targets, left, torch.eye(4), rank=2)
    assert fit.error.item() == pytest.approx(3)  # a matrix of that column space has rank 1
    assert torch.linalg.matrix_rank(torch.cat([fit.left[0], left], 1)) == 1
    both = fit_lidb(targets.repeat(2, 1, 1), torch.stack([left, _normal(4, 3)]), torch.eye(4), rank=2)
    assert both.error.tolist() == pytest.approx([3, 2])
    assert fit_lidb(targets, torch.zeros(4, 2), torch.eye(4), rank=1).error.item() == pytest.approx(4)


def _alternating(targets, A, B, restarts, steps=150):
    """Fit VeRA the plain way, by lstsq on the explicit systems of b and of d in turn, and take the best restart."""
    m, rank = len(targets), A.shape[1]
    d = _normal(m * restarts, rank, seed=9)
    T, A, B = (each.repeat_interleave(restarts, 0) for each in (targets, A, B))
    for _ in range(steps):
        M = (B * d[:, None]) @ A
        b = (T * M).sum(-1) / M.square().sum(-1)
        system = ((b[..., None] * B).mT[..., None] * A[:, :, None]).flatten(2).mT
        d = torch.linalg.lstsq(system, T.flatten(1)[..., None]).solution[..., 0]
    M = (B * d[:, None]) @ A
    b = (T * M).sum(-1) / M.square().sum(-1)
    return (T - b[..., None] * M).square().sum((-2, -1)).reshape(m, restarts).min(1).values


@pytest.mark.parametrize("rank", [2, 6, 14])
def test_vera_is_within_a_percent_of_the_best_of_fifty_restarts(rank):
    targets, (A, B) = _normal(4, 6, 6), _pairs(4, 6, 6, rank)
    ours, best = fit_vera(targets, A, B).error, _alternating(targets, A, B, restarts=50)
    assert (ours <= 1.01 * best).all(), ours / best


@pytest.mark.slow
@pytest.mark.parametrize("rank", [10, 30, 60])
def test_vera_is_within_a_percent_of_the_best_of_fifty_restarts_on_the_published_size(rank):
    targets, (A, B) = _normal(8, 10, 10), _pairs(8, 10, 10, rank)
    ours, best = fit_vera(targets, A, B).error, _alternating(targets, A, B, restarts=50)
    assert ours.mean() <= 1.01 * best.mean()
    assert (ours <= 1.01 * best).float().mean() >= 0.75


@pytest.mark.parametrize("shape", SHAPES)
def test_vera_gives_the_vectors_that_its_error_is_of(shape):
    targets, (A, B) = _normal(3, *shape), _pairs(3, *shape, 7)
    fit = fit_vera(targets, A, B)
    whole = fit.b[..., None] * (B * fit.d[:, None]) @ A
    torch.testing.assert_close((targets - whole).square().sum((-2, -1)), fit.error, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(fit.d.square().mean(-1), torch.ones(3).double())


def test_veras_fit_is_stationary_in_both_vectors():
    targets, (A, B) = _normal(3, 6, 7), _pairs(3, 6, 7, 5)
    fit = fit_vera(targets, A, B)
    b, d = fit.b.requires_grad_(), fit.d.requires_grad_()
    error = (targets - b[..., None] * (B * d[:, None]) @ A).square().sum()
    gradients = torch.autograd.grad(error, (b, d))
    assert all(gradient.abs().max() < 1e-2 for gradient in gradients)


def test_vera_finds_a_matrix_that_it_can_be():
    A, B = _pairs(5, 8, 8, 6)
    targets = _normal(5, 8, 1) * (B * _normal(5, 1, 6, seed=3)) @ A
    fit = fit_vera(targets, A, B)
    assert (fit.error / targets.square().sum((-2, -1))).max() < 1e-6


def test_vera_of_as_many_ranks_as_entries_fits_anything():
    targets, (A, B) = _normal(2, 4, 4), _pairs(2, 4, 4, 20)
    assert fit_vera(targets, A, B).error.max() < 1e-6


def test_vera_does_not_care_about_the_scale_of_its_pair():
    targets, (A, B) = _normal(3, 6, 6), _pairs(3, 6, 6, 4)
    torch.testing.assert_close(fit_vera(targets, 100 * A, 0.01 * B).error, fit_vera(targets, A, B).error)


def test_one_pair_may_serve_all_targets():
    targets, (A, B) = _normal(3, 6, 6), _pairs(1, 6, 6, 4)
    each = fit_vera(targets, A.repeat(3, 1, 1), B.repeat(3, 1, 1))
    torch.testing.assert_close(fit_vera(targets, A[0], B[0]).error, each.error)


def test_a_zero_target_is_fitted_by_zero():
    zero, (A, B) = torch.zeros(1, 4, 4), _pairs(1, 4, 4, 3)
    vera = fit_vera(zero, A, B)
    assert vera.error.item() == 0
    assert vera.b.abs().max() == 0
    assert fit_lora(zero, 1).error.item() == 0
    assert fit_lora_xs(zero, torch.ones(4, 2), torch.ones(2, 4)).error.item() == 0


def test_bad_input_is_named():
    targets = torch.zeros(2, 4, 5)
    with pytest.raises(VxlabError, match=r"targets \(4, 5\) is not a stack"):
        fit_lora(targets[0], 1)
    with pytest.raises(VxlabError, match="NaN or infinite"):
        fit_lora(targets / 0, 1)
    with pytest.raises(VxlabError, match="rank=0"):
        fit_lora(targets, 0)
    with pytest.raises(VxlabError, match=r"left \(5, 2\) does not fit targets \(2, 4, 5\); give \(4, r\)"):
        fit_lora_xs(targets, torch.zeros(5, 2), torch.zeros(2, 5))
    with pytest.raises(VxlabError, match=r"A \(3, 4\) and B \(4, 3\) do not fit targets \(2, 4, 5\)"):
        fit_vera(targets, torch.zeros(3, 4), torch.zeros(4, 3))
    with pytest.raises(VxlabError, match="starts=0"):
        fit_vera(targets, torch.zeros(3, 5), torch.zeros(4, 3), starts=0)
