"""The energy that a subspace reaches, against explicit projectors, and its mean under known noise."""

import pytest
import torch

from vxlab.adapters import VeRA
from vxlab.analysis.expressed import block_energies, free_energies, paired_energies, row_energies
from vxlab.errors import VxlabError

SHAPES = [(9, 7), (7, 9), (8, 8)]


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_are_projections_between_lora_xs_bases(shape):
    G = _draw(4, *shape)
    U, _, Vh = torch.linalg.svd(_draw(*shape, seed=1), full_matrices=False)
    found = block_energies(G, U, Vh)
    for r in range(1, min(shape) + 1):
        P, Q = U[:, :r] @ U[:, :r].mT, Vh[:r].mT @ Vh[:r]
        brute = torch.einsum("aij,bij->ab", P @ G @ Q, G)
        torch.testing.assert_close(found[r - 1], brute, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 5, 20])
def test_rows_are_projections_on_veras_tangent(shape, rank):
    """J's columns are ∂ΔW/∂b_k at b = 0; the projector is J·J⁺."""
    G, family = _draw(3, *shape), VeRA(rank=rank)
    pair = family.shared([shape])
    A, B = pair["A"].double(), pair["B"].double()
    d = torch.full((rank,), 0.1, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(
        lambda b: (b[:, None] * (B * d) @ A).flatten(), torch.zeros(shape[0]).double()
    )
    flat = G.flatten(1)
    brute = flat @ J @ torch.linalg.pinv(J) @ flat.mT
    torch.testing.assert_close(row_energies(G, (B * d) @ A), brute, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_free_directions_are_the_best_of_one_half_judged_by_the_other(shape):
    G = _draw(6, *shape)
    splits = [((0, 2, 5), (1, 3)), ((1,), (0, 4))]
    found = free_energies(G, splits)
    for (chosen, judged), energies in zip(splits, found, strict=True):
        a, b = G[list(chosen)].mean(0), G[list(judged)].mean(0)
        U, S, Vh = torch.linalg.svd(a, full_matrices=False)
        brute = [(((U[:, :r] * S[:r]) @ Vh[:r]) * b).sum() for r in range(1, min(shape) + 1)]
        torch.testing.assert_close(energies, torch.stack(brute), rtol=1e-10, atol=1e-10)


def test_a_width_of_the_smaller_side_changes_nothing_and_a_narrower_one_loses_what_lies_outside():
    signal = _draw(9, 3) @ _draw(3, 7, seed=1)
    G = signal + 1e-9 * _draw(4, 9, 7, seed=2)
    splits = [((0, 1), (2, 3))]
    whole = free_energies(G, splits)
    torch.testing.assert_close(free_energies(G, splits, 7), whole)
    narrow = free_energies(G, splits, 4)
    assert narrow.shape == (1, 4)
    torch.testing.assert_close(narrow, whole[:, :4], rtol=1e-7, atol=1e-7)


def test_pairs_of_noisy_gradients_have_the_mean_of_the_true_energy_and_squared_norms_do_not():
    truth, shape, trials = _draw(6, 5), (6, 5), 400
    U, _, Vh = torch.linalg.svd(_draw(*shape, seed=3), full_matrices=False)
    found, squared = [], []
    for seed in range(trials):
        energies = block_energies(truth + 2 * _draw(4, *shape, seed=10 + seed), U, Vh)
        off = energies - torch.diag_embed(energies.diagonal(dim1=1, dim2=2))
        found.append(off.sum((1, 2)) / 12)
        squared.append(energies.diagonal(dim1=1, dim2=2).mean(1))
    found, squared = torch.stack(found), torch.stack(squared)
    true = torch.stack([(U[:, :r].mT @ truth @ Vh[:r].mT).square().sum() for r in range(1, 6)])
    error = found.std(0) / trials**0.5
    assert ((found.mean(0) - true).abs() < 4 * error).all()
    assert (squared.mean(0) > true + 4 * error).all()


def test_noise_alone_has_the_mean_zero_at_every_rank():
    curves = torch.stack([free_energies(_draw(4, 6, 5, seed=seed), [((0, 1), (2, 3))])[0] for seed in range(400)])
    assert (curves.mean(0).abs() < 4 * curves.std(0) / 20).all()


def test_splits_that_share_a_gradient_are_refused():
    with pytest.raises(VxlabError, match="two sides that share none"):
        free_energies(_draw(3, 4, 4), [((0, 1), (1, 2))])
    with pytest.raises(VxlabError, match="two sides that share none"):
        free_energies(_draw(3, 4, 4), [((0, 1), ())])


def test_gradients_that_are_not_finite_are_refused():
    G = _draw(2, 3, 3)
    G[1, 0, 0] = float("nan")
    with pytest.raises(VxlabError, match="NaN"):
        paired_energies(G)
