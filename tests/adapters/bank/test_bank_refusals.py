"""What a bank does not take, and what it says of damage: by name, with what to do, and the bank as it was."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES
from safetensors.torch import save_file
from torch import nn
from toy_banks import METHODS, adapted, make_bank, random_rows

import vxlab
from vxlab import AdapterBank, VxlabError
from vxlab.adapters import write_peft

LORA = METHODS["lora"]


@pytest.fixture
def bank(tmp_path):
    with make_bank(tmp_path / "bank", rows=4) as bank:
        yield bank


def refuse(bank: AdapterBank, adapter: object, told: str, name: str = "new") -> None:
    before = [*bank]
    with pytest.raises(VxlabError, match=told):
        bank.add(name, adapter)
    assert [*bank] == before
    assert bank.verify() == len(before)


def both(model: nn.Module, folder: Path) -> list[object]:
    """Return an adapter on its model, and in a folder."""
    return [model, vxlab.save_adapter(model, folder)]


OTHERS = {
    "family": (vxlab.VeRA(rank=9), "is of VeRA.*, and the bank holds LoRA"),
    "rank": (vxlab.LoRA(rank=4), r"has rank=4 \(here 3\), alpha=4 \(here 3\)"),
    "alpha": (vxlab.LoRA(rank=3, alpha=6), r"has alpha=6 \(here 3\): a bank holds one method in one setting"),
    "what trains": (vxlab.LoRA(rank=3, trains="B"), r"has trains='B'"),
    "dropout": (vxlab.LoRA(rank=3, dropout=0.1), r"has dropout=0.1 \(here 0.0\)"),
    "no family": (vxlab.BitFit(), "is of BitFit"),
}


@pytest.mark.parametrize(("method", "told"), OTHERS.values(), ids=OTHERS.keys())
def test_an_adapter_of_another_method(method, told, bank, tmp_path):
    for adapter in both(adapted(method), tmp_path / "adapter"):
        refuse(bank, adapter, told)


def test_the_same_scale_said_in_another_way_is_taken(bank, tmp_path):
    for number, adapter in enumerate(both(adapted(vxlab.LoRA(rank=3, alpha=3)), tmp_path / "adapter")):
        bank.add(f"new {number}", adapter)


def test_the_same_ranks_by_layer_said_in_another_way_are_taken_and_others_are_not(tmp_path):
    layers = ["query", "value"]
    exact = {
        f"bert.encoder.layer.{block}.attention.self.{role}": rank
        for block in (0, 1)
        for role, rank in zip(layers, (2, 5), strict=True)
    }
    with make_bank(tmp_path / "bank", vxlab.LoRA(rank={"query": 2, "value": 5})) as bank:
        for number, adapter in enumerate(both(adapted(vxlab.LoRA(rank=exact)), tmp_path / "adapter")):
            bank.add(f"new {number}", adapter)
        refuse(bank, adapted(vxlab.LoRA(rank={"query": 5, "value": 2})), r"has rank=\{'bert.*: 5.*\(here")
        refuse(bank, adapted(vxlab.LoRA(rank=2)), r"has rank=2 \(here \{'bert")
        refuse(bank, adapted(vxlab.LoRA(rank={"query": 2}), targets="query"), r"has rank=\{'query': 2\} \(here")
    folder = write_peft(adapted(vxlab.LoRA(rank=exact)), tmp_path / "peft")
    with AdapterBank.open(tmp_path / "bank", writable=True, model=ARCHITECTURES["bert"]()) as bank:
        bank.add("theirs", folder)
    with make_bank(tmp_path / "uniform", vxlab.LoRA(rank=3)) as bank:
        bank.add("equal", adapted(vxlab.LoRA(rank={"query": 3, "value": 3})))


def test_an_adapter_on_other_layers(bank, tmp_path):
    for adapter in both(adapted(LORA, targets="query"), tmp_path / "fewer"):
        refuse(
            bank, adapter, r"is not on `bert.encoder.layer.0.attention.self.value`, and the bank's .* are \(2 layers"
        )
    for adapter in both(adapted(LORA, targets="attention"), tmp_path / "more"):
        refuse(bank, adapter, r"is on `.*key`, and the bank's adapters are not \(8 layers, and 4\)")


@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_of_another_base(name, tmp_path):
    model = adapted(METHODS[name])
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[3, 3] += 1
    with make_bank(tmp_path / "bank", METHODS[name]) as bank:
        for adapter in both(model, tmp_path / "adapter"):
            refuse(bank, adapter, "another (fingerprint|base)")
        bank.add("ann", adapted(METHODS[name]))
        with pytest.raises(VxlabError, match=r"the bank in .* is of another base: .* another fingerprint"):
            bank.load(vxlab.detach(model), "ann")
        with pytest.raises(VxlabError, match="is of another base"):
            bank.require_base(model)
    with pytest.raises(VxlabError, match="is of another base"):
        AdapterBank.open(tmp_path / "bank", model=model)
    AdapterBank.open(tmp_path / "bank", model=ARCHITECTURES["bert"]()).close()


def test_a_base_with_another_head(bank):
    model = ARCHITECTURES["bert"]()
    model.classifier = nn.Linear(32, 3)
    with pytest.raises(VxlabError, match=r"`classifier.weight` is \(2, 32\), and this .* has \(3, 32\)"):
        bank.load(model, "n00000")
    refuse(bank, vxlab.attach(model, LORA), "as many labels as")


def test_an_adapter_that_was_put_on_another_base(bank, tmp_path):
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[3, 3] += 1
    vxlab.save_adapter(vxlab.attach(other, LORA), tmp_path / "adapter")
    with pytest.warns(UserWarning, match="another base"):
        model = vxlab.load_adapter(ARCHITECTURES["bert"](), tmp_path / "adapter", base="any")
    for adapter in both(model, tmp_path / "again"):
        refuse(bank, adapter, "base='any'")


def test_other_frozen_matrices_of_the_same_seed(tmp_path, monkeypatch):
    with make_bank(tmp_path / "vera", METHODS["vera"]) as bank:
        monkeypatch.setattr(vxlab.VeRA, "shared", lambda self, shapes: {"A": torch.ones(9, 32), "B": torch.ones(32, 9)})
        for adapter in both(adapted(METHODS["vera"]), tmp_path / "adapter"):
            refuse(bank, adapter, "other frozen matrices than the bank")
        bank.add_many(["ann"], random_rows(bank, 1))
        model = ARCHITECTURES["bert"]()
        with pytest.raises(VxlabError, match="other frozen matrices than the bank"):
            bank.load(model, "ann")
        vxlab.attach(model, LORA)  # it is bare again


def test_another_basis(tmp_path):
    with make_bank(tmp_path / "bank", METHODS["lora_xs"]) as bank:
        model = adapted(METHODS["lora_xs"])
        prints = {**model.vxlab_attachment.fingerprints, "basis_probes": [0.5, 0.5, 0.5, 0.5]}
        object.__setattr__(model.vxlab_attachment, "fingerprints", prints)
        for adapter in both(model, tmp_path / "adapter"):
            refuse(bank, adapter, "another frozen basis on `bert.encoder.layer.0.attention.self.query`")


def test_a_merged_adapter(bank):
    refuse(bank, vxlab.merge(adapted(LORA)), "merged")


def test_a_model_without_an_adapter(bank):
    refuse(bank, ARCHITECTURES["bert"](), "has no adapter")


def test_a_model_that_trains_more(bank):
    model = adapted(LORA)
    model.bert.embeddings.LayerNorm.bias.requires_grad_(True)
    refuse(bank, model, "trains .*LayerNorm.bias.* of the model itself")


TENSORS = {
    "lacking": (lambda found: found.pop("classifier.bias"), r"lacks `classifier.bias`, the bank's is \(2,\)"),
    "surplus": (lambda found: found.update(more=torch.ones(2)), r"has `more` \(2,\), which the bank has not"),
    "of another shape": (
        lambda found: found.update({"classifier.bias": torch.ones(3)}), r"`classifier.bias` \(3,\), the bank's is"
    ),
    "no tensor": (lambda found: found.update({"classifier.bias": [0.0, 1.0]}), r"has \[0.0, 1.0\] as `class"),
    "whole numbers": (lambda found: found.update({"classifier.bias": torch.tensor([1, 2])}), "floating-point"),
    "in float64": (lambda found: found.update({"classifier.bias": torch.ones(2).double()}), "would lose digits"),
    "NaN": (
        lambda found: found.update({"classifier.bias": torch.tensor([1.0, float("nan")])}),
        r"'new' holds NaN or infinite values in `classifier.bias`.*train it again",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "told"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_are_not_the_banks(change, told, bank):
    tensors = bank.get("n00000")
    change(tensors)
    refuse(bank, tensors, told)


def test_numbers_too_large_for_the_banks_precision(tmp_path):
    with make_bank(tmp_path / "bank", LORA, dtype="bfloat16") as bank:
        tensors = {
            name: torch.zeros(each.shape) for name, each in bank.layout.unpack(torch.zeros(bank.layout.width)).items()
        }
        bank.add("zeros", tensors)
        tensors["classifier.bias"][0] = 3.4e38
        refuse(bank, tensors, r"infinite values in `classifier.bias` \(in torch.bfloat16\)")


ROWS = {
    "fewer names": (["a"], lambda rows: rows, "1 names, and another number of adapters"),
    "more names": (["a", "b", "c"], lambda rows: rows, "3 names, and another number of adapters"),
    "none": ([], lambda rows: rows, "0 names"),
    "another width": (["a", "b"], lambda rows: rows[:, 1:], r"are no rows of this bank: they are \(n, 834\)"),
    "one row": (["a", "b"], lambda rows: rows[0], "are no rows of this bank"),
    "float64": (["a", "b"], lambda rows: rows.double(), "cast them to float32"),
    "whole numbers": (["a", "b"], lambda rows: rows.long(), "are no rows of this bank"),
    "infinite": (["a", "b"], lambda rows: rows / 0, "'a' holds NaN or infinite"),
    "no list": (["a", "b"], lambda rows: 3, "adapters=3 is no list"),
    "a mapping": (["a", "b"], lambda rows: {"a": 1}, "adapters={'a': 1} is no list"),
    "fewer adapters": (["a", "b"], lambda rows: [tensors_like(rows)], "2 names, and another number"),
    "more adapters": (["a"], lambda rows: [tensors_like(rows)] * 2, "more adapters than names"),
    "something else": (["a", "b"], lambda rows: [1, 2], "the adapter 'a' is 1; give a model"),
    "a name twice": (["a", "a"], lambda rows: rows, "names has 'a' twice"),
    "a known name": (["a", "n00001"], lambda rows: rows, "has an adapter 'n00001' already; remove it first"),
    "no text": ([1, 2], lambda rows: rows, "names holds 1"),
    "an empty name": (["a", ""], lambda rows: rows, "name='' names no adapter"),
    "a line break": (["a", "b\n"], lambda rows: rows, r"name='b\\n' names no adapter"),
    "a long name": (["a", "b" * 256], lambda rows: rows, "1 to 255 characters"),
}  # fmt: skip


def tensors_like(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {"classifier.weight": torch.zeros(2, 32), "classifier.bias": torch.zeros(2)}
    for layer in (0, 1):
        for role in ("query", "value"):
            name = f"bert.encoder.layer.{layer}.attention.self.{role}"
            found |= {f"{name}.A": torch.zeros(3, 32), f"{name}.B": torch.zeros(32, 3)}
    return found


@pytest.mark.parametrize(("names", "change", "told"), ROWS.values(), ids=ROWS.keys())
def test_rows_and_names_that_do_not_go_together(names, change, told, bank):
    with pytest.raises(VxlabError, match=told):
        bank.add_many(names, change(random_rows(bank, 2)))
    assert bank.verify() == len(bank) == 4
    bank.add_many(["a", "b"], random_rows(bank, 2))


def test_unknown_names_say_which_are_near(bank):
    for call in (bank.get, bank.remove, lambda name: bank.rows_of(["n00000", name])):
        with pytest.raises(VxlabError, match=r"no adapter 'n0000l'; did you mean 'n0000\d'\? \(of its 4: n0000\d, n0"):
            call("n0000l")
    with pytest.raises(VxlabError, match="name=3 is an int"):
        bank.get(3)
    assert bank.rows_of([]).shape == (0, bank.layout.width)


def test_a_second_writer(bank):
    with pytest.raises(VxlabError, match="open for writing elsewhere, in this process or another"):
        AdapterBank.open(bank.folder, writable=True)
    with AdapterBank.open(bank.folder) as reader:
        bank.add_many(["new"], random_rows(bank, 1))
        assert "new" in reader
    bank.close()
    AdapterBank.open(bank.folder, writable=True).close()


def test_a_reader_does_not_write_and_a_closed_bank_does_nothing(bank):
    bank.close()
    with AdapterBank.open(bank.folder) as reader:
        rows = random_rows(reader, 1)
        for call in (lambda: reader.add_many(["new"], rows), lambda: reader.remove("n00000"), reader.compact):
            with pytest.raises(VxlabError, match=r"is open for reading; open it by .*writable=True"):
                call()
    for call in (lambda: reader.get("n00000"), lambda: [*reader], lambda: len(reader), reader.verify):
        with pytest.raises(VxlabError, match="is closed; open it again"):
            call()
    reader.close()


NO_BANKS = {
    "nothing": (lambda folder: shutil.rmtree(folder), "holds no bank of adapters: bank.json cannot be read"),
    "no JSON": (lambda folder: (folder / "bank.json").write_text("{"), "is damaged: not JSON"),
    "another file": (lambda folder: (folder / "bank.json").write_text("[]"), "is none of a bank"),
    "a later format": (lambda folder: edit(folder, format=2), "has format 2; this vxlab reads 1; upgrade"),
    "an altered rank": (lambda folder: edit(folder, settings={"rank": 5}), "was altered"),
    "no index": (lambda folder: (folder / "index.sqlite").unlink(), "index.sqlite: unable to open"),
    "another index": (lambda folder: (folder / "index.sqlite").write_bytes(b""), "is no index of this vxlab's format"),
    "a damaged index": (lambda folder: (folder / "index.sqlite").write_bytes(b"x" * 4096), "index.sqlite: file is not"),
    "a missing shard": (lambda folder: shard(folder).unlink(), "rows-000001.safetensors .*4 rows, is missing"),
    "a truncated shard": (lambda folder: cut(shard(folder)), "is truncated: it has 3 of 4 rows; take it from a copy"),
    "an empty shard": (lambda folder: shard(folder).write_bytes(b""), "is truncated: it has 0 of 4 rows"),
    "another shard": (
        lambda folder: save_file({"rows": torch.ones(9, 834)}, shard(folder)), "is no shard of this bank: its header"
    ),
}  # fmt: skip


def edit(folder: Path, **fields: object) -> None:
    path = folder / "bank.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def shard(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(("damage", "told"), NO_BANKS.values(), ids=NO_BANKS.keys())
def test_a_damaged_bank_does_not_open_and_is_left_as_it_is(damage, told, writable, bank):
    bank.close()
    damage(bank.folder)
    before = {path.name: path.read_bytes() for path in bank.folder.glob("*.[!s]*")}
    with pytest.raises(VxlabError, match=told):
        AdapterBank.open(bank.folder, writable=writable)
    assert before == {path.name: path.read_bytes() for path in bank.folder.glob("*.[!s]*") if path.name in before}


def test_changed_bytes_are_found(bank):
    path = shard(bank.folder)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1  # in the last row
    path.write_bytes(content)
    with pytest.raises(VxlabError, match=r"'n00003' .* is not what was added: its bytes have another sha256"):
        bank.get("n00003")
    with pytest.raises(VxlabError, match=r"1 of 4 adapters .* are not what was added: n00003; .* remove them"):
        bank.verify()
    bank.get("n00002")
    bank.remove("n00003")
    bank.compact()
    assert bank.verify() == 3


def test_a_shard_cut_off_under_an_open_bank(bank):
    bank.rows_of(["n00003"])
    cut(shard(bank.folder))
    with pytest.raises(VxlabError, match="is truncated: it has 3 of 4 rows"):
        bank.rows_of(["n00003"])


def test_places_where_no_bank_is_made(bank, tmp_path):
    model = ARCHITECTURES["bert"]()
    with pytest.raises(VxlabError, match="it holds a bank already; open it"):
        AdapterBank.create(bank.folder, model, LORA)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for name in ("file", "full"):
        with pytest.raises(VxlabError, match="it is there, and not empty"):
            AdapterBank.create(tmp_path / name, model, LORA)
    with pytest.raises(VxlabError, match="cannot be made"):
        AdapterBank.create(tmp_path / "file" / "in", model, LORA)
    assert (tmp_path / "full" / "mine").read_text() == "mine"


NO_METHODS = {
    "all weights": (vxlab.Full(), "has no bank: only families"),
    "peft's": (vxlab.PEFT("lora", {"r": 2}), "has no bank: only families"),
    "bases from gradients": (vxlab.LoRAXS(rank=2, basis="gradient"), "has no bank: its bases are those of one"),
    "given bases": (vxlab.LoRAXS(rank=2, basis="given"), "has no bank: its bases are those of one"),
    "a name": ("lora", "method='lora' is not a method"),
    "a high rank": (vxlab.LoRAXS(rank=99), "rank=99"),
}


@pytest.mark.parametrize(("method", "told"), NO_METHODS.values(), ids=NO_METHODS.keys())
def test_methods_without_a_bank(method, told, tmp_path):
    model = ARCHITECTURES["bert"]()
    with pytest.raises(VxlabError, match=told):
        AdapterBank.create(tmp_path / "bank", model, method)
    assert not (tmp_path / "bank").exists()
    vxlab.attach(model, LORA)


def test_models_and_precisions_without_a_bank(tmp_path):
    with pytest.raises(VxlabError, match="already has LoRA"):
        AdapterBank.create(tmp_path / "bank", adapted(LORA), LORA)
    with pytest.raises(VxlabError, match="dtype='float16' is unknown; choose one of float32, bfloat16"):
        make_bank(tmp_path / "bank", LORA, dtype="float16")
    with pytest.raises(VxlabError, match="needs a task head"):
        AdapterBank.create(tmp_path / "bank", nn.Sequential(nn.Linear(2, 2)), vxlab.Head())
    with pytest.raises(VxlabError):
        AdapterBank.create(tmp_path / "bank", None, LORA)
    assert [*tmp_path.iterdir()] == []
