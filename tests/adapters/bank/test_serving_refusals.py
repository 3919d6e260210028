"""What a bank cannot serve is refused, and the model is then as it was."""

import pytest
import torch
import toy_stacks as toy
from architectures import ARCHITECTURES
from torch import nn
from toy_banks import METHODS, make_bank

import vxlab
from vxlab.adapters.stacked import stack_adapters
from vxlab.errors import VxlabError


@pytest.fixture
def bank(tmp_path):
    with make_bank(tmp_path / "bank", METHODS["lora"], 3) as made:
        yield made


def test_names_that_the_bank_has_not(bank):
    bank.attach(ARCHITECTURES["bert"]())
    with pytest.raises(VxlabError, match=r"no adapter 'n0001'.*n00001"), bank.rows(["n00000", "n0001"]):
        pass
    bank.remove("n00002")
    with pytest.raises(VxlabError, match="no adapter 'n00002'"), bank.rows(["n00002"]):
        pass


@pytest.mark.parametrize("names", [[], [1], 7, [["n00000"]], b"n00000"], ids=repr)
def test_rows_that_are_no_names(bank, names):
    bank.attach(ARCHITECTURES["bert"]())
    with pytest.raises(VxlabError, match=r"rows.*one name for each row"), bank.rows(names):
        pass


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_rows_fewer_or_more_than_the_batch(bank, rows):
    model = bank.attach(ARCHITECTURES["bert"]())
    with pytest.raises(VxlabError, match=r"2 named rows: \['n00000', None\]"), bank.rows(["n00000", None]):
        model(**toy.batch(rows))


def test_layers_that_see_positions_in_place_of_rows(tmp_path):
    base = ARCHITECTURES["deberta"]()
    bank = vxlab.AdapterBank.create(tmp_path / "bank", base, METHODS["lora"], "all-linear")
    bank.attach(base)
    with pytest.raises(VxlabError, match=r"pos_\w+` was given \(1, "), bank.rows([None] * 4):
        base(**toy.batch(4))


def test_another_base(bank):
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[5, 5] += 1
    before = [*map(id, other.modules())]
    with pytest.raises(VxlabError, match="another base"):
        bank.attach(other)
    with pytest.raises(VxlabError, match="of a task head"):
        bank.attach(ARCHITECTURES["roberta"]())
    assert [*map(id, other.modules())] == before
    assert all(parameter.requires_grad for parameter in other.parameters())
    bank.attach(ARCHITECTURES["bert"]())


def test_a_model_with_something_on_it_already(bank):
    model = bank.attach(ARCHITECTURES["bert"]())
    for again in (model, ARCHITECTURES["bert"]()):
        with pytest.raises(VxlabError, match=r"attached to a model already; call detach\(\)"):
            bank.attach(again)
    for put_on in (lambda: vxlab.attach(model, vxlab.LoRA()), lambda: stack_adapters(model, [vxlab.LoRA()])):
        with pytest.raises(VxlabError, match="adapters of a bank"):
            put_on()
    bank.detach()
    for taken in (vxlab.attach(ARCHITECTURES["bert"](), METHODS["lora"]), stacked()):
        with pytest.raises(VxlabError, match="already"):
            bank.attach(taken)


def stacked() -> nn.Module:
    return stack_adapters(ARCHITECTURES["bert"](), [METHODS["lora"]]).model


def test_what_wants_one_adapter_does_not_take_a_banks_model_for_it(bank, tmp_path):
    model = bank.attach(ARCHITECTURES["bert"]())
    with pytest.raises(VxlabError, match="adapters of a bank"):
        bank.load(model, "n00000")
    for use in (
        lambda: bank.add("ann", model), lambda: vxlab.merge(model), lambda: vxlab.detach(model),
        lambda: vxlab.save_adapter(model, tmp_path / "adapter"),
    ):  # fmt: skip
        with pytest.raises(VxlabError, match="has no adapt"):
            use()
    bank.detach()
    bank.close()
    with pytest.raises(VxlabError, match="closed"):
        bank.attach(model)


def test_what_is_not_attached(bank):
    with pytest.raises(VxlabError, match="on no model"), bank.rows([None]):
        pass
    with pytest.raises(VxlabError, match="on no model"):
        bank.detach()
    for slots in (-1, True, "2"):
        with pytest.raises(VxlabError, match="slots="):
            bank.attach(ARCHITECTURES["bert"](), slots=slots)


def test_a_head_of_more_than_linear_layers(tmp_path):
    model = ARCHITECTURES["bert"]()
    model.classifier = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 2))
    bank = vxlab.AdapterBank.create(tmp_path / "bank", model, METHODS["lora"])
    with pytest.raises(VxlabError, match=r"`classifier\.0\.weight` of LayerNorm.*bank\.load"):
        bank.attach(model)
    assert type(model.bert.encoder.layer[0].attention.self.query) is nn.Linear


def test_frozen_matrices_that_do_not_reproduce(bank, tmp_path, monkeypatch):
    bank = make_bank(tmp_path / "other", METHODS["vera"], 1)
    drawn = vxlab.VeRA.shared
    monkeypatch.setattr(
        vxlab.VeRA, "shared", lambda self, shapes: {name: -each for name, each in drawn(self, shapes).items()}
    )
    model = ARCHITECTURES["bert"]()
    with pytest.raises(VxlabError, match="other frozen matrices"):
        bank.attach(model)
    assert type(model.bert.encoder.layer[0].attention.self.query) is nn.Linear
    assert not hasattr(model, "vxlab_attachment")
