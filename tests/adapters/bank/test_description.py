"""Banks on bases of every kind: without a head, of a language model, quantised, wrapped, with statistics of batches."""

import pytest
import torch
import toy_quantised
from architectures import ARCHITECTURES
from torch import nn
from toy_banks import adapted, trained_tensors

import vxlab
from vxlab import AdapterBank, VxlabError

LORA = vxlab.LoRA(rank=2)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-lm", "llama", "llama-lm", "roberta", "vit"])
def test_banks_of_other_architectures(name, tmp_path):
    targets = "all-linear"
    model = adapted(LORA, name=name, targets=targets)
    with AdapterBank.create(tmp_path / "bank", ARCHITECTURES[name](), LORA, targets) as bank:
        bank.add("model", model)
        bank.add("folder", vxlab.save_adapter(model, tmp_path / "adapter"))
        found = trained_tensors(bank.load(ARCHITECTURES[name](), "folder"))
        expected = trained_tensors(model)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], each) for key, each in expected.items())


def test_creating_leaves_the_model_and_the_generator(tmp_path):
    model = ARCHITECTURES["bert"]()
    model.bert.pooler.requires_grad_(False)
    trains = {name: each.requires_grad for name, each in model.named_parameters()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    AdapterBank.create(tmp_path / "bank", model, LORA).close()
    assert torch.equal(torch.rand(1), expected)
    assert {name: each.requires_grad for name, each in model.named_parameters()} == trains


def test_a_model_in_a_wrapper(tmp_path):
    with AdapterBank.create(tmp_path / "bank", nn.DataParallel(ARCHITECTURES["bert"]()), LORA) as bank:
        bank.add("ann", adapted(LORA))
        assert bank.load(ARCHITECTURES["bert"](), "ann")


def test_a_model_without_values(tmp_path):
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(VxlabError, match="meta device"):
        AdapterBank.create(tmp_path / "bank", model, LORA, "0")


def test_statistics_that_moved_are_not_left_out(tmp_path):
    """A row holds what trains, and an adapter whose training moved BatchNorm's statistics is more than that."""

    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    with AdapterBank.create(tmp_path / "bank", make(), LORA, ["0"]) as bank:
        model = vxlab.attach(make(), LORA, ["0"])
        bank.add("still", model)
        model.train()(torch.randn(8, 4))
        with pytest.raises(VxlabError, match=r"has moved the buffer `1\."):
            bank.add("moved", model)
        with pytest.raises(VxlabError, match=r"another base|has `1\.|another fingerprint"):
            bank.add("moved", vxlab.save_adapter(model, tmp_path / "adapter"))
        assert list(bank) == ["still"]


@pytest.mark.parametrize("scheme", ["nf4", "int8", "torchao-int8"])
def test_a_quantised_base_is_not_the_float_one(scheme, tmp_path):
    def make() -> nn.Module:
        torch.manual_seed(0)
        layer = nn.Linear(64, 64)
        return nn.Sequential(toy_quantised.quantised(layer, scheme))

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 64))
    model = vxlab.attach(make(), LORA, ["0"])
    with AdapterBank.create(tmp_path / "bank", make(), LORA, ["0"]) as bank:
        bank.add("model", model)
        bank.add("folder", vxlab.save_adapter(model, tmp_path / "adapter"))
        assert bank.load(make(), "folder")
        with pytest.raises(VxlabError, match="is of another base"):
            bank.load(plain, "folder")
        with pytest.raises(VxlabError, match="another base"):
            bank.add("float", vxlab.save_adapter(vxlab.attach(plain, LORA, ["0"]), tmp_path / "float"))
