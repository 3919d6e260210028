from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import guard_kernels, linear_weight, quantisation_of

pytest.importorskip("bitsandbytes")
import toy_quantised as toy

SCHEMES = ("nf4", "int8", "torchao-int8")


def _logits(model: Any) -> Tensor:
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits


def _assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_outputs_stay_and_the_model_is_as_one_that_never_was_quantised(
    scheme: str, tiny_writer: str, tmp_path: Path
) -> None:
    model: Any = vxlab.load_model(tiny_writer, 0, scheme)
    weights = {name: linear_weight(each) for name, each in model.named_modules() if quantisation_of(each)}
    before, plain = _logits(model), vxlab.load_model(tiny_writer, 0)
    assert vxlab.dequantise(model) is model
    _assert_close(_logits(model), before)
    for name, W in weights.items():
        assert type(model.get_submodule(name)) is nn.Linear
        assert torch.equal(model.get_submodule(name).weight, W)
    assert vars(model).keys() == vars(plain).keys()
    assert vars(model.config).keys() == vars(plain.config).keys()
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in plain.parameters()]
    assert not any(module.training for module in model.modules())

    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not hasattr(again.config, "quantization_config")
    assert torch.equal(_logits(again), _logits(model))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("targets", ["query-value", r".*\.dense|.*\.(query|key|value)"], ids=["some", "all"])
def test_a_merged_model_becomes_one_in_floating_point(
    scheme: str, targets: str, tiny_model: str, tmp_path: Path
) -> None:
    model: Any = vxlab.load_model(tiny_model, 3, scheme)
    vxlab.attach(model, vxlab.LoRA(rank=4), targets)
    for layer in vxlab.adapted_layers(model).values():
        nn.init.normal_(layer.trained_tensors()["B"])
    unmerged = _logits(model)
    vxlab.detach(vxlab.merge(model))
    assert any(quantisation_of(module) for module in model.modules()) == (targets == "query-value")
    vxlab.dequantise(model)
    assert not hasattr(model.config, "quantization_config")
    assert not any(quantisation_of(module) for module in model.modules())
    _assert_close(_logits(model), unmerged)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    _assert_close(_logits(again), unmerged)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_layer_of_two_names_stays_one_and_keeps_its_hooks(scheme: str) -> None:
    torch.manual_seed(0)
    packed = toy.quantised(nn.Linear(64, 64), scheme)
    model = nn.Sequential(packed, nn.ReLU(), packed).eval()
    guard_kernels(model)
    seen: list[Tensor] = []
    packed.register_forward_hook(lambda _module, _x, y: seen.append(y))
    x = torch.randn(3, 64)
    before = model(x).detach()
    vxlab.dequantise(model)
    assert model[0] is model[2]
    _assert_close(model(x).detach(), before)
    assert len(seen) == 4


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_weights_are_in_the_precision_of_the_rest(scheme: str) -> None:
    model = nn.Sequential(toy.quantised(nn.Linear(64, 64), scheme), nn.LayerNorm(64, dtype=torch.bfloat16))
    model[0].bias.data = model[0].bias.data.bfloat16()
    assert vxlab.dequantise(model)(torch.randn(3, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_cannot_be_dequantised_is_refused_and_stays(tiny_model: str) -> None:
    with pytest.raises(vxlab.VxlabError, match="this Sequential has no quantised layer"):
        vxlab.dequantise(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(vxlab.VxlabError, match="this Linear4bit is one quantised layer"):
        vxlab.dequantise(toy.quantised(nn.Linear(64, 64), "nf4"))
    model = vxlab.attach(vxlab.load_model(tiny_model, 2, "nf4"), vxlab.LoRA(rank=2))
    with pytest.raises(vxlab.VxlabError, match="already has LoRA"):
        vxlab.dequantise(model)
    assert quantisation_of(vxlab.detach(model).get_submodule("bert.encoder.layer.0.output.dense"))


@pytest.mark.parametrize("merged", [True, False])
def test_layers_that_hold_their_weight_transposed_are_so_again(merged: bool, tmp_path: Path) -> None:
    """GPT-2's files have Wᵀ; a square weight written as W would be read as another model, without an error."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=64, n_layer=1, n_head=2, vocab_size=40, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "float")
    scheme = transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    model: Any = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "float", quantization_config=scheme)
    guard_kernels(model.eval())
    if merged:
        vxlab.attach(model, vxlab.LoRA(rank=2), "all-linear")
        for layer in vxlab.adapted_layers(model).values():
            nn.init.normal_(layer.trained_tensors()["B"])
    before = _logits(model)
    if merged:
        vxlab.detach(vxlab.merge(model))
    vxlab.dequantise(model).save_pretrained(tmp_path / "again")
    _assert_close(_logits(model), before)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "again")
    _assert_close(_logits(again), before)
