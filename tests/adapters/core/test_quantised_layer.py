import copy

import pytest
import torch
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import linear_weight, quantisation_of
from vxlab.adapters.core.quantised_layer import AdaptedQuantisedLinear

pytest.importorskip("bitsandbytes")
import toy_quantised as toy

SCHEMES = ("nf4", "int8", "torchao-int8")
METHODS = (
    vxlab.LoRA(rank=4, dropout=0.0),
    vxlab.VeRA(rank=8),
    vxlab.LoRAXS(rank=4),
    vxlab.LiDB(rank=4, aux_out=32, aux_in=16),
)


def _pair(scheme: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Return a quantised model, and a plain one that holds its dequantised weights."""
    torch.manual_seed(0)
    inner = [nn.Linear(128, 64), nn.Linear(64, 128)]
    packed = nn.Sequential(toy.quantised(inner[0], scheme), nn.GELU(), toy.quantised(inner[1], scheme))
    plain = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 128))
    for number in (0, 2):
        plain[number].weight.data = linear_weight(packed[number]).clone()
        plain[number].bias.data = packed[number].bias.data.clone()
    return packed, plain


def _adapted(model: nn.Module, method: vxlab.adapters.Method) -> nn.Module:
    torch.manual_seed(1)
    vxlab.attach(model, method, "all-linear")
    for layer in vxlab.adapted_layers(model).values():
        for tensor in layer.trained_tensors().values():
            nn.init.normal_(tensor, std=0.1)
    return model


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_outputs_and_gradients_are_those_of_the_dequantised_weights(scheme: str, method: vxlab.adapters.Method) -> None:
    packed, plain = (_adapted(model, method) for model in _pair(scheme))
    assert all(isinstance(layer, AdaptedQuantisedLinear) for layer in vxlab.adapted_layers(packed).values())
    x = torch.randn(7, 3, 128)
    rows: list[Tensor] = []
    for model in (packed, plain):
        own = x.clone().requires_grad_()
        y = model(own)
        y.square().sum().backward()
        gradients = [p.grad for p in model.parameters() if p.requires_grad]
        rows.append(
            torch.cat([y.detach().flatten(), own.grad.flatten(), *(g.flatten() for g in gradients if g is not None)])
        )
    torch.testing.assert_close(*rows, rtol=1e-5, atol=1e-5 * float(rows[1].abs().max()))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_merging_makes_a_float_layer_of_the_same_outputs_and_can_be_undone(scheme: str) -> None:
    packed, _ = _pair(scheme)
    x = torch.randn(5, 128)
    before = packed(x).detach()
    _adapted(packed, vxlab.LoRA(rank=4)).eval()
    unmerged = packed(x).detach()
    merged = vxlab.merge(packed)(x).detach()
    torch.testing.assert_close(merged, unmerged, rtol=1e-5, atol=1e-5 * float(unmerged.abs().max()))
    assert torch.equal(vxlab.unmerge(packed)(x), unmerged)
    vxlab.merge(packed)
    served = vxlab.detach(packed)
    assert [type(layer) for layer in served if isinstance(layer, nn.Linear)] == [nn.Linear, nn.Linear]
    assert torch.equal(served(x), merged)
    assert not torch.allclose(before, merged)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_detaching_gives_the_quantised_layers_back(scheme: str) -> None:
    packed, _ = _pair(scheme)
    x = torch.randn(5, 128)
    before, weights = vxlab.trainable_parameters(packed).total, [linear_weight(packed[i]) for i in (0, 2)]
    _adapted(packed, vxlab.VeRA(rank=4))
    assert vxlab.trainable_parameters(packed).total == before == 2 * 64 * 128 + 64 + 128
    vxlab.detach(packed)
    assert all(quantisation_of(packed[i]) for i in (0, 2))
    assert all(torch.equal(linear_weight(packed[i]), W) for i, W in zip((0, 2), weights, strict=True))
    assert packed(x).shape == (5, 128)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dropout_follows_the_mode_of_the_model(scheme: str) -> None:
    packed = _adapted(_pair(scheme)[0].eval(), vxlab.LoRA(rank=4, dropout=0.5))
    x = torch.randn(5, 128)
    assert torch.equal(packed(x), packed(x))
    packed.train()
    assert not torch.equal(packed(x), packed(x))
    assert torch.equal(packed.eval()(x), packed(x))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_copy_answers_alike_and_is_another(scheme: str) -> None:
    packed = _adapted(_pair(scheme)[0], vxlab.LoRA(rank=2)).eval()
    copied = copy.deepcopy(packed)
    x = torch.randn(5, 128)
    assert torch.equal(copied(x), packed(x))
    vxlab.merge(copied)
    assert not any(layer.merged for layer in vxlab.adapted_layers(packed).values())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_saved_and_loaded_on_the_same_base_it_answers_alike(
    scheme: str, method: vxlab.adapters.Method, tmp_path: object
) -> None:
    packed = _adapted(_pair(scheme)[0], method).eval()
    vxlab.save_adapter(packed, str(tmp_path))
    again = vxlab.load_adapter(_pair(scheme)[0], str(tmp_path)).eval()
    x = torch.randn(5, 128)
    assert torch.equal(again(x), packed(x))
    other = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 128))
    with pytest.raises(vxlab.VxlabError, match="another base"):
        vxlab.load_adapter(other, str(tmp_path))
    vxlab.load_adapter(_pair(scheme)[1], str(tmp_path))  # the same weights, held in floating point
