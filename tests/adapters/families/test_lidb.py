"""LiDB: two small trained matrices inside frozen random bases that nothing needs to store."""

import math
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import Tensor, nn

import vxlab

FAMILY = vxlab.LiDB(rank=2, aux_out=7, aux_in=5, seed=3)


def attached(family: vxlab.LiDB = FAMILY) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 10)).double()
    return vxlab.attach(model, family, targets="all-linear")


def test_the_update_is_the_product_of_four_matrices() -> None:
    layer = attached()[1]
    with torch.no_grad():
        layer.A.normal_(), layer.B.normal_()
    assert [tuple(t.shape) for t in (layer.left_basis, layer.A, layer.B, layer.right_basis)] == [
        (10, 7), (7, 2), (2, 5), (5, 8)
    ]  # fmt: skip
    expected = layer.left_basis @ layer.A @ layer.B @ layer.right_basis
    torch.testing.assert_close(layer.delta_weight(), expected, rtol=1e-12, atol=1e-12)
    assert torch.linalg.matrix_rank(layer.delta_weight()) == 2


def test_the_bases_are_orthonormal() -> None:
    for layer in vxlab.adapted_layers(attached()).values():
        _assert_identity(layer.left_basis.T @ layer.left_basis)
        _assert_identity(layer.right_basis @ layer.right_basis.T)


def _assert_identity(product: Tensor) -> None:
    torch.testing.assert_close(product, torch.eye(len(product), dtype=product.dtype), rtol=0, atol=1e-12)


def test_the_bases_follow_seed_and_layer_alone() -> None:
    weight = torch.randn(10, 8)
    bases = FAMILY.frozen({"a": weight, "b": weight})
    again = FAMILY.frozen({"b": weight + 1})
    other = vxlab.LiDB(rank=1, aux_out=7, aux_in=5, seed=4).frozen({"b": weight})
    for name in ("left_basis", "right_basis"):
        assert torch.equal(bases["b"][name], again["b"][name])
        assert not torch.allclose(bases["b"][name], bases["a"][name])
        assert not torch.allclose(bases["b"][name], other["b"][name])


def test_it_starts_at_zero_and_only_a_has_a_first_gradient() -> None:
    model = attached()
    layer = model[0]
    assert not layer.delta_weight().any()
    assert layer.B.any()
    assert layer.B.abs().max() <= 1 / math.sqrt(5)
    model(torch.randn(4, 9, dtype=torch.float64)).square().sum().backward()
    assert layer.A.grad.any()
    assert not layer.B.grad.any()


def test_its_gradients_are_the_whole_gradients_projections() -> None:
    layer = attached()[0]
    with torch.no_grad():
        layer.A.normal_()
    x, gy = torch.randn(30, 9, dtype=torch.float64), torch.randn(30, 8, dtype=torch.float64)
    layer(x).backward(gy)
    inside = layer.left_basis.T @ (gy.T @ x) @ layer.right_basis.T
    torch.testing.assert_close(layer.A.grad, inside @ layer.B.T)
    torch.testing.assert_close(layer.B.grad, layer.A.T @ inside)


def test_its_size_does_not_depend_on_the_layers() -> None:
    assert vxlab.LiDB(rank=2).parameter_count((768, 3072)) == 2 * (100 + 50)
    assert vxlab.trainable_parameters(attached()).backbone == 2 * 2 * (7 + 5)


def test_the_frozen_bases_are_no_part_of_the_state() -> None:
    assert {key.rpartition(".")[2] for key in attached().state_dict()} == {"weight", "bias", "A", "B"}


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_it_attaches_without_a_change_and_merges_exactly(name: str) -> None:
    model = ARCHITECTURES[name]().eval()
    with torch.no_grad():
        before = model(**inputs(name)).logits
        vxlab.attach(model, vxlab.LiDB(rank=2, aux_out=12, aux_in=10), targets="all-linear")
        assert torch.equal(model(**inputs(name)).logits, before)
        for layer in vxlab.adapted_layers(model).values():
            layer.A.normal_()
        trained = model(**inputs(name)).logits
        assert not torch.allclose(trained, before, atol=1e-3)
        torch.testing.assert_close(vxlab.merge(model)(**inputs(name)).logits, trained, rtol=0, atol=1e-5)
        assert torch.equal(vxlab.unmerge(model)(**inputs(name)).logits, trained)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aux_out": 9, "aux_in": 5}, r"LiDB aux_out=9 is more than out_features=8 of `0`; choose 1-8"),
        ({"aux_out": 7, "aux_in": 9}, r"LiDB aux_in=9 is more than in_features=8 of `1`; choose 1-8"),
        ({"rank": 6, "aux_out": 7, "aux_in": 5}, r"LiDB rank=6 is more than min\(aux_out, aux_in\)=5; choose 1-5"),
        ({"aux_out": 0}, "LiDB aux_out=0 is not a positive integer; choose 1 or more"),
        ({"aux_in": 2.5}, "LiDB aux_in=2.5 is a float; it must be a whole number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        attached(vxlab.LiDB(**settings))
