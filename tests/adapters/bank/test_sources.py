"""Adapters on their way into a bank: from models in half precision, slots of a stack, and others' folders."""

import copy
from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns, save_trained
from released_lora_xs import Bases, exact, randomised, released_model, write_released
from toy_banks import METHODS, adapted, make_bank, trained_tensors

import vxlab
from vxlab import AdapterBank, VxlabError
from vxlab.adapters.stacked import stack_adapters

TARGETS = ["query", "value"]


def vera_config(**settings: object) -> peft.VeraConfig:
    with as_peft_warns():
        return peft.VeraConfig(r=6, target_modules=TARGETS, projection_prng_key=5, **settings)


THEIRS = {
    "lora": (lambda: peft.LoraConfig(r=3, lora_alpha=6, target_modules=TARGETS), vxlab.LoRA(rank=3, alpha=6)),
    "lora without alpha here": (lambda: peft.LoraConfig(r=3, lora_alpha=3, target_modules=TARGETS), vxlab.LoRA(rank=3)),
    "vera": (vera_config, vxlab.VeRA(rank=6, seed=5)),
    "vera by its seed": (lambda: vera_config(save_projection=False), vxlab.VeRA(rank=6, seed=5)),
}


@pytest.mark.parametrize(("config", "method"), THEIRS.values(), ids=THEIRS.keys())
def test_a_folder_of_pefts_comes_out_as_load_adapter_reads_it(config, method, tmp_path):
    save_trained(tmp_path / "theirs", "bert", config())
    base = ARCHITECTURES["bert"]()
    before = copy.deepcopy(base.state_dict())
    with AdapterBank.create(tmp_path / "bank", base, method) as bank:
        bank.add("ann", tmp_path / "theirs")
        expected = trained_tensors(vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / "theirs"))
        assert bank.get("ann").keys() == expected.keys()
        assert all(torch.equal(each, expected[name]) for name, each in bank.get("ann").items())
    assert base.state_dict().keys() == before.keys()
    assert all(torch.equal(each, before[name]) for name, each in base.state_dict().items())
    vxlab.attach(base, method)


def save_released(folder: Path, bases: Bases, alpha: float) -> None:
    with as_peft_warns():
        base = ARCHITECTURES["bert"]()
        write_released(released_model(base, TARGETS, 4, alpha, bases, modules_to_save=["classifier"]), folder)


def test_a_released_lora_xs_between_the_bases_own_vectors(tmp_path):
    save_released(tmp_path / "released", exact, 8)
    with AdapterBank.create(tmp_path / "bank", ARCHITECTURES["bert"](), vxlab.LoRAXS(rank=4, alpha=8)) as bank:
        bank.add("ann", tmp_path / "released")
        expected = trained_tensors(vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / "released"))
        assert all(torch.equal(each, expected[name]) for name, each in bank.get("ann").items())


def test_a_released_lora_xs_between_other_vectors_is_refused_and_the_base_left(tmp_path):
    save_released(tmp_path / "released", randomised, 16)
    base = ARCHITECTURES["bert"]()
    before = copy.deepcopy(base.state_dict())
    with AdapterBank.create(tmp_path / "bank", base, vxlab.LoRAXS(rank=4, alpha=16)) as bank:
        with (
            pytest.warns(UserWarning, match="not the exact singular vectors"),
            pytest.raises(VxlabError, match="basis="),
        ):
            bank.add("ann", tmp_path / "released")
        assert len(bank) == 0
    assert all(torch.equal(each, before[name]) for name, each in base.state_dict().items())


def test_a_folder_of_others_takes_the_base(tmp_path):
    save_trained(tmp_path / "theirs", "bert", peft.LoraConfig(r=3, lora_alpha=3, target_modules=TARGETS))
    make_bank(tmp_path / "bank").close()
    told = r"is of another library, .*open\(folder, writable=True, model=model\)"
    with AdapterBank.open(tmp_path / "bank", writable=True) as bank, pytest.raises(VxlabError, match=told):
        bank.add("ann", tmp_path / "theirs")
    with AdapterBank.open(tmp_path / "bank", writable=True, model=ARCHITECTURES["bert"]()) as bank:
        bank.add("ann", tmp_path / "theirs")


def test_a_folder_of_pefts_on_fewer_layers_or_of_another_rank(tmp_path):
    save_trained(tmp_path / "fewer", "bert", peft.LoraConfig(r=3, lora_alpha=3, target_modules=["query"]))
    save_trained(tmp_path / "rank", "bert", peft.LoraConfig(r=2, lora_alpha=3, target_modules=TARGETS))
    with make_bank(tmp_path / "bank") as bank:
        for name, told in {"fewer": "is not on", "rank": "has rank=2"}.items():
            with pytest.raises(VxlabError, match=told):
                bank.add(name, tmp_path / name)
        assert len(bank) == 0


def test_a_folder_of_pefts_without_a_head_has_the_bases(tmp_path):
    save_trained(tmp_path / "theirs", "bert", peft.LoraConfig(r=3, lora_alpha=3, target_modules=TARGETS), head=False)
    with make_bank(tmp_path / "bank") as bank:
        bank.add("ann", tmp_path / "theirs")
        assert torch.equal(bank.get("ann")["classifier.weight"], ARCHITECTURES["bert"]().classifier.weight)


def test_a_folder_that_holds_nothing(tmp_path):
    with make_bank(tmp_path / "bank") as bank, pytest.raises(VxlabError, match="holds no adapter"):
        bank.add("ann", tmp_path / "nothing")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_slots_of_a_stack_go_in_and_come_back(method, tmp_path):
    stack = stack_adapters(ARCHITECTURES["bert"](), [method] * 3)
    slots = {f"slot {number}": stack.take(number) for number in (1, 2, 3)}
    with make_bank(tmp_path / "bank", method) as bank:
        bank.add_many(list(slots), slots.values())
        assert [place.name for place in bank.layout.places] == list(stack.take(1))
        stack.put(1, bank.get("slot 3"))
        assert all(torch.equal(each, stack.take(1)[name]) for name, each in slots["slot 3"].items())


def test_an_adapter_of_a_base_in_half_precision(tmp_path):
    """Both the bank's base in float32 and the adapter's, rounded to bfloat16, are one model."""
    half = adapted(METHODS["lora_xs"]).bfloat16()
    vxlab.save_adapter(half, tmp_path / "adapter")
    with make_bank(tmp_path / "bank", METHODS["lora_xs"]) as bank:
        bank.add("model", half)
        bank.add("folder", tmp_path / "adapter")
        for name, each in trained_tensors(half).items():
            assert torch.equal(bank.get("model")[name], each.float())
            assert torch.equal(bank.get("folder")[name], each.float())


def test_a_bank_in_bfloat16_rounds(tmp_path):
    model = adapted(METHODS["lora"])
    with make_bank(tmp_path / "bank", METHODS["lora"], dtype="bfloat16") as bank:
        bank.add("ann", model)
        found = bank.get("ann")
        assert all(torch.equal(found[name], each.bfloat16()) for name, each in trained_tensors(model).items())
        put_on = bank.load(ARCHITECTURES["bert"](), "ann")
        assert all(torch.equal(found[name].float(), each) for name, each in trained_tensors(put_on).items())


def test_layers_of_several_shapes(tmp_path):
    """Whose a tensor in a folder is follows from the shapes of the layers, which the bank knows."""
    model = adapted(vxlab.LoRA(rank=2), targets="all-linear")
    vxlab.save_adapter(model, tmp_path / "adapter")
    with AdapterBank.create(tmp_path / "bank", ARCHITECTURES["bert"](), vxlab.LoRA(rank=2), "all-linear") as bank:
        bank.add("ann", tmp_path / "adapter")
        assert all(torch.equal(bank.get("ann")[name], each) for name, each in trained_tensors(model).items())


def test_a_method_of_ones_own(frozen_a, tmp_path):
    from toy_methods import FrozenA

    model = adapted(FrozenA(rank=3))
    vxlab.save_adapter(model, tmp_path / "adapter")
    with make_bank(tmp_path / "bank", FrozenA(rank=3)) as bank:
        bank.add("model", model)
        bank.add("folder", tmp_path / "adapter")
    with AdapterBank.open(tmp_path / "bank") as bank:
        assert bank.method == FrozenA(rank=3)
        assert all(torch.equal(bank.get("folder")[name], each) for name, each in trained_tensors(model).items())
