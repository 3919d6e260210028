"""The stacked layer alone, and under quantisation and torch's compiler."""

import copy
import warnings

import pytest
import torch
import toy_stacks as toy
from torch import nn

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.adapters.stacked import stack_adapters

METHODS = {
    "lora": [vxlab.LoRA(rank=3), vxlab.LoRA(rank=2, alpha=6)],
    "vera": [vxlab.VeRA(rank=8)] * 2,
    "lora_xs": [vxlab.LoRAXS(rank=4)] * 2,
    "lidb": [vxlab.LiDB(rank=2, aux_out=6, aux_in=5)] * 2,
}
every_family = pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS.keys())


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
@every_family
def test_a_quantised_base_computes_its_own_part(methods, scheme):
    pytest.importorskip("bitsandbytes")
    import toy_quantised

    torch.manual_seed(0)
    layers = [nn.Linear(128, 64), nn.Linear(64, 128)]
    packed = nn.Sequential(*(toy_quantised.quantised(layer, scheme) for layer in layers))
    plain = nn.Sequential(nn.Linear(128, 64), nn.Linear(64, 128))
    for one, other in zip(plain, packed, strict=True):
        one.weight.data, one.bias.data = linear_weight(other).clone(), other.bias.data.clone()
    x, found = torch.randn(6, 3, 128), []
    stacks = [stack_adapters(model, methods, "all-linear") for model in (packed, plain)]
    for stack in stacks:
        for slot in (1, 2):
            toy.scatter(stack, slot)
        own = x.clone().requires_grad_()
        y = stack.model(own)
        y.square().sum().backward()
        found.append([y.detach(), own.grad, *(each.grad for each in stack.parameters().values())])
    for mine, theirs in zip(*found, strict=True):
        assert (mine - theirs).norm() <= 1e-4 * theirs.norm()
    y = found[0][0]
    for slot in (1, 2):
        with stacks[0].single(slot) as model, torch.no_grad():
            torch.testing.assert_close(model(x.chunk(2)[slot - 1]), y.chunk(2)[slot - 1], rtol=1e-4, atol=1e-4)
    assert stacks[0].remove()(x).shape == (6, 3, 128)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "name"), list(zip(METHODS.values(), ["bert", "llama", "gpt2", "bert"], strict=True)), ids=METHODS.keys()
)
def test_compiled_it_is_one_graph_with_the_same_gradients(methods, name):
    torch._dynamo.reset()
    stack = toy.stacked(methods, name)
    given = toy.batch(4)
    expected = toy.gradients(stack, given)
    with stack.rows([1, 0, 2, 2]) as model, torch.no_grad():
        mixed = model(**given).logits
    with warnings.catch_warnings():  # torch's own, while it traces
        warnings.simplefilter("ignore", DeprecationWarning)
        stack.model.compile(fullgraph=True, backend="aot_eager")
        for one, other in zip(toy.gradients(stack, given), expected, strict=True):
            for key, gradient in other.items():
                assert (one[key] - gradient).norm() <= 1e-4 * gradient.norm(), key
        with stack.rows([1, 0, 2, 2]) as model, torch.no_grad():
            torch.testing.assert_close(model(**given).logits, mixed)


@every_family
def test_a_copy_is_another(methods):
    stack, given = toy.stacked(methods), toy.batch(4)
    copied = copy.deepcopy(stack.model)
    expected = stack.model(**given).logits
    toy.scatter(stack, 1, 0.4)
    assert torch.equal(copied(**given).logits, expected)
    assert not torch.equal(stack.model(**given).logits, expected)


def test_tokens_that_a_layer_is_given_without_rows_in_front_are_refused_in_the_order_of_the_batch():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.ModuleList([nn.ModuleDict({"query": nn.Linear(4, 4)})])

        def forward(self, x):
            return self.layer[0]["query"](x.transpose(0, 1)).transpose(0, 1)

    stack = stack_adapters(Turned(), [vxlab.LoRA(rank=2)] * 2, "all-linear")
    with pytest.raises(vxlab.VxlabError, match=r"`layer.0.query` was given \(8, 4, 4\) in a batch of 4 rows"):
        stack.model(torch.ones(4, 8, 4))
