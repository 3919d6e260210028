"""A product that is computed once, and never when it is another by now."""

import pytest
import torch
import toy_stacks as toy
from torch import Tensor

import vxlab
from vxlab.adapters.stacked import Link, SharedProduct, stacked_linear


def drawn() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 4), torch.randn(5, 4)


def assert_right(product: SharedProduct, x: Tensor, A: Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert torch.equal(product.of(x, A, dtype), x.to(dtype) @ A.to(dtype).mT)


CHANGES = {
    "x in place": lambda x, A: x.mul_(2),
    "a view of x": lambda x, A: x[0].mul_(2),
    "what x is a view of": lambda x, A: x._base.add_(1),
    "x's own memory": lambda x, A: x.untyped_storage().copy_(torch.ones(2, 3, 4).untyped_storage()) and x.add_(0),
    "A in place": lambda x, A: A.neg_(),
    "x's shape": lambda x, A: x.resize_(2, 2, 4),
    "x's data": lambda x, A: setattr(x, "data", torch.ones(2, 3, 4)),
    "the product": lambda x, A: None,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@torch.no_grad()
def test_after_a_change_in_place_it_is_computed_again(change):
    (whole, A), product = drawn(), SharedProduct()
    x = whole.view(2, 3, 4)
    first = product.of(x, A, torch.float32)
    assert product.of(x.view(2, 3, 4), A[:, :4], torch.float32) is first
    if change(x, A) is None:
        first.zero_()
    assert_right(product, x, A)


@torch.no_grad()
def test_another_tensor_never_comes_to_lie_where_one_was():
    product, (_, A) = SharedProduct(), drawn()
    for _ in range(200):
        assert_right(product, torch.randn(2, 3, 4), A)
        assert_right(product, torch.ones(2, 3, 4), torch.randn(5, 4))


@torch.no_grad()
def test_other_dtypes_shapes_and_strides_are_others():
    (x, A), product = drawn(), SharedProduct()
    for each in (x, x[:, :2], x.transpose(0, 1), x.reshape(1, 6, 4), x[1:]):
        assert_right(product, each, A)
        assert_right(product, each, A, torch.float64)
    assert_right(product, x, A[:3])


def test_nothing_of_a_graph_is_remembered_or_given_to_one():
    (x, A), product = drawn(), SharedProduct()
    with torch.no_grad():
        plain = product.of(x, A, torch.float32)
    asked = product.of(x.requires_grad_(), A, torch.float32)
    assert asked is not plain
    assert asked.requires_grad
    with torch.no_grad():
        assert product.of(x, A, torch.float32) is plain
    with torch.inference_mode():
        inferred = torch.ones(2, 3, 4)
        assert product.of(inferred, A, torch.float32) is not product.of(inferred, A, torch.float32)
    mapped = torch.vmap(lambda one: product.of(one, A, torch.float32))(x.detach())
    assert torch.allclose(mapped, plain)


def test_the_operation_takes_it_where_groups_share_the_first_matrix_and_nothing_trains():
    (x, A), product = drawn(), SharedProduct()
    W, d, B = torch.randn(6, 4), torch.randn(2, 5), torch.randn(6, 5)
    links = [Link(A), Link(d, diagonal=True), Link(B)]
    expected = stacked_linear(x, W, None, links)
    for _ in range(2):
        assert torch.equal(stacked_linear(x, W, None, links, product=product), expected)
    remembered = product._last
    assert remembered is not None
    stacked_linear(
        x + 1, W, None, [links[0], Link(d.clone().requires_grad_(), diagonal=True), links[2]], product=product
    )
    stacked_linear(x + 1, W, None, links, product=product, mask=torch.ones_like(x, dtype=torch.bool))
    stacked_linear(x + 1, W, None, [Link(torch.randn(2, 6, 4))], product=product)
    stacked_linear(x + 1, None, None, [Link(torch.randn(6, 4))], product=product)  # which is given away and added to
    assert product._last is remembered
    product.forget()
    assert product._last is None


@torch.no_grad()
def test_query_and_value_of_a_block_share_it_and_no_bit_changes(tmp_path, monkeypatch):
    bank = vxlab.AdapterBank.create(tmp_path / "bank", toy.ARCHITECTURES["bert"](), vxlab.VeRA(rank=9))
    bank.add_many(["ann", "ben"], torch.randn(2, bank.layout.width))
    model, given = bank.attach(toy.ARCHITECTURES["bert"]()), toy.batch(2)
    found: list[tuple[Tensor, int]] = []
    for shares in (True, False):
        results: list[Tensor] = []
        of = SharedProduct.of

        def noting(self, x, matrix, dtype, of=of, shares=shares, results=results):
            results.append(of(self if shares else SharedProduct(), x, matrix, dtype))
            return results[-1]

        monkeypatch.setattr(SharedProduct, "of", noting)
        with bank.rows(["ben", "ann"]):
            logits = model(**given).logits
        monkeypatch.setattr(SharedProduct, "of", of)
        found.append((logits, len({id(each) for each in results})))
    (one, shared), (two, apart) = found
    assert torch.equal(one, two)
    assert (shared, apart) == (2, 4)  # two blocks of two layers
    assert model.vxlab_bank.product._last is None
