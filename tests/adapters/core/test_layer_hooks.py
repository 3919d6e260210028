"""Hooks of the target layers stay in force, and what else was put on a layer is refused by name."""

import copy
from collections.abc import Callable
from typing import Any

import accelerate
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import vxlab

METHODS = [vxlab.LoRA(rank=2), vxlab.LoRAXS(rank=2), vxlab.PEFT("lora", {"r": 2}), vxlab.PEFT("dora", {"r": 2})]
every_method = pytest.mark.parametrize("method", METHODS, ids=str)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def attached(net: nn.Module, method: vxlab.adapters.Method) -> nn.Module:
    torch.manual_seed(7)
    return vxlab.attach(net, method, targets="all-linear")


def moved(net: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return net


X = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))


@every_method
def test_forward_hooks_see_and_change_the_adapted_layers_input_and_output(method: vxlab.adapters.Method) -> None:
    plain, hooked = (moved(attached(each, method)) for each in (model(), _scaled(model())))
    hidden = plain[0](2 * X) * 3
    torch.testing.assert_close(hooked(X), plain[2](hidden.tanh()))


def _scaled(net: nn.Sequential) -> nn.Sequential:
    net[0].register_forward_pre_hook(lambda layer, args: (2 * args[0],))
    net[0].register_forward_hook(lambda layer, args, output: 3 * output)
    return net


@every_method
def test_every_kind_of_hook_fires_once_a_pass_and_its_handle_takes_it_off(method: vxlab.adapters.Method) -> None:
    net, fired = model(), []
    handles = [
        net[0].register_forward_pre_hook(lambda *_: fired.append("before"), prepend=True),
        net[0].register_forward_pre_hook(lambda *_: fired.append("named"), with_kwargs=True),
        net[0].register_forward_hook(lambda *_: fired.append("after"), always_call=True),
        net[0].register_full_backward_pre_hook(lambda *_: fired.append("backward before")),
        net[0].register_full_backward_hook(lambda *_: fired.append("backward")),
    ]
    expected = ["before", "named", "after", "backward before", "backward"]

    def passes() -> list[str]:
        fired.clear()
        net(X.clone().requires_grad_()).sum().backward()
        return list(fired)

    assert passes() == expected
    vxlab.attach(net, method, targets="all-linear")
    assert passes() == expected
    handles.pop().remove()
    assert passes() == expected[:-1]
    twin = copy.deepcopy(net)
    late = net[0].register_forward_hook(lambda *_: fired.append("late"))
    assert passes() == ["before", "named", "after", "late", "backward before"]
    vxlab.detach(net)
    assert type(net[0]) is nn.Linear
    assert passes() == ["before", "named", "after", "late", "backward before"]
    for handle in (*handles, late):
        handle.remove()
    assert passes() == []
    fired.clear()
    twin(X)
    assert fired == ["before", "named", "after"]


def test_a_method_that_cannot_be_put_on_leaves_the_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    from vxlab.adapters.peft import method as peers

    def half(*args: Any) -> None:
        inject(*args)
        raise RuntimeError("half way")

    inject = peers.inject
    monkeypatch.setattr(peers, "inject", half)
    net = _scaled(model())
    expected = net(X)
    with pytest.raises(vxlab.VxlabError, match="half way"):
        vxlab.attach(net, vxlab.PEFT("lora", {"r": 2}), targets="all-linear")
    assert torch.equal(net(X), expected)
    assert len(net[0]._forward_hooks) == 1


def test_merging_keeps_the_hooks() -> None:
    net = moved(vxlab.attach(_scaled(model()), vxlab.LoRA(rank=2), targets="all-linear")).eval()
    expected = net(X)
    torch.testing.assert_close(vxlab.merge(net)(X), expected)
    torch.testing.assert_close(vxlab.detach(net)(X), expected)


def _pruned_bias(layer: nn.Linear) -> None:
    prune.l1_unstructured(layer, "bias", 2)


def _own_parameter(layer: nn.Linear) -> None:
    layer.scale = nn.Parameter(torch.ones(()))


def _own_forward(layer: nn.Linear) -> None:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]


COMPUTED = r"its weight or bias is computed from other tensors \(weight_norm, pruning, a parametrisation\); make it"
ADDED: list[tuple[Callable[[nn.Linear], object], str]] = [
    (torch.nn.utils.parametrizations.weight_norm, COMPUTED),
    (torch.nn.utils.parametrizations.spectral_norm, COMPUTED),
    (torch.nn.utils.spectral_norm, COMPUTED),
    (lambda layer: prune.random_unstructured(layer, "weight", 2), COMPUTED),
    (_pruned_bias, COMPUTED),
    (_own_parameter, "it holds 'scale' beside its weight and bias.*remove it"),
    (lambda layer: layer.register_buffer("mask", torch.ones(5)), "it holds 'mask' beside"),
    (lambda layer: layer.add_module("probe", nn.Identity()), "it holds 'probe' beside"),
    (_own_forward, "its forward was replaced on this one layer"),
]


def test_what_moves_inputs_to_a_device_is_no_hindrance_and_offloading_is() -> None:
    net, offloaded = model(), model()
    accelerate.hooks.add_hook_to_module(net[0], accelerate.hooks.AlignDevicesHook("cpu"))
    vxlab.detach(vxlab.attach(net, vxlab.LoRA(rank=2), targets="all-linear"))
    assert hasattr(net[0], "_hf_hook")
    accelerate.hooks.add_hook_to_module(offloaded[0], accelerate.hooks.AlignDevicesHook("cpu", offload=True))
    with pytest.raises(
        vxlab.VxlabError, match=r"its forward was replaced on this one layer \(by offloading, for example"
    ):
        vxlab.attach(offloaded, vxlab.LoRA(rank=2), targets="all-linear")


@pytest.mark.parametrize("method", [METHODS[0], METHODS[2]], ids=str)
@pytest.mark.parametrize(("add", "message"), ADDED, ids=range(len(ADDED)))
def test_what_an_adapter_would_drop_is_refused(
    add: Callable[[nn.Linear], object], message: str, method: vxlab.adapters.Method
) -> None:
    net = model()
    add(net[0])
    expected, kind = net.eval()(X), type(net[0])
    with pytest.raises(vxlab.VxlabError, match=rf"`0` \(\w+\): {message}"):
        vxlab.attach(net, method, targets="all-linear")
    assert type(net[0]) is kind
    assert torch.equal(net(X), expected)
