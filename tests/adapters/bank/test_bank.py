"""A bank of adapters on a tiny model: what goes in comes out, bit for bit."""

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from safetensors import safe_open
from torch import Tensor
from toy_banks import METHODS, adapted, make_bank, random_rows, trained_tensors

import vxlab

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def logits(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**inputs("bert")).logits
    return found


@every_method
def test_an_adapter_on_a_model_comes_out_as_it_went_in(method, tmp_path):
    models = {name: adapted(method, seed) for seed, name in enumerate(("ann", "ben"))}
    with make_bank(tmp_path / "bank", method) as bank:
        for name, model in models.items():
            bank.add(name, model)
    with vxlab.AdapterBank.open(tmp_path / "bank") as bank:
        for name, model in models.items():
            assert_same(bank.get(name), trained_tensors(model))
            put_on = bank.load(ARCHITECTURES["bert"](), name)
            assert torch.equal(logits(put_on), logits(model))
            assert_same(trained_tensors(put_on), trained_tensors(model))


@every_method
def test_an_adapter_in_a_folder_comes_out_as_it_went_in(method, tmp_path):
    model = adapted(method)
    vxlab.save_adapter(model, tmp_path / "adapter")
    with make_bank(tmp_path / "bank", method) as bank:
        bank.add("ann", tmp_path / "adapter")
        assert_same(bank.get("ann"), trained_tensors(model))


def test_names_are_counted_listed_and_known(tmp_path):
    with make_bank(tmp_path / "bank", rows=3) as bank:
        assert (len(bank), list(bank)) == (3, ["n00000", "n00001", "n00002"])
        assert "n00001" in bank
        assert "n1" not in bank
        assert 7 not in bank


def test_rows_come_in_the_order_of_their_names(tmp_path):
    with make_bank(tmp_path / "bank", rows=5) as bank:
        rows = random_rows(bank, 5)
        assert torch.equal(bank.rows_of(["n00003", "n00000", "n00003"]), rows[[3, 0, 3]])
        tensors = bank.layout.unpack(bank.rows_of(["n00004", "n00002"]))
        for name, each in bank.get("n00002").items():
            assert torch.equal(tensors[name][1], each)


def test_a_shard_is_a_safetensors_file_of_one_tensor(tmp_path):
    with make_bank(tmp_path / "bank", rows=5) as bank:
        (path,) = (tmp_path / "bank").glob("*.safetensors")
        with safe_open(path, "pt") as file:
            assert torch.equal(file.get_tensor("rows"), random_rows(bank, 5))


def test_a_removed_adapter_is_gone_and_its_room_too_after_compacting(tmp_path):
    with make_bank(tmp_path / "bank", rows=5) as bank:
        rows = random_rows(bank, 5)
        bank.remove("n00001")
        assert "n00001" not in bank
        assert bank.compact() == 1
        assert bank.verify() == len(bank) == 4
        assert torch.equal(bank.rows_of(["n00000", "n00004"]), rows[[0, 4]])
        bank.add_many(["n00001"], rows[3:4])
        assert torch.equal(bank.rows_of(["n00001"]), rows[3:4])
        assert len(list((tmp_path / "bank").glob("*.safetensors"))) == 1
