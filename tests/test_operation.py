"""The one operation, against autograd's own gradients and against the dense formula."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from vxlab.adapters.operation import adapted_linear

IN, OUT, RANK = 5, 4, 3


def tensors(tokens: tuple[int, ...], bias: bool, *, input_grad: bool, right_grad: bool) -> list[torch.Tensor | None]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int, grad: bool = False) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(grad)

    x, W = draw(*tokens, IN, grad=input_grad), draw(OUT, IN)
    return [x, W, draw(OUT) if bias else None, draw(OUT, RANK, grad=True), draw(RANK, IN, grad=right_grad)]


@pytest.mark.parametrize("tokens", [(1,), (3,), (2, 40), ()], ids=["one", "few", "many", "no leading dimension"])
@pytest.mark.parametrize(("bias", "input_grad", "right_grad"), list(itertools.product([True, False], repeat=3)))
def test_gradients_are_autograds(tokens: tuple[int, ...], bias: bool, input_grad: bool, right_grad: bool) -> None:
    given = tensors(tokens, bias, input_grad=input_grad, right_grad=right_grad)
    assert gradcheck(adapted_linear, given)


@pytest.mark.parametrize("input_grad", [True, False])
def test_gradients_with_another_input_for_the_update_are_autograds(input_grad: bool) -> None:
    x, W, bias, left, right = tensors((2, 3), True, input_grad=input_grad, right_grad=True)
    thin_x = torch.randn(2, 3, IN, dtype=torch.float64, requires_grad=True)
    assert gradcheck(adapted_linear, (x, W, bias, left, right, thin_x))


def test_weight_and_bias_that_train_get_their_gradients() -> None:
    x, W, bias, left, right = tensors((6,), True, input_grad=True, right_grad=True)
    assert gradcheck(adapted_linear, (x, W.requires_grad_(), bias.requires_grad_(), left, right))


def test_output_is_that_of_the_summed_weight() -> None:
    x, W, bias, left, right = tensors((2, 7), True, input_grad=False, right_grad=False)
    expected = torch.nn.functional.linear(x, W + left @ right, bias)
    torch.testing.assert_close(adapted_linear(x, W, bias, left, right), expected, rtol=1e-12, atol=1e-12)


def test_no_tokens_give_no_rows_and_zero_gradients() -> None:
    x, W, bias, left, right = tensors((0,), True, input_grad=True, right_grad=True)
    y = adapted_linear(x, W, bias, left, right)
    y.sum().backward()
    assert y.shape == (0, OUT)
    assert not left.grad.any()
    assert x.grad.shape == (0, IN)


def test_non_contiguous_input_changes_nothing() -> None:
    x, W, bias, left, right = tensors((4, 6), True, input_grad=False, right_grad=False)
    turned = x.transpose(0, 1)
    expected = adapted_linear(turned.contiguous(), W, bias, left, right)
    torch.testing.assert_close(adapted_linear(turned, W, bias, left, right), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_its_own_type_and_returns_float32_gradients(dtype: torch.dtype) -> None:
    x, W, bias, left, right = (
        t.float().detach()
        for t in tensors((9,), True, input_grad=False, right_grad=False)  # type: ignore[union-attr]
    )
    left.requires_grad_()
    with torch.autocast("cpu", dtype):
        y = adapted_linear(x, W, bias, left, right)
    y.float().square().sum().backward()
    exact = left.detach().double().requires_grad_()
    adapted_linear(x.double(), W.double(), bias.double(), exact, right.double()).square().sum().backward()
    assert y.dtype is dtype
    assert left.grad.dtype is torch.float32
    assert (left.grad - exact.grad).norm() / exact.grad.norm() < 0.02
