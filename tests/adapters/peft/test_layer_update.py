"""What peft's methods add to a weight, held against peft's merged weights and against what the model answers."""

import copy
import re
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab
from vxlab.adapters.core import is_conv1d, linear_weight
from vxlab.adapters.peft.layer_update import is_peft_layer, peft_base, peft_update

peft = pytest.importorskip("peft")

THIN: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "lora_alpha": 3, "use_rslora": True},
    "adalora": {"init_r": 6, "target_r": 2},
    "vera": {"r": 12, "projection_prng_key": 3},
}
DENSE: dict[str, dict[str, Any]] = {
    "dora": {"r": 4, "lora_alpha": 2},
    "boft": {"boft_block_size": 8},
    "deft": {},
    "delora": {"r": 4},
    "fourierft": {"n_frequency": 20},
    "frod": {},
    "gralora": {"r": 4, "gralora_k": 2},
    "hira": {"r": 4},
    "hra": {"r": 4},
    "loha": {"r": 4},
    "lokr": {"r": 4},
    "miss": {"r": 4},
    "oft": {"oft_block_size": 8},
    "osf": {},
    "peanut": {},
    "psoft": {"r": 4},
    "pvera": {"r": 8},
    "randlora": {"r": 4},
    "shira": {"r": 2},
    "supertuning": {},
    "tinylora": {"u": 4, "r": 2},
    "unilora": {"r": 4},
    "vblora": {"r": 2, "num_vectors": 16, "vector_length": 4},
    "waveft": {"n_frequency": 20},
}
IN_FLOAT32 = ("deft",)
"""compute a part in float32 whatever they are given"""
ON_CONV1D = ("lora", "vera", "adalora", "dora", "fourierft", "tinylora")


def trained(config: str, settings: dict[str, Any], name: str = "bert") -> nn.Module:
    """Return a model in evaluation mode whose biases and adapters are no longer at their start."""
    model = ARCHITECTURES[name]().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(std=0.2)
    vxlab.attach(model, vxlab.PEFT(config, settings), "all-linear" if name == "gpt2" else ["query", "down"])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if is_peft_layer(module)}


def logits(model: nn.Module, name: str) -> torch.Tensor:
    given = {key: value.double() if value.is_floating_point() else value for key, value in inputs(name).items()}
    with torch.no_grad():
        return model.double()(**given).logits


def with_updates(model: nn.Module) -> nn.Module:
    """Return the base with every update added to its weight, in float64: a model without adapters."""
    updates = {name: peft_update(layer, name) for name, layer in layers(model).items()}
    plain = vxlab.detach(copy.deepcopy(model)).double()
    for name, (left, right) in updates.items():
        layer = plain.get_submodule(name)
        delta = left if right is None else left @ right
        with torch.no_grad():
            layer.weight.add_(delta.T if is_conv1d(layer) else delta)
    return plain


@pytest.mark.filterwarnings("ignore:Sparse invariant")  # of what peft does with torch's sparse tensors
@pytest.mark.parametrize(("config", "settings"), (THIN | DENSE).items(), ids=(THIN | DENSE).keys())
def test_the_base_with_its_updates_answers_as_the_adapter_does(config: str, settings: dict[str, Any]) -> None:
    model = trained(config, settings)
    base = logits(vxlab.detach(copy.deepcopy(model)), "bert")
    ours, theirs = logits(with_updates(model), "bert"), logits(model, "bert")
    moved = float((theirs - base).abs().max())
    assert moved > 1e-4
    exact = 1e-5 if config in IN_FLOAT32 else 1e-10
    assert float((ours - theirs).abs().max()) < exact * moved


@pytest.mark.parametrize("config", ON_CONV1D)
def test_a_transposed_layer_s_update_is_the_right_way_round(config: str) -> None:
    model = trained(config, (THIN | DENSE)[config], "gpt2")
    assert all(peft_update(layer, name)[0].shape[0] == peft_base(layer).nf for name, layer in layers(model).items())
    assert torch.allclose(logits(with_updates(model), "gpt2"), logits(model, "gpt2"), atol=1e-10, rtol=0)


@pytest.mark.parametrize("config", [*THIN, "dora", "loha", "oft", "boft", "randlora", "tinylora", "hira"])
def test_the_update_is_what_peft_s_merging_adds(config: str) -> None:
    model = trained(config, (THIN | DENSE)[config]).double()
    for name, layer in layers(model).items():
        before = linear_weight(peft_base(layer)).clone()
        left, right = peft_update(layer, name)
        layer.merge()
        after = linear_weight(peft_base(layer))
        assert torch.allclose(before + (left if right is None else left @ right), after, atol=1e-12, rtol=0)
        with pytest.raises(vxlab.VxlabError, match=f"has merged its adapter into `{re.escape(name)}`"):
            peft_update(layer, name)


@pytest.mark.parametrize(("config", "settings"), THIN.items(), ids=THIN)
def test_factors_are_thin(config: str, settings: dict[str, Any]) -> None:
    rank = {"lora": 4, "adalora": 6, "vera": 12}[config]
    for name, layer in layers(trained(config, settings)).items():
        left, right = peft_update(layer, name)
        assert (left.shape[1], right.shape[0]) == (rank, rank)
        assert left.dtype == right.dtype == torch.float64


@pytest.mark.parametrize(("config", "rank"), [("tinylora", 2), ("delora", 4), ("loha", 16)])
def test_a_low_rank_is_seen_in_the_whole_matrix(config: str, rank: int) -> None:
    for name, layer in layers(trained(config, DENSE[config])).items():
        S = vxlab.analysis.FullUpdate(peft_update(layer, name)[0]).singular_values()
        assert int((1e-12 * S[0] < S).sum()) == rank


def test_what_is_no_matrix_is_refused() -> None:
    settings: dict[str, dict[str, Any]] = {"beft": {}, "ia3": {}, "road": {"group_size": 8}, "lily": {}}
    for config, given in settings.items():
        name, layer = next(iter(layers(trained(config, given)).items()))
        why = "is not linear in" if config == "lily" else "changes the bias of"
        with pytest.raises(vxlab.VxlabError, match=why):
            peft_update(layer, name)


def test_scaling_without_a_bias_is_a_matrix() -> None:
    model = trained("ia3", {}, "llama")
    assert torch.allclose(logits(with_updates(model), "llama"), logits(model, "llama"), atol=1e-10, rtol=0)


def test_half_precision_is_no_hindrance_and_the_layer_stays_as_it_was() -> None:
    model = trained("lora", THIN["lora"]).bfloat16()
    name, layer = next(iter(layers(model).items()))
    seen: list[torch.Tensor] = []
    layer.register_forward_hook(lambda module, given, out: seen.append(out))
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    left, _ = peft_update(layer, name)
    B, scale = layer.lora_B["default"].weight.double(), layer.scaling["default"]
    assert torch.equal(left, scale * B)
    assert all(torch.equal(value, layer.state_dict()[key]) for key, value in before.items())
    assert seen == []


@pytest.mark.parametrize(("config", "scheme"), [("lora", "nf4"), ("dora", "nf4"), ("lora", "int8")])
def test_on_a_quantised_base_it_is_what_is_added_to_what_that_stands_for(
    config: str, scheme: str, tiny_model: str
) -> None:
    pytest.importorskip("bitsandbytes")
    model = vxlab.attach(vxlab.load_model(tiny_model, 2, scheme), vxlab.PEFT(config, r=2), "query")
    torch.manual_seed(0)
    for name, layer in layers(model).items():
        with torch.no_grad():
            for parameter in layer.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
        left, right = peft_update(layer, name)
        x, base = torch.randn(5, 32), peft_base(layer)
        delta = left if right is None else left @ right
        with torch.no_grad():
            W, y = linear_weight(base).double(), layer.eval()(x)
        bias = base.bias.double()
        torch.testing.assert_close(y.double(), x.double() @ (W + delta).T + bias, rtol=0, atol=1e-5)
