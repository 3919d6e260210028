"""One threshold over all layers: what is kept is what truncating the whole update keeps."""

import pytest
import torch

from vxlab.analysis import FullUpdate, Update
from vxlab.studies.advisor.threshold import cut_all, rank_one_parts, truncate

SHAPES = {"a": (12, 7), "b": (9, 9), "c": (5, 11)}


@pytest.fixture
def updates() -> dict[str, Update]:
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    scales = {"a": 1.0, "b": 0.1, "c": 3.0}
    factors = {name: (scales[name] * random(out, 4), random(4, inner)) for name, (out, inner) in SHAPES.items()}
    return {name: Update(*pair) for name, pair in factors.items()}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99, 0.9999, 1])
def test_the_kept_weights_are_those_of_truncating_the_whole_matrices(updates, share):
    full = {name: torch.linalg.svd(update.to_matrix(), full_matrices=False) for name, update in updates.items()}
    values = torch.cat([S for _, S, _ in full.values()])
    energies = (values.sort(descending=True).values ** 2).cumsum(0)
    fewest = next(n for n, reached in enumerate(energies, 1) if reached >= share * energies[-1] * (1 - 1e-15))
    least = values.sort(descending=True).values[fewest - 1]
    parts = {name: rank_one_parts(update) for name, update in updates.items()}
    kept = cut_all(parts, share)
    for name, (U, S, Vh) in full.items():
        stays = (least * (1 - 1e-12) <= S) & (S > 1e-12)
        left, right = truncate(parts[name], kept[name])
        assert kept[name] == int(stays.sum())
        torch.testing.assert_close(left @ right, (U[:, stays] * S[stays]) @ Vh[stays], rtol=0, atol=1e-8)


def test_a_dense_update_is_cut_as_its_factors_are(updates):
    thin = {name: rank_one_parts(update) for name, update in updates.items()}
    dense = {name: rank_one_parts(FullUpdate(update.to_matrix())) for name, update in updates.items()}
    assert cut_all(thin, 0.9) == cut_all(dense, 0.9)
    for name, kept in cut_all(thin, 0.9).items():
        products = [left @ right for left, right in (truncate(parts[name], kept) for parts in (thin, dense))]
        torch.testing.assert_close(*products, rtol=0, atol=1e-8)


def test_a_planted_update_is_found_with_its_layers_and_ranks():
    draw = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(20, 8, generator=draw, dtype=torch.float64)).Q
    planted = Update(basis[:, :3] * torch.tensor([3.0, 2.0, 1.0]), basis[:, 4:7].mT)
    noise = Update(1e-4 * basis[:, :4], basis[:, 4:].mT)
    whole = Update(torch.cat([planted.left, noise.left], 1), torch.cat([planted.right, noise.right]))
    parts = {"told": rank_one_parts(whole), "not": rank_one_parts(noise)}
    assert cut_all(parts, 0.999) == {"told": 3, "not": 0}
    assert cut_all(parts, 1) == {"told": 4, "not": 4}


def test_terms_stay_as_they_are_and_zero_ones_are_left_out():
    left = torch.tensor([[1.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
    right = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 3.0]])
    parts = rank_one_parts(Update(left, right), by_term=True)
    assert parts.S.tolist() == pytest.approx([6.0, 2**0.5])
    first, second = truncate(parts, 1)
    torch.testing.assert_close((first @ second).float(), left[:, 2:] @ right[2:])
    torch.testing.assert_close(torch.matmul(*truncate(parts, 2)).float(), left @ right)


def test_equal_values_stay_in_the_order_of_the_layers():
    parts = {name: rank_one_parts(Update(torch.eye(2), torch.eye(2))) for name in ("first", "second")}
    assert cut_all(parts, 0.75) == {"first": 2, "second": 1}
    assert cut_all(parts, 0.76) == {"first": 2, "second": 2}
