"""Similarity of updates from their thin factors, against the products formed in full."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

import vxlab
from vxlab.analysis.similarity import (
    chance_cosine,
    column_overlap,
    cosine,
    cosines,
    inner_product,
    row_overlap,
)
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _update(out=9, rank=3, into=7, seed=0):
    return _draw(out, rank, seed=2 * seed), _draw(rank, into, seed=2 * seed + 1)


def _formed(a, b):
    x, y = ((left.double() @ right.double()).numpy().ravel() for left, right in (a, b))
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


@pytest.mark.parametrize(
    ("out", "into", "ranks"),
    [(9, 7, (3, 3)), (7, 9, (1, 1)), (1, 1, (1, 1)), (8, 8, (8, 2)), (5, 6, (20, 3)), (200, 150, (64, 65)),
     (180, 210, (130, 129)), (300, 40, (1, 257))],
)  # fmt: skip
def test_cosines_are_those_of_the_full_matrices(out, into, ranks):
    a, b = _update(out, ranks[0], into, 1), _update(out, ranks[1], into, 2)
    alike = a[0], a[1] + 0.1 * _draw(*a[1].shape, seed=9)
    for first, second in ((a, b), (a, alike), (alike, b), (b, b)):
        assert cosine(first, second) == pytest.approx(_formed(first, second), abs=1e-12)
        product = float(((first[0] @ first[1]) * (second[0] @ second[1])).sum())
        assert inner_product(first, second) == pytest.approx(product, rel=1e-10, abs=1e-9)
        assert cosine(second, first) == pytest.approx(cosine(first, second), abs=1e-14)


@pytest.mark.parametrize(
    "method", [vxlab.LoRA(rank=4), vxlab.VeRA(rank=20), vxlab.LoRAXS(rank=3)], ids=lambda m: m.name
)
def test_cosines_of_attached_families_are_those_of_their_delta_weights(method):
    def trained(seed):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(12, 10), torch.nn.Linear(10, 12))
        vxlab.attach(model, method, ["0", "1"])
        layers = vxlab.adapted_layers(model)
        for layer in layers.values():
            for tensor in layer.trained_tensors().values():
                tensor.data = torch.randn(tensor.shape)
        return layers

    first, second = trained(1), trained(2)
    found = cosines(*({name: layer.factors() for name, layer in layers.items()} for layers in (first, second)))
    for name, value in found.items():
        x, y = (layers[name].factors() for layers in (first, second))
        assert value == pytest.approx(_formed([f.detach() for f in x], [f.detach() for f in y]), abs=1e-10)


def test_the_same_update_is_alike_and_its_opposite_opposed():
    for seed in range(10):
        a = _update(40, 5, 30, seed)
        assert cosine(a, a) == pytest.approx(1, abs=1e-12)
        assert cosine(a, (-3 * a[0], a[1])) == pytest.approx(-1, abs=1e-12)


def test_cosine_does_not_see_how_an_update_is_factored():
    a, b = _update(seed=1), _update(seed=2)
    M = _draw(3, 3, seed=5) + 3 * torch.eye(3)
    refactored = a[0] @ M, torch.linalg.solve(M, a[1])
    padded = torch.cat([a[0], _draw(9, 2)], 1), torch.cat([a[1], torch.zeros(2, 7)])
    for same in (refactored, padded, (1e9 * a[0], 1e-30 * a[1])):
        assert cosine(same, b) == pytest.approx(cosine(a, b), abs=1e-12)


def test_factors_that_cancel_keep_ten_digits():
    a, b = _update(60, 4, 50, 1), _update(60, 4, 50, 2)
    for size in (1e1, 1e2, 1e3):
        noise_left, noise_right = size * _draw(60, 4, seed=7), size * _draw(4, 50, seed=8)
        left = torch.cat([a[0], noise_left, -noise_left], 1)
        right = torch.cat([a[1], noise_right, noise_right])
        hidden = torch.cat([noise_left, -noise_left, a[0]], 1), torch.cat([noise_right, noise_right, a[1]])
        assert cosine((left, right), b) == pytest.approx(_formed((left, right), b), abs=1e-10)
        assert cosine((left, right), hidden) == pytest.approx(_formed((left, right), hidden), abs=1e-10)


def test_a_zero_update_has_no_direction():
    a, zero = _update(), (torch.zeros(9, 3), torch.randn(3, 7))
    cancelled = torch.cat([a[0], -a[0] / 3], 1), torch.cat([a[1], 3 * a[1]])
    for nothing in (zero, cancelled):
        for pair in ((nothing, a), (a, nothing), (nothing, nothing)):
            assert math.isnan(cosine(*pair))
        assert math.isnan(column_overlap(zero, a))
        assert math.isnan(row_overlap(a, zero))


def test_half_precision_and_training_factors_are_compared_in_double():
    a, b = (tuple(factor.bfloat16().requires_grad_() for factor in _update(seed=seed)) for seed in (1, 2))
    expected = _formed(*([factor.detach() for factor in each] for each in (a, b)))
    assert cosine(a, b) == pytest.approx(expected, abs=1e-12)


def test_cosines_come_by_layer_in_the_order_of_the_first():
    first = {name: _update(seed=i) for i, name in enumerate("xyz")}
    second = {name: _update(seed=i + 10) for i, name in enumerate("zxy")}
    found = cosines(first, second)
    assert list(found) == ["x", "y", "z"]
    assert found["y"] == cosine(first["y"], second["y"])


def test_adapters_of_other_layers_or_shapes_are_refused_by_name():
    first, second = {"0.query": _update(), "0.value": _update()}, {"0.query": _update()}
    with pytest.raises(VxlabError, match=r"`0\.value` is in the first adapter only; compare adapters of the same"):
        cosines(first, second)
    with pytest.raises(VxlabError, match=r"`0\.value` is in the second adapter only"):
        cosines(second, first)
    with pytest.raises(VxlabError, match=r"layer `0\.query`: updates of shapes \(9, 7\) and \(8, 7\)"):
        cosines(second, {"0.query": _update(out=8)})


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ((torch.ones(9, 3), torch.ones(2, 7)), "both numbers are the rank r"),
        ((torch.ones(9), torch.ones(1, 7)), "left factor is"),
        (torch.ones(9, 7), "give its two factors as a tuple"),
        ((torch.full((9, 1), math.nan), torch.ones(1, 7)), "holds NaN"),
        ((torch.ones(9, 0), torch.ones(0, 7)), "empty matrix"),
    ],
    ids=["ranks", "vector", "matrix", "nan", "rank 0"],
)
def test_what_is_no_update_is_refused(update, message):
    for compare in (cosine, column_overlap, row_overlap):
        with pytest.raises(VxlabError, match=message):
            compare(_update(), update)


def test_unrelated_updates_have_mean_zero_and_the_stated_spread():
    shape, count = (12, 20), 800
    values = np.array([cosine(_update(12, 2, 20, i), _update(12, 3, 20, i + count)) for i in range(count)])
    spread = chance_cosine(shape)
    assert abs(values.mean()) < 4 * spread / math.sqrt(count)
    assert values.std() == pytest.approx(spread, rel=0.1)
    with pytest.raises(VxlabError, match=r"shape=\(0, 3\)"):
        chance_cosine((0, 3))


def test_overlaps_are_the_mean_squared_cosines_of_the_products_own_spaces():
    a, b = _update(30, 4, 25, 1), _update(30, 6, 25, 2)
    for overlap, dense in ((column_overlap, lambda u: u[0] @ u[1]), (row_overlap, lambda u: (u[0] @ u[1]).T)):
        bases = [scipy.linalg.orth(dense(update).numpy()) for update in (a, b)]
        expected = (np.cos(scipy.linalg.subspace_angles(*bases)) ** 2).mean()
        assert overlap(a, b) == pytest.approx(expected, abs=1e-10)
        assert overlap(a, a) == pytest.approx(1, abs=1e-12)


def test_overlaps_count_only_directions_that_the_product_reaches():
    e = torch.eye(6, dtype=torch.float64)
    line = e[:, :1], e[:1]
    left, right = e[:, :3], torch.zeros(3, 6, dtype=torch.float64)
    right[0, 0] = 2.0  # so that two of left's three columns never show
    assert column_overlap((left, right), line) == pytest.approx(1)
    assert column_overlap((left, right), (e[:, 1:2], e[:1])) == pytest.approx(0)
    assert row_overlap((e[:, 1:2], e[:1]), line) == pytest.approx(1)
    assert cosine((e[:, 1:2], e[:1]), line) == 0


def test_what_factors_that_cancel_leave_by_rounding_is_no_direction():
    a, b, c = _draw(9, 1), _draw(1, 7, seed=1), _draw(1, 7, seed=2)
    plain = a, 1e-3 * c
    cancelling = torch.cat([a, a], 1), torch.cat([b, -b + 1e-3 * c])
    assert cosine(cancelling, plain) == pytest.approx(1, abs=1e-10)
    assert column_overlap(cancelling, plain) == pytest.approx(1, abs=1e-10)
    assert row_overlap(cancelling, plain) == pytest.approx(1, abs=1e-10)
    nothing = torch.cat([a, -a / 3], 1), torch.cat([b, 3 * b])
    assert math.isnan(column_overlap(nothing, plain))
    assert math.isnan(row_overlap(plain, nothing))


def test_column_spaces_need_the_same_outputs_only():
    with pytest.raises(VxlabError, match="rows"):
        column_overlap(_update(out=9), _update(out=8))
    assert 0 <= column_overlap(_update(into=7), _update(into=8, seed=1)) <= 1
