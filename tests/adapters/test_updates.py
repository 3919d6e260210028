"""What the adapters on a model add, whoever put them there."""

import pytest
import torch
from architectures import ARCHITECTURES

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.adapters.updates import adapter_updates, updated_layers, weight_before
from vxlab.analysis import FullUpdate

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # of transformers, which peft calls


def test_a_model_that_peft_made_has_updates_by_the_base_s_names() -> None:
    peft = pytest.importorskip("peft")
    base = ARCHITECTURES["llama"]()
    weights = {name: linear_weight(base.get_submodule(name)).clone() for name in vxlab.resolve_targets(base, "down")}
    settings = peft.LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights=False)
    model = peft.get_peft_model(base, settings)
    updates = adapter_updates(model)
    assert list(updates) == list(weights)
    for name, layer in updated_layers(model).items():
        assert weight_before(layer).equal(weights[name])
        expected = layer.get_delta_weight("default").double()
        torch.testing.assert_close(updates[name].to_matrix(), expected, rtol=0, atol=1e-7)


def test_two_adapters_of_peft_at_once_add_up() -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights=False)
    model = peft.get_peft_model(ARCHITECTURES["llama"](), settings)
    model.add_adapter("second", settings)
    model.base_model.set_adapter(["default", "second"])
    for name, update in adapter_updates(model).items():
        layer = updated_layers(model)[name]
        expected = sum(layer.get_delta_weight(each).double() for each in ("default", "second"))
        assert isinstance(update, FullUpdate)
        torch.testing.assert_close(update.to_matrix(), expected, rtol=0, atol=1e-7)


def test_a_bare_model_has_none_and_a_merged_one_its_own() -> None:
    model = ARCHITECTURES["gpt2"]()
    assert adapter_updates(model) == {}
    vxlab.attach(model, vxlab.VeRA(rank=3), "all-linear")
    for layer in vxlab.adapted_layers(model).values():
        layer.trained_tensors()["lambda_b"].data.fill_(0.3)
    before = {name: (update.to_matrix(), weight_before(updated_layers(model)[name]).clone())
              for name, update in adapter_updates(model).items()}  # fmt: skip
    vxlab.merge(model)
    for name, update in adapter_updates(model).items():
        delta, weight = before[name]
        assert update.to_matrix().equal(delta)
        assert weight_before(updated_layers(model)[name]).equal(weight)
