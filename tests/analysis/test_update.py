"""An update in thin factors, or as a matrix: its spectrum, norm and cosines are those of the product formed in full."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vxlab.analysis.gram import BLOCK
from vxlab.analysis.update import FullUpdate, Update
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _factors(out=9, rank=3, into=7, seed=0):
    return _draw(out, rank, seed=2 * seed), _draw(rank, into, seed=2 * seed + 1)


def _update(out=9, rank=3, into=7, seed=0):
    return Update(*_factors(out, rank, into, seed))


def _formed(a, b):
    x, y = (each.to_matrix().numpy().ravel() for each in (a, b))
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


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
    update = Update(*update)
    expected = np.linalg.svd(left @ right, compute_uv=False)[: left.shape[1]]
    tolerance = 1e-10 * max(expected[0], 1e-300)
    U, S, Vh = update.svd()
    for values in (S, update.singular_values()):
        assert values.dtype == torch.float64
        assert values.shape == (min(*left.shape, right.shape[1]),)
        assert np.abs(values.numpy() - expected).max() <= tolerance
        assert (values.diff() <= 0).all()
    assert update.shape == (len(left), right.shape[1])
    assert np.abs(update.to_matrix().numpy() - left @ right).max() <= tolerance
    assert np.abs((U * S @ Vh).numpy() - left @ right).max() <= tolerance
    for basis in (U, Vh.mT):
        assert torch.allclose(basis.mT @ basis, torch.eye(len(S), dtype=torch.float64), atol=1e-12)


def test_the_spectrum_of_a_zero_update_is_zero():
    for update in (Update(torch.zeros(5, 2), torch.ones(2, 4)), Update(torch.ones(5, 2), torch.zeros(2, 4))):
        assert update.singular_values().tolist() == update.svd().S.tolist() == [0.0, 0.0]
        assert math.isnan(update.energy(1))


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e30])
def test_tiny_and_huge_updates_keep_their_digits(scale):
    left, right = _factors(30, 5, 20)
    expected, update = torch.linalg.svdvals(left @ right)[:5] * scale, Update(scale * left, right)
    assert torch.allclose(update.singular_values(), expected, rtol=1e-12, atol=0)
    assert torch.allclose(update.svd().S, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn])
def test_lower_precision_is_widened_before_anything_is_computed(dtype):
    left, right = (factor.to(dtype) for factor in _factors(300, 8, 48))
    dense, update = left.double() @ right.double(), Update(left, right)
    expected = torch.linalg.svdvals(dense)[:8]
    assert torch.allclose(update.singular_values(), expected, rtol=1e-12, atol=0)
    assert torch.allclose(update.svd().S, expected, rtol=1e-12, atol=0)
    assert update.norm() == pytest.approx(float(dense.norm()), rel=1e-9)
    weight = torch.randn(300, 48).to(dtype)
    expected = float(dense.norm() / weight.double().norm())
    assert update.relative_norm(weight) == pytest.approx(expected, rel=1e-9)


def test_left_vectors_point_to_their_largest_entry():
    left, right = _factors(30, 5, 20)
    first, second = Update(left, right).svd(), Update(-left, right).svd()
    assert (first.U.gather(0, first.U.abs().argmax(0, keepdim=True)) > 0).all()
    assert torch.allclose(first.U, second.U, atol=1e-12)
    assert torch.allclose(first.Vh, -second.Vh, atol=1e-12)


def test_factors_stay_as_they_were_and_no_gradient_is_recorded():
    factors = tuple(factor.requires_grad_() for factor in _factors(300, 4, 20))
    before, update = [factor.detach().clone() for factor in factors], Update(*factors)
    assert not update.singular_values().requires_grad
    assert not any(part.requires_grad for part in update.svd())
    assert update.norm() > 0
    assert all(torch.equal(old, new) for old, new in zip(before, factors, strict=True))


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
    factors = tuple(factor.float() for factor in _factors(2000, rank, 1500))
    with _Sizes(factors) as sizes:
        Update(*factors).singular_values()
    assert sizes.largest == BLOCK * rank


def test_energy_is_what_the_first_triplets_hold():
    update = _update(30, 4, 20)
    S = np.linalg.svd(update.to_matrix().numpy(), compute_uv=False)
    for rank in (1, 3, 4, 9):
        assert update.energy(rank) == pytest.approx((S[:rank] ** 2).sum() / (S**2).sum(), abs=1e-12)
    for rank in (0, 1.5, True):
        with pytest.raises(VxlabError, match="is not a positive integer; choose 1 or more"):
            update.energy(rank)


@pytest.mark.parametrize(
    ("out_features", "rank", "in_features"),
    [(7, 3, 5), (5, 3, 7), (6, 1, 6), (4, 4, 9), (4, 5, 9), (3, 64, 2), (1, 1, 1), (1, 8, 1)],
)
def test_norms_are_those_of_the_full_product(out_features, rank, in_features):
    left, right = _factors(out_features, rank, in_features)
    weight = torch.randn(out_features, in_features, dtype=torch.float64)
    dense = np.linalg.norm((left.numpy() @ right.numpy()), "fro")
    update = Update(left, right)
    assert update.norm() == pytest.approx(dense, rel=1e-12)
    expected = dense / np.linalg.norm(weight.numpy(), "fro")
    assert update.relative_norm(weight) == pytest.approx(expected, rel=1e-12)


def test_rank_deficient_factors_count_once():
    left, right = _factors(6, 2, 5)
    doubled = torch.cat([left, left], dim=1), torch.cat([right, right], dim=0)
    assert Update(*doubled).norm() == pytest.approx(2 * float(torch.linalg.matrix_norm(left @ right)), rel=1e-12)


def test_factors_that_cancel_leave_next_to_nothing_and_never_a_nan():
    for seed in range(20):  # rounding leaves the squared norm below 0 in some
        left, right = _factors(6, 2, 5, seed)
        cancelled = torch.cat([left, -left / 3], dim=1), torch.cat([right, 3 * right], dim=0)
        assert 0 <= Update(*cancelled).norm() < 1e-6 * Update(left, right).norm()


def test_factors_that_almost_cancel_keep_their_digits():
    left, right = _factors(6, 2, 5)
    noise_left, noise_right = (1e3 * factor for factor in _factors(6, 2, 5, 1))
    hidden = torch.cat([left, noise_left, -noise_left], 1), torch.cat([right, noise_right, noise_right])
    assert Update(*hidden).norm() == pytest.approx(float(torch.linalg.matrix_norm(left @ right)), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e5, 1e30])
def test_tiny_and_huge_updates_keep_their_norm(scale):
    left, right = _factors(6, 2, 5)
    small = (left * scale).float(), right.float()
    dense = torch.linalg.matrix_norm(small[0].double() @ small[1].double())
    assert Update(*small).norm() == pytest.approx(float(dense), rel=1e-9)


def test_no_update_is_zero_and_an_update_of_a_zero_weight_infinite():
    left, right = _factors(4, 2, 3)
    zero, weight, nothing = torch.zeros(4, 3), torch.ones(4, 3), Update(torch.zeros(4, 2), right)
    assert nothing.norm() == nothing.relative_norm(weight) == nothing.relative_norm(zero) == 0.0
    assert Update(left, right).relative_norm(zero) == math.inf


@pytest.mark.parametrize(
    ("out", "into", "ranks"),
    [(9, 7, (3, 3)), (7, 9, (1, 1)), (1, 1, (1, 1)), (8, 8, (8, 2)), (5, 6, (20, 3)), (200, 150, (64, 65)),
     (180, 210, (130, 129)), (300, 40, (1, 257))],
)  # fmt: skip
def test_cosines_are_those_of_the_full_matrices(out, into, ranks):
    a, b = _update(out, ranks[0], into, 1), _update(out, ranks[1], into, 2)
    alike = Update(a.left, a.right + 0.1 * _draw(*a.right.shape, seed=9))
    for first, second in ((a, b), (a, alike), (alike, b), (b, b)):
        assert first.cosine(second) == pytest.approx(_formed(first, second), abs=1e-12)
        product = float((first.to_matrix() * second.to_matrix()).sum())
        assert first.inner_product(second) == pytest.approx(product, rel=1e-10, abs=1e-9)
        assert second.cosine(first) == pytest.approx(first.cosine(second), abs=1e-14)


def test_the_same_update_is_alike_and_its_opposite_opposed():
    for seed in range(10):
        a = _update(40, 5, 30, seed)
        assert a.cosine(a) == pytest.approx(1, abs=1e-12)
        assert a.cosine(Update(-3 * a.left, a.right)) == pytest.approx(-1, abs=1e-12)


def test_cosine_does_not_see_how_an_update_is_factored():
    a, b = _update(seed=1), _update(seed=2)
    M = _draw(3, 3, seed=5) + 3 * torch.eye(3)
    refactored = a.left @ M, torch.linalg.solve(M, a.right)
    padded = torch.cat([a.left, _draw(9, 2)], 1), torch.cat([a.right, torch.zeros(2, 7)])
    for same in (refactored, padded, (1e9 * a.left, 1e-30 * a.right)):
        assert Update(*same).cosine(b) == pytest.approx(a.cosine(b), abs=1e-12)


def test_factors_that_cancel_keep_ten_digits():
    a, b = _update(60, 4, 50, 1), _update(60, 4, 50, 2)
    for size in (1e1, 1e2, 1e3):
        left, right = size * _draw(60, 4, seed=7), size * _draw(4, 50, seed=8)
        noisy = Update(torch.cat([a.left, left, -left], 1), torch.cat([a.right, right, right]))
        hidden = Update(torch.cat([left, -left, a.left], 1), torch.cat([right, right, a.right]))
        for other in (b, hidden):
            assert noisy.cosine(other) == pytest.approx(_formed(noisy, other), abs=1e-10)


def test_a_zero_update_has_no_direction():
    a, zero = _update(), Update(torch.zeros(9, 3), torch.randn(3, 7))
    cancelled = Update(torch.cat([a.left, -a.left / 3], 1), torch.cat([a.right, 3 * a.right]))
    for nothing in (zero, cancelled):
        for one, other in ((nothing, a), (a, nothing), (nothing, nothing)):
            assert math.isnan(one.cosine(other))


def test_half_precision_and_training_factors_are_compared_in_double():
    a, b = (Update(*(factor.bfloat16().requires_grad_() for factor in _factors(seed=seed))) for seed in (1, 2))
    assert a.cosine(b) == pytest.approx(_formed(a, b), abs=1e-12)


def test_updates_of_other_shapes_are_not_compared():
    for compare in (_update().cosine, _update().inner_product):
        with pytest.raises(VxlabError, match=r"updates of shapes \(9, 7\) and \(8, 7\) cannot be compared"):
            compare(_update(out=8))
        with pytest.raises(VxlabError, match="the other update is of type tuple and length 2; give Update"):
            compare(_factors())


@pytest.mark.parametrize("shape", [(9, 7), (7, 9), (5, 5)])
def test_a_whole_matrix_has_the_same_face(shape):
    thin = _update(shape[0], 4, shape[1])
    full, other = FullUpdate(thin.to_matrix()), _update(shape[0], 2, shape[1], seed=1)
    assert full.shape == thin.shape == shape
    assert torch.equal(full.to_matrix(), full.left @ full.right)
    assert full.norm() == pytest.approx(thin.norm(), rel=1e-12)
    assert full.energy(2) == pytest.approx(thin.energy(2), abs=1e-12)
    assert torch.allclose(full.singular_values()[:4], thin.singular_values(), atol=1e-12)
    U, S, Vh = full.svd()
    assert torch.allclose(U * S @ Vh, full.to_matrix(), atol=1e-12)
    assert torch.equal(full.transpose().to_matrix(), full.to_matrix().mT)
    for one in (full, thin):
        Q1, core, Q2 = one.reduce()
        rebuilt = core if Q1 is None else Q1 @ core @ Q2.mT
        assert torch.allclose(rebuilt, full.to_matrix(), atol=1e-12)
        assert one.cosine(other) == pytest.approx(_formed(thin, other), abs=1e-12)
        assert other.cosine(one) == pytest.approx(_formed(thin, other), abs=1e-12)
    assert full.cosine(thin) == pytest.approx(1, abs=1e-12)
    assert math.isnan(FullUpdate(torch.zeros(shape)).cosine(other))


def test_an_update_shows_its_shape():
    assert (repr(_update()), repr(FullUpdate(torch.ones(3, 2)))) == ("<Update 9×7, r=3>", "<FullUpdate 3×2, r=2>")


@pytest.mark.parametrize(
    ("factors", "message"),
    [
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
def test_what_is_no_update_is_refused_in_words(factors, message):
    with pytest.raises(VxlabError, match=message):
        Update(*factors)


def test_what_is_no_matrix_is_no_full_update():
    with pytest.raises(VxlabError, match=r"the update is a tensor \(3,\)"):
        FullUpdate(torch.ones(3))
    with pytest.raises(VxlabError, match=r"the update.* holds NaN"):
        FullUpdate(torch.full((3, 3), math.nan))
