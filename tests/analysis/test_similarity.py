"""Similarity of adapters' updates, layer by layer and by their spaces, against the products formed in full."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

import vxlab
from vxlab.analysis.similarity import chance_cosine, column_overlap, cosines, row_overlap
from vxlab.analysis.update import Update
from vxlab.errors import VxlabError


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _update(out=9, rank=3, into=7, seed=0):
    return Update(_draw(out, rank, seed=2 * seed), _draw(rank, into, seed=2 * seed + 1))


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
    found = cosines(*({name: Update(*layer.factors()) for name, layer in layers.items()} for layers in (first, second)))
    for name, value in found.items():
        x, y = (layers[name].delta_weight().detach().double().flatten() for layers in (first, second))
        assert value == pytest.approx(float(x @ y / (x.norm() * y.norm())), abs=1e-6)


def test_cosines_come_by_layer_in_the_order_of_the_first():
    first = {name: _update(seed=i) for i, name in enumerate("xyz")}
    second = {name: _update(seed=i + 10) for i, name in enumerate("zxy")}
    found = cosines(first, second)
    assert list(found) == ["x", "y", "z"]
    assert found["y"] == first["y"].cosine(second["y"])


def test_adapters_of_other_layers_or_shapes_are_refused_by_name():
    first, second = {"0.query": _update(), "0.value": _update()}, {"0.query": _update()}
    with pytest.raises(VxlabError, match=r"`0\.value` is in the first adapter only; compare adapters of the same"):
        cosines(first, second)
    with pytest.raises(VxlabError, match=r"`0\.value` is in the second adapter only"):
        cosines(second, first)
    with pytest.raises(VxlabError, match=r"layer `0\.query`: updates of shapes \(9, 7\) and \(8, 7\)"):
        cosines(second, {"0.query": _update(out=8)})
    with pytest.raises(VxlabError, match=r"layer `0\.query`: the first update is .*; give Update\(left, right\)"):
        cosines({"0.query": torch.ones(9, 7)}, second)


def test_what_is_no_update_is_refused():
    for nothing in (torch.ones(9, 7), (torch.ones(9, 3), torch.ones(3, 7))):
        for compare in (column_overlap, row_overlap):
            with pytest.raises(VxlabError, match=r"b is .*; give Update\(left, right\) of left \(out, r\)"):
                compare(_update(), nothing)


def test_unrelated_updates_have_mean_zero_and_the_stated_spread():
    shape, count = (12, 20), 800
    values = np.array([_update(12, 2, 20, i).cosine(_update(12, 3, 20, i + count)) for i in range(count)])
    spread = chance_cosine(shape)
    assert abs(values.mean()) < 4 * spread / math.sqrt(count)
    assert values.std() == pytest.approx(spread, rel=0.1)
    with pytest.raises(VxlabError, match=r"shape=\(0, 3\)"):
        chance_cosine((0, 3))


def test_overlaps_are_the_mean_squared_cosines_of_the_products_own_spaces():
    a, b = _update(30, 4, 25, 1), _update(30, 6, 25, 2)
    for overlap, turn in ((column_overlap, np.array), (row_overlap, np.transpose)):
        bases = [scipy.linalg.orth(turn(update.to_matrix().numpy())) for update in (a, b)]
        expected = (np.cos(scipy.linalg.subspace_angles(*bases)) ** 2).mean()
        assert overlap(a, b) == pytest.approx(expected, abs=1e-10)
        assert overlap(a, a) == pytest.approx(1, abs=1e-12)


def test_overlaps_count_only_directions_that_the_product_reaches():
    e = torch.eye(6, dtype=torch.float64)
    line, crossing = Update(e[:, :1], e[:1]), Update(e[:, 1:2], e[:1])
    left, right = e[:, :3], torch.zeros(3, 6, dtype=torch.float64)
    right[0, 0] = 2.0  # so that two of left's three columns never show
    assert column_overlap(Update(left, right), line) == pytest.approx(1)
    assert column_overlap(Update(left, right), crossing) == pytest.approx(0)
    assert row_overlap(crossing, line) == pytest.approx(1)
    assert crossing.cosine(line) == 0


def test_what_factors_that_cancel_leave_by_rounding_is_no_direction():
    a, b, c = _draw(9, 1), _draw(1, 7, seed=1), _draw(1, 7, seed=2)
    plain = Update(a, 1e-3 * c)
    cancelling = Update(torch.cat([a, a], 1), torch.cat([b, -b + 1e-3 * c]))
    assert cancelling.cosine(plain) == pytest.approx(1, abs=1e-10)
    assert column_overlap(cancelling, plain) == pytest.approx(1, abs=1e-10)
    assert row_overlap(cancelling, plain) == pytest.approx(1, abs=1e-10)
    for nothing in (Update(torch.cat([a, -a / 3], 1), torch.cat([b, 3 * b])), Update(0 * a, b)):
        assert math.isnan(column_overlap(nothing, plain))
        assert math.isnan(row_overlap(plain, nothing))


def test_column_spaces_need_the_same_outputs_only():
    with pytest.raises(VxlabError, match="rows"):
        column_overlap(_update(out=9), _update(out=8))
    assert 0 <= column_overlap(_update(into=7), _update(into=8, seed=1)) <= 1
