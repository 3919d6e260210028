"""An adapter out of a bank is an ordinary one: merged, saved, exported, trained."""

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from foreign_folders import loaded_by_peft, logits
from toy_banks import METHODS, adapted, make_bank, trained_tensors

import vxlab
from vxlab import VxlabError
from vxlab.adapters import write_peft


@pytest.fixture
def filled(tmp_path):
    with make_bank(tmp_path / "bank") as bank:
        for seed, name in enumerate(("ann", "ben")):
            bank.add(name, adapted(METHODS["lora"], seed))
        yield bank


def test_it_is_merged_saved_and_written_for_peft(filled, tmp_path):
    model = filled.load(ARCHITECTURES["bert"](), "ben")
    expected = logits(adapted(METHODS["lora"], 1), "bert")
    assert torch.equal(logits(model, "bert"), expected)
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), vxlab.save_adapter(model, tmp_path / "alone"))
    assert torch.equal(logits(again, "bert"), expected)
    theirs = loaded_by_peft("bert", write_peft(model, tmp_path / "peft"))
    torch.testing.assert_close(logits(theirs, "bert"), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits(vxlab.merge(model), "bert"), expected, rtol=0, atol=1e-6)


def test_the_next_one_takes_its_place(filled):
    model = filled.load(ARCHITECTURES["bert"](), "ann")
    filled.load(model, "ben")
    assert torch.equal(logits(model, "bert"), logits(adapted(METHODS["lora"], 1), "bert"))
    filled.add("changed", model)
    assert all(torch.equal(each, filled.get("ben")[name]) for name, each in filled.get("changed").items())


def test_loading_leaves_the_random_generator_and_lets_train(filled):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model = filled.load(ARCHITECTURES["bert"](), "ann")
    assert torch.equal(torch.rand(2), expected)
    model(**inputs("bert")).logits.sum().backward()
    assert all(each.grad is not None for each in trained_tensors_of(model))


def trained_tensors_of(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    assert trained_tensors(model)
    return [each for each in model.parameters() if each.requires_grad]


def test_a_model_that_it_does_not_go_on(filled):
    other = vxlab.attach(ARCHITECTURES["bert"](), vxlab.LoRA(rank=2))
    with pytest.raises(VxlabError, match=r"has rank=2 \(here 3\)"):
        filled.load(other, "ann")
    with pytest.raises(VxlabError, match=r"is on `.*key`"):
        filled.load(vxlab.attach(ARCHITECTURES["bert"](), METHODS["lora"], "attention"), "ann")
    merged = vxlab.merge(filled.load(ARCHITECTURES["bert"](), "ann"))
    with pytest.raises(VxlabError, match=r"merged|another fingerprint"):
        filled.load(merged, "ben")
    with pytest.raises(VxlabError, match="no adapter 'cid'"):
        filled.load(ARCHITECTURES["bert"](), "cid")
