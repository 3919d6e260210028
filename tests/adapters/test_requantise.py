import math

import pytest
import torch
from torch import nn

import vxlab
from vxlab.adapters.core import guard_kernels, linear_weight, quantisation_of

pytest.importorskip("bitsandbytes")
import toy_quantised as toy

SCHEMES = ("nf4", "int8", "torchao-int8")


class Scored(nn.Sequential):
    def forward(self, x: torch.Tensor) -> object:
        return type("Output", (), {"logits": super().forward(x)})


def _adapted(scheme: str, std: float, kind: type[nn.Sequential] = nn.Sequential) -> nn.Sequential:
    torch.manual_seed(0)
    model = kind(toy.quantised(nn.Linear(128, 64), scheme), nn.GELU(), toy.quantised(nn.Linear(64, 8), scheme))
    vxlab.attach(model, vxlab.LoRA(rank=4), "all-linear")
    for layer in vxlab.adapted_layers(model).values():
        nn.init.normal_(layer.trained_tensors()["B"], std=std)
    return model.eval()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("merged", [True, False])
def test_it_quantises_by_the_same_scheme_and_tells_the_error(scheme: str, merged: bool) -> None:
    model = _adapted(scheme, std=0.05)
    layers = vxlab.adapted_layers(model)
    wanted = {name: layer.base_weight() + layer.delta_weight().detach() for name, layer in layers.items()}
    sizes = {name: layer.delta_weight().detach().norm() for name, layer in layers.items()}
    bases = {name: quantisation_of(layer.base_layer) for name, layer in layers.items()}
    hook_calls: list[int] = []
    model[0].register_forward_hook(lambda *_: hook_calls.append(1))
    found = vxlab.requantise(vxlab.merge(model) if merged else model)
    assert found.outputs is None
    assert found.layers.keys() == wanted.keys()
    assert not vxlab.adapted_layers(model)
    for name, W in wanted.items():
        layer = model.get_submodule(name)
        assert quantisation_of(layer) == bases[name]
        error = float((linear_weight(layer) - W).norm() / sizes[name])
        assert found.layers[name] == pytest.approx(error, rel=1e-4)
        assert 0 < error < (1 if scheme == "nf4" else 0.2)
    x = torch.randn(3, 128)
    defined = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 8))
    for i in (0, 2):
        defined[i].weight.data, defined[i].bias.data = linear_weight(model[i]), model[i].bias.data
    torch.testing.assert_close(model(x), defined(x), rtol=1e-5, atol=1e-5)
    assert hook_calls == [1]


def test_a_packed_weight_quantised_alike_is_itself() -> None:
    """The scheme's own numbers round to themselves, so what is lost is the update's rounding alone."""
    from vxlab.adapters.core import quantise_alike

    torch.manual_seed(0)
    for scheme in SCHEMES:
        layer = toy.quantised(nn.Linear(128, 64), scheme)
        W = linear_weight(layer)
        again = linear_weight(quantise_alike(layer, W))
        assert float((again - W).norm() / W.norm()) < 0.01
        assert torch.equal(W, linear_weight(layer))


def test_what_it_does_to_outputs_is_measured_against_what_the_update_does() -> None:
    x = torch.randn(16, 128)
    large, small = (vxlab.requantise(_adapted("nf4", std, Scored).eval(), {"x": x}) for std in (1.0, 0.001))
    assert large.outputs is not None
    assert small.outputs is not None
    assert large.outputs < 0.2
    assert small.outputs > 0.5  # an update below the scheme's steps is lost
    assert max(large.layers.values()) < 0.2 < 0.9 < min(small.layers.values())


def test_what_cannot_be_requantised_is_refused_and_stays() -> None:
    plain = vxlab.attach(nn.Sequential(nn.Linear(64, 8)), vxlab.LoRA(rank=2), "all-linear")
    with pytest.raises(vxlab.VxlabError, match="`0` of this Sequential is not quantised; use"):
        vxlab.requantise(plain)
    with pytest.raises(vxlab.VxlabError, match="no adapted layer of this Sequential is quantised"):
        vxlab.requantise(nn.Sequential(nn.Linear(64, 8)))
    model = _adapted("nf4", 0.1, Scored).train()
    with pytest.raises(vxlab.VxlabError, match=r"call model.eval\(\) first"):
        vxlab.requantise(model, {"x": torch.randn(2, 128)})
    assert len(vxlab.adapted_layers(model)) == 2
    guard_kernels(model)


def test_an_update_of_nothing_has_no_share() -> None:
    assert all(math.isnan(share) for share in vxlab.requantise(_adapted("int8", std=0.0)).layers.values())
