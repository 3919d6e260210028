"""The stacked operation: against autograd's own gradients, and against one group after another."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from vxlab.adapters import adapted_linear
from vxlab.adapters.stacked.operation import Link, choose_kept, stacked_linear
from vxlab.errors import VxlabError

GROUPS, ROWS, IN, OUT, RANK = 3, 4, 5, 6, 2


def draw(*shape: int, grad: bool = False) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_(grad)


def lora() -> list[Link]:
    return [Link(draw(GROUPS, RANK, IN, grad=True)), Link(draw(GROUPS, OUT, RANK, grad=True))]


def lora_fa() -> list[Link]:
    return [Link(draw(RANK, IN)), Link(draw(GROUPS, OUT, RANK, grad=True))]


def vera(rank: int = RANK) -> list[Link]:
    d, b = draw(GROUPS, rank, grad=True), draw(GROUPS, OUT, grad=True)
    return [Link(draw(rank, IN)), Link(d, diagonal=True), Link(draw(OUT, rank)), Link(b, diagonal=True)]


def lora_xs() -> list[Link]:
    return [Link(draw(RANK, IN)), Link(draw(GROUPS, RANK, RANK, grad=True)), Link(draw(OUT, RANK))]


def lidb() -> list[Link]:
    B, A = draw(GROUPS, RANK, 4, grad=True), draw(GROUPS, 3, RANK, grad=True)
    return [Link(draw(4, IN)), Link(B), Link(A), Link(draw(OUT, 3))]


CHAINS = {"lora": lora, "lora_fa": lora_fa, "vera": vera, "vera, wide": lambda: vera(9), "xs": lora_xs, "lidb": lidb}
every_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())


def factors(links: list[Link], group: int) -> tuple[Tensor, Tensor]:
    """Return left and right of one group, the first link being right."""
    own = [Link(each.tensor[group] if each.of_groups else each.tensor, each.diagonal) for each in links]
    matrices = [torch.diag(each.tensor) if each.diagonal else each.tensor for each in own]
    left = torch.eye(OUT, dtype=torch.float64)
    for matrix in reversed(matrices[1:]):
        left = left @ matrix
    return left, matrices[0]


@every_chain
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("masked", [True, False], ids=["dropout", "no dropout"])
@pytest.mark.parametrize("with_weight", [True, False], ids=["weight", "update alone"])
def test_gradients_are_autograds(chain, bias, masked, with_weight):
    torch.manual_seed(0)
    links, x = chain(), draw(GROUPS, ROWS, IN, grad=True)
    W, b = (draw(OUT, IN) if with_weight else None), (draw(OUT) if bias else None)
    mask = torch.rand(GROUPS, ROWS, IN) < 0.6 if masked else None

    def call(x: Tensor, *tensors: Tensor) -> Tensor:
        again = [Link(tensor, link.diagonal) for tensor, link in zip(tensors, links, strict=True)]
        return stacked_linear(x, W, b, again, mask=mask)

    assert gradcheck(call, (x, *(link.tensor for link in links)))
    assert gradcheck(call, (x.detach(), *(link.tensor for link in links)))


@every_chain
def test_a_group_is_what_the_operation_for_one_adapter_gives(chain):
    torch.manual_seed(1)
    links, x, W, bias = chain(), draw(GROUPS, ROWS, IN, grad=True), draw(OUT, IN), draw(OUT)
    trained = [link.tensor for link in links if link.tensor.requires_grad]
    y, expected = (
        stacked_linear(x, W, bias, links),
        torch.stack([adapted_linear(x[group], W, bias, *factors(links, group)) for group in range(GROUPS)]),
    )
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    mine = torch.autograd.grad(y.square().sum(), [x, *trained])
    theirs = torch.autograd.grad(expected.square().sum(), [x, *trained])
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(stacked_linear(x, W, bias, links), expected, rtol=1e-12, atol=1e-12)


@every_chain
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_groups_bits_do_not_change_with_the_others_numbers(chain, dtype):
    def bits(poisoned: float | None) -> list[Tensor]:
        torch.manual_seed(2)
        links = chain()
        x = torch.randn(GROUPS, 40, IN)
        W, bias = torch.randn(OUT, IN).to(dtype), torch.randn(OUT).to(dtype)
        tensors = [link.tensor.detach().float() for link in links]
        if poisoned is not None:
            x[0], x[2] = poisoned, x[2] * 3
            for tensor, link in zip(tensors, links, strict=True):
                if link.of_groups:
                    tensor[0], tensor[2] = poisoned, tensor[2] - 1
        x = x.to(dtype).requires_grad_()
        again = [
            Link(tensor.requires_grad_(link.tensor.requires_grad), link.diagonal)
            for tensor, link in zip(tensors, links, strict=True)
        ]
        y = stacked_linear(x, W, bias, again)
        y.float().square().mean(-1).sum().backward()
        return [y[1], x.grad[1], *(each.tensor.grad[1] for each in again if each.tensor.requires_grad)]

    alone = bits(None)
    assert all(each.isfinite().all() for each in alone)
    for value in (7.0, float("nan"), float("inf")):
        for one, other in zip(bits(value), alone, strict=True):
            assert torch.equal(one, other)


def kept(links: list[Link]) -> int:
    """Return how many numbers are kept beside the tensors given."""
    x, W = draw(GROUPS, ROWS, IN, grad=True), draw(OUT, IN)
    given = {each.untyped_storage().data_ptr() for each in (x, W, *(link.tensor for link in links))}
    found: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        found.append(0 if tensor.untyped_storage().data_ptr() in given else tensor.numel() // (GROUPS * ROWS))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stacked_linear(x, W, None, links).sum().backward()
    return sum(found)


def test_what_is_kept_for_the_backward_pass_is_thin():
    assert {name: kept(chain()) for name, chain in CHAINS.items()} == {
        "lora": RANK, "lora_fa": RANK, "vera": RANK, "vera, wide": 0, "xs": RANK, "lidb": 4 + RANK,
    }  # fmt: skip


def test_nothing_is_kept_where_nothing_trains():
    assert choose_kept([5, 2], [False, False]) == (False, False)
    assert kept([Link(link.tensor.detach(), link.diagonal) for link in vera()]) == 0


def test_what_does_not_fit_or_would_train_unseen_is_refused():
    x, W = draw(GROUPS, ROWS, IN), draw(OUT, IN)
    for wrong in ([], [Link(draw(2, IN))], [Link(draw(GROUPS + 1, OUT, IN))], [Link(draw(OUT, IN + 1))]):
        with pytest.raises(VxlabError, match="do not fit"):
            stacked_linear(x, W, None, wrong)
    with pytest.raises(VxlabError, match="do not fit"):
        stacked_linear(x[0], W, None, [Link(draw(OUT, IN))])
    for weight, shared in ((W.clone().requires_grad_(), draw(OUT, IN)), (W, draw(OUT, IN, grad=True))):
        with pytest.raises(VxlabError, match="requires_grad_\\(False\\)"):
            stacked_linear(x, weight, None, [Link(shared)])
