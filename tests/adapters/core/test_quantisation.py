import copy
import weakref

import pytest
import torch
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import LayerWeights, linear_shape, linear_weight, quantisation_of
from vxlab.adapters.core.quantisation import guard_kernels, packed_tensors
from vxlab.errors import VxlabError

pytest.importorskip("bitsandbytes")
import toy_quantised as toy

SCHEMES = ("nf4", "int8", "torchao-int8")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_layer_says_how_it_is_quantised_and_has_its_true_shape(scheme: str) -> None:
    layer = toy.quantised(nn.Linear(128, 64), scheme)
    found = quantisation_of(layer)
    assert found is not None
    assert found.scheme == scheme
    assert found.block == (64 if scheme == "nf4" else 0)
    assert linear_shape(layer) == (64, 128)
    assert quantisation_of(nn.Linear(2, 2)) is None


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("training", [True, False])
def test_the_dequantised_weight_is_the_one_that_the_layer_computes_with(scheme: str, training: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), scheme)).train(training)
    guard_kernels(model.eval())
    model.train(training)
    W = linear_weight(model[0])
    identity = torch.eye(128, requires_grad=True)
    y = model(identity)
    y.sum().backward()
    bias: Tensor = model[0].bias
    torch.testing.assert_close(y.detach() - bias, W.T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(identity.grad, torch.ones(128, 64) @ W)
    with torch.no_grad():
        torch.testing.assert_close(model(torch.eye(128)) - bias, W.T, rtol=1e-6, atol=1e-6)
    assert torch.equal(W, linear_weight(model[0]))


def test_a_four_bit_weight_survives_evaluation_where_the_processor_would_have_it_repacked() -> None:
    """Whether the trap is there depends on the processor; the flag and the outcome must hold on every one."""
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), "nf4"))
    model[0].support_avx512bf16_for_cpu = True  # as on a processor with these instructions
    before = linear_weight(model[0])
    guard_kernels(model)
    assert model[0].support_avx512bf16_for_cpu is False
    with torch.no_grad():
        model.eval()(torch.randn(3, 128))
    assert torch.equal(before, linear_weight(model[0]))


def test_a_repacked_weight_is_refused_and_not_misread() -> None:
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), "nf4"))
    model[0].weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(VxlabError, match="repacked for this processor"):
        linear_weight(model[0])
    with pytest.raises(VxlabError, match="`0` was repacked"):
        guard_kernels(model)


def test_int8_computes_the_same_in_evaluation_as_in_training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), "int8"), nn.Dropout(0.5))
    x = torch.randn(5, 128)
    ungarded = copy.deepcopy(model)
    rounded = ungarded.eval()(x)
    guard_kernels(model)
    trained, tested = model.train()[0](x), model.eval()(x)
    assert torch.equal(trained, tested)
    assert not model[1].training
    assert not torch.allclose(rounded, tested, rtol=1e-4)  # else the guard has nothing to do any more
    assert copy.deepcopy(model).train()[0].training


def test_weights_are_made_one_at_a_time() -> None:
    layers = {"a": nn.Linear(3, 2), "b": toy.quantised(nn.Linear(128, 64), "nf4")}
    weights = LayerWeights(layers)
    assert list(weights) == ["a", "b"]
    assert len(weights) == 2
    assert weights["a"].data_ptr() == layers["a"].weight.data_ptr()
    assert weights["b"].shape == (64, 128)
    assert weights["b"].data_ptr() != weights["b"].data_ptr()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_under_autocast_a_layer_computes_as_a_plain_one_does_and_keeps_its_bias(scheme: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), scheme))
    plain = nn.Sequential(nn.Linear(128, 64))
    plain[0].weight.data, plain[0].bias.data = linear_weight(model[0]), model[0].bias.data.clone()
    guard_kernels(model)
    x, before = torch.randn(5, 128), model[0].bias.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        for given in (x, x.bfloat16()):
            mine, wanted = model(given), plain(given)
            assert mine.dtype == torch.bfloat16
            torch.testing.assert_close(mine.bfloat16(), wanted, rtol=0.01, atol=0.01)
    assert model[0].bias.dtype == torch.float32
    assert torch.equal(model[0].bias, before)  # int8's own forward pass would have rounded it for good
    assert model(x).dtype == torch.float32


def test_without_the_guard_int8_rounds_its_bias_under_autocast() -> None:
    """Where this fails, the library has mended it, and the guard has one thing less to do."""
    layer = toy.quantised(nn.Linear(128, 64), "int8").train()
    before = layer.bias.detach().clone()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        layer(torch.randn(5, 128).bfloat16())
    assert not torch.equal(layer.bias.float(), before)


def test_an_int8_layer_that_moves_after_a_forward_pass_keeps_its_scales() -> None:
    """The library's own layer fails here: the moved weight brings no scales, and takes the layer's away."""
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(128, 64), "int8"))
    guard_kernels(model)
    x = torch.randn(3, 128)
    before, W = model(x).detach(), linear_weight(model[0])
    model[0].weight = model[0].weight.to("cpu", non_blocking=False)
    assert torch.equal(model(x).detach(), before)
    assert torch.equal(linear_weight(model[0]), W)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("adapted", [False, True])
def test_neither_the_weight_nor_the_input_is_kept_for_the_backward_pass(scheme: str, adapted: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(toy.quantised(nn.Linear(256, 128), scheme))
    guard_kernels(model)
    if adapted:
        vxlab.attach(model, vxlab.LoRAXS(rank=4, basis="random", sigma="none"), "0")
    packed = {tensor.data_ptr() for tensor in packed_tensors(getattr(model[0], "base_layer", model[0]))}
    kept: list[Tensor] = []
    x = torch.randn(64, 256, requires_grad=True) * 2
    alive = weakref.ref(x)
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        y = model(x)
    del x
    large = [each.shape for each in kept if each.data_ptr() not in packed and each.numel() >= 64 * 128]
    assert not large
    assert alive() is None
    y.sum().backward()
