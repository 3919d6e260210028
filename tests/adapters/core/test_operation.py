"""The one operation: every way through it, against autograd's own gradients and against the dense formula."""

import itertools
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.autograd import gradcheck

from vxlab.adapters.core import operation
from vxlab.adapters.core.cost_model import Plan
from vxlab.adapters.core.operation import Rebuild, adapted_linear
from vxlab.errors import VxlabError

IN, OUT, RANK = 5, 4, 3


def tensors(tokens: tuple[int, ...], bias: bool, *, input_grad: bool, right_grad: bool) -> list[torch.Tensor | None]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int, grad: bool = False) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(grad)

    x, W = draw(*tokens, IN, grad=input_grad), draw(OUT, IN)
    return [x, W, draw(OUT) if bias else None, draw(OUT, RANK, grad=True), draw(RANK, IN, grad=right_grad)]


def ways(*, left: bool = True, right: bool, may_fold: bool = True) -> Iterator[Plan]:
    """Yield every way that gives the gradients asked for."""
    for fold_forward, fold_backward, keep_x, keep_z, whole in itertools.product([False, True], repeat=5):
        foldable = may_fold or not (fold_forward or fold_backward)
        kept = keep_x if (right or whole) else (keep_x or keep_z or not left)
        if foldable and kept:
            yield Plan(fold_forward, fold_backward, keep_x, keep_z and not whole, whole)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], None]:
    return lambda way: monkeypatch.setattr(operation, "choose_route", lambda *sizes, **trains: way)


@pytest.mark.parametrize("tokens", [(1,), (3,), (2, 40), ()], ids=["one", "few", "many", "no leading dimension"])
@pytest.mark.parametrize(("bias", "input_grad", "right_grad"), list(itertools.product([True, False], repeat=3)))
def test_gradients_are_autograds(tokens: tuple[int, ...], bias: bool, input_grad: bool, right_grad: bool) -> None:
    given = tensors(tokens, bias, input_grad=input_grad, right_grad=right_grad)
    assert gradcheck(adapted_linear, given)


@pytest.mark.parametrize("right_grad", [True, False], ids=["right trains", "right is frozen"])
def test_every_way_gives_the_same_output_and_gradients(forced: Callable[[Plan], None], right_grad: bool) -> None:
    x, W, bias, left, right = tensors((2, 6), True, input_grad=True, right_grad=right_grad)
    expected = torch.nn.functional.linear(x, W + left @ right, bias)
    wanted = [x, left, right] if right_grad else [x, left]
    gradients = torch.autograd.grad(expected.square().sum(), wanted)
    count = 0
    for way in ways(right=right_grad):
        forced(way)
        y = adapted_linear(x, W, bias, left, right)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        for mine, autograds in zip(torch.autograd.grad(y.square().sum(), wanted), gradients, strict=True):
            torch.testing.assert_close(mine, autograds, rtol=1e-11, atol=1e-11, msg=str(way))
        count += 1
    assert count == (16 if right_grad else 20)


def test_every_way_drops_the_same_entries_in_output_and_gradients(forced: Callable[[Plan], None]) -> None:
    x, W, bias, left, right = tensors((6,), True, input_grad=True, right_grad=True)

    def seeded(*given: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return adapted_linear(*given, dropout=0.4)

    for way in ways(right=True, may_fold=False):
        forced(way)
        assert gradcheck(seeded, (x, W.detach().requires_grad_(), bias, left, right)), way


def test_dropout_leaves_the_mean_and_zeroes_its_share() -> None:
    torch.manual_seed(0)
    x, W, eye = torch.ones(2000, IN), torch.zeros(IN, IN), torch.eye(IN)
    y = adapted_linear(x, W, None, eye, eye, dropout=0.25)
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 4 / 3]))
    assert abs((y == 0).float().mean() - 0.25) < 0.02


def test_weight_and_bias_that_train_get_their_gradients() -> None:
    x, W, bias, left, right = tensors((6,), True, input_grad=True, right_grad=True)
    assert gradcheck(adapted_linear, (x, W.requires_grad_(), bias.requires_grad_(), left, right))
    assert gradcheck(adapted_linear, (x, W, bias, left.detach(), right.detach()))


def test_no_tokens_give_no_rows_and_zero_gradients() -> None:
    x, W, bias, left, right = tensors((2, 0), True, input_grad=True, right_grad=True)
    y = adapted_linear(x, W, bias, left, right)
    y.sum().backward()
    assert y.shape == (2, 0, OUT)
    assert not left.grad.any()
    assert not right.grad.any()
    assert x.grad.shape == (2, 0, IN)


def test_non_contiguous_input_changes_nothing() -> None:
    x, W, bias, left, right = tensors((4, 6), True, input_grad=False, right_grad=False)
    for turned in (x.transpose(0, 1), x[::2, ::3], x[:1].expand(3, 6, IN)):
        expected = adapted_linear(turned.contiguous(), W, bias, left, right)
        torch.testing.assert_close(adapted_linear(turned, W, bias, left, right), expected)


@pytest.mark.parametrize("no_grad", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_output_is_the_same(no_grad: Callable[[], object]) -> None:
    given = tensors((2, 7), True, input_grad=True, right_grad=True)
    expected = adapted_linear(*given)
    with no_grad():
        y = adapted_linear(*given)
    assert not y.requires_grad
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_a_second_derivative_is_refused() -> None:
    given = tensors((3,), True, input_grad=True, right_grad=True)
    (gx,) = torch.autograd.grad(adapted_linear(*given).square().sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gx.sum().backward()


def test_rebuilt_factors_are_not_kept() -> None:
    x, W, bias, left, right = tensors((3,), True, input_grad=True, right_grad=False)
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    half = (left / 2).detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        doubled = half * 2
        y = adapted_linear(
            x, W, bias, doubled, right, rebuild=Rebuild(lambda each, same: (each * 2, same), (half, right))
        )
    assert half.untyped_storage().data_ptr() in kept
    assert doubled.untyped_storage().data_ptr() not in kept
    y.square().sum().backward()
    adapted_linear(x, W, bias, left, right).square().sum().backward()
    torch.testing.assert_close(half.grad, 2 * left.grad)


def test_a_parameter_changed_between_forward_and_backward_is_noticed() -> None:
    x, W, bias, left, right = tensors((3,), True, input_grad=True, right_grad=True)
    y = adapted_linear(x, W, bias, left, right)
    with torch.no_grad():
        left.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_factors_that_do_not_fit_are_named() -> None:
    x, W, bias, left, right = tensors((3,), True, input_grad=False, right_grad=False)
    with pytest.raises(
        VxlabError, match=r"left \(4, 3\) and right \(2, 5\) do not fit a weight \(out, in\) = \(4, 5\)"
    ):
        adapted_linear(x, W, bias, left, right[:2])
    with pytest.raises(VxlabError, match=r"x \(3, 4\)"):
        adapted_linear(x[:, :4], W, bias, left, right)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_small_update_of_a_half_precision_weight_is_not_rounded_away(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, W = torch.randn(40_000, 64, dtype=dtype), torch.full((64, 64), 0.02, dtype=dtype)
    left, right = torch.full((64, 1), 1e-3), torch.full((1, 64), 1e-2)  # ΔW = 1e-5: W + ΔW rounds to W
    change = adapted_linear(x, W, None, left, right).double() - adapted_linear(x, W, None, 0 * left, right).double()
    expected = 1e-5 * x.double().sum(-1)
    assert change.mean(-1) @ expected / expected.square().sum() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_bias_that_cancels_the_product_leaves_no_error_of_its_own_size(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, W = torch.randn(64, 48, dtype=dtype), 0.1 * torch.randn(32, 48, dtype=dtype)
    x[:, 0], W[:, 0], bias = 1, -100, torch.full((32,), 100, dtype=dtype)
    left, right = 0.1 * torch.randn(32, 2), 0.1 * torch.randn(2, 48)
    exact = adapted_linear(x.double(), W.double(), bias.double(), left.double(), right.double())
    for thin in (left, left.to(dtype)):
        error = (adapted_linear(x, W, bias, thin, right.to(thin.dtype)).double() - exact).norm() / exact.norm()
        assert error < 2 * torch.finfo(dtype).eps


def test_other_dtypes_than_the_weights_are_refused() -> None:
    x, W, bias, left, right = tensors((3,), True, input_grad=False, right_grad=False)
    with pytest.raises(VxlabError, match=r"x is torch.float32 and the weight torch.float64; .* x.to\(torch.float64\)"):
        adapted_linear(x.float(), W, bias, left, right)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(VxlabError, match=r"x is torch\.int64"):
        adapted_linear(x.long(), W, bias, left, right)


def test_the_output_may_be_changed_in_place() -> None:
    given = tensors((2, 3), True, input_grad=True, right_grad=True)
    adapted_linear(*given).relu_().sum().backward()
    mine = given[0].grad.clone()
    given[0].grad = None
    adapted_linear(*given).relu().sum().backward()
    torch.testing.assert_close(mine, given[0].grad)


@pytest.mark.parametrize("no_grad", [torch.no_grad, torch.inference_mode])
def test_compiled_without_gradients_it_is_one_graph(no_grad: Callable[[], object]) -> None:
    torch._dynamo.reset()
    given = tensors((2, 7), True, input_grad=True, right_grad=True)
    with no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it traces
        y = torch.compile(adapted_linear, fullgraph=True, backend="aot_eager")(*given)
        torch.testing.assert_close(y, adapted_linear(*given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_what_is_traced_changes_nothing_in_place_and_computes_the_same(
    dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where torch 2.11 traces a function whose output was changed in place, all of its gradients come out as 0.
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("changed in place")

    x, W, b, left, right = tensors((2, 7), bias, input_grad=False, right_grad=True)
    given = (x.to(dtype).requires_grad_(), W.to(dtype), None if b is None else b.to(dtype))
    for thin in (dtype, torch.float32):
        factors = [each.detach().to(thin).requires_grad_() for each in (left, right)]
        expected = adapted_linear(*given, *factors)
        wanted = torch.autograd.grad(expected.float().square().sum(), [given[0], *factors])
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            patch.setattr(torch.Tensor, "addmm_", refuse)
            patch.setattr(torch.Tensor, "add_", refuse)
            y = adapted_linear(*given, *factors)
            found = torch.autograd.grad(y.float().square().sum(), [given[0], *factors])
        assert y.dtype is dtype
        for mine, theirs in zip((y, *found), (expected, *wanted), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("right_grad", [True, False], ids=["right trains", "right is frozen"])
def test_compiled_it_is_one_graph_with_the_same_gradients(right_grad: bool, backend: str) -> None:
    torch._dynamo.reset()
    for tokens in ((2,), (2, 40)):
        given = tensors(tokens, True, input_grad=True, right_grad=right_grad)
        wanted = [t for t in given if t is not None and t.requires_grad]
        expected = torch.autograd.grad(adapted_linear(*given).square().sum(), wanted)
        with warnings.catch_warnings():  # torch's own, while it compiles
            warnings.simplefilter("ignore", DeprecationWarning)
            y = torch.compile(adapted_linear, fullgraph=True, backend=backend)(*given)
            gradients = torch.autograd.grad(y.square().sum(), wanted)
        for mine, eager in zip(gradients, expected, strict=True):
            torch.testing.assert_close(mine, eager)
