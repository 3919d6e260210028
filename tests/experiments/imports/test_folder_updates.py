"""The updates in an adapter's folder: those that the model has with the adapter on it, whoever wrote the folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES
from safetensors.torch import load_file, save_file
from torch import nn

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.experiments.imports.folder_updates import is_adapter_folder, labels_for, updates_from

peft = pytest.importorskip("peft")
foreign: Any = pytest.importorskip("foreign_folders")

OWN: dict[str, vxlab.adapters.Method] = {
    "lora": vxlab.LoRA(rank=3),
    "vera": vxlab.VeRA(rank=5),
    "xs": vxlab.LoRAXS(rank=4),
    "dora": vxlab.PEFT("dora", r=2),
}
THEIRS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=3, target_modules=["query", "dense"], lora_alpha=2, use_rslora=True),
    "ranks": lambda: peft.LoraConfig(r=3, target_modules=["query"], rank_pattern={"1.attention.self.query": 2}),
    "dora": lambda: peft.LoraConfig(r=2, target_modules=["query"], use_dora=True),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=["query", "value"]),
    "vera without": lambda: peft.VeraConfig(r=4, target_modules=["query", "value"], save_projection=False),
    "tinylora": lambda: peft.TinyLoraConfig(r=2, u=4, target_modules=["query"]),
}


def own_folder(folder: Path, method: vxlab.adapters.Method, base: str) -> nn.Module:
    model = vxlab.attach(vxlab.load_model(base, 2), method)
    foreign.move(model)
    vxlab.save_adapter(model, folder)
    return model


def merged_deltas(model: Any) -> dict[str, torch.Tensor]:
    """Return what peft's own merging adds, by the base's names."""
    found = {}
    for name, layer in model.base_model.model.named_modules():
        if hasattr(layer, "base_layer") and hasattr(layer, "merge"):
            before = linear_weight(layer.double().base_layer).clone()
            layer.merge()
            found[name] = linear_weight(layer.base_layer) - before
    return found


@pytest.mark.parametrize("kind", THEIRS)
def test_a_folder_of_peft_has_the_updates_that_peft_merges(kind: str, tmp_path: Path) -> None:
    with foreign.as_peft_warns():
        expected = merged_deltas(foreign.save_trained(tmp_path, "bert", THEIRS[kind]()))
    updates = updates_from(tmp_path, ARCHITECTURES["bert"]())
    assert updates.keys() == expected.keys()
    alone = updates_from(tmp_path) if kind in ("lora", "ranks") else updates
    for name, update in updates.items():
        torch.testing.assert_close(update.to_matrix(), expected[name], rtol=0, atol=2e-6)
        torch.testing.assert_close(alone[name].to_matrix(), update.to_matrix(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_other_architectures_are_the_right_way_round(name: str, tmp_path: Path) -> None:
    ends = ["c_attn", "c_fc"] if name == "gpt2" else ["q_proj", "down_proj"]
    expected = merged_deltas(foreign.save_trained(tmp_path, name, peft.LoraConfig(r=2, target_modules=ends)))
    for updates in (updates_from(tmp_path), updates_from(tmp_path, ARCHITECTURES[name]())):
        for layer, update in updates.items():
            torch.testing.assert_close(update.to_matrix(), expected[layer], rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", OWN)
def test_a_folder_of_ours_has_the_updates_of_its_model(kind: str, tiny_model: str, tmp_path: Path) -> None:
    expected = vxlab.adapters.adapter_updates(own_folder(tmp_path, OWN[kind], tiny_model))
    found = [updates_from(tmp_path, base) for base in (tiny_model, vxlab.load_model(tiny_model, 2))]
    for updates in [*found, updates_from(tmp_path)] if kind == "lora" else found:
        assert list(updates) == list(expected)
        for name, update in updates.items():
            torch.testing.assert_close(update.to_matrix(), expected[name].to_matrix(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["xs", "dora"])
def test_what_takes_the_base_says_so(kind: str, tiny_model: str, tmp_path: Path) -> None:
    own_folder(tmp_path, OWN[kind], tiny_model)
    with pytest.raises(vxlab.VxlabError, match=r"give the base, a model, its name or its folder: updates_from\(folder"):
        updates_from(tmp_path)


def test_another_base_is_refused(tiny_model: str, tmp_path: Path) -> None:
    own_folder(tmp_path / "a", OWN["lora"], tiny_model)
    other: Any = vxlab.load_model(tiny_model, 2)
    with torch.no_grad():
        other.bert.encoder.layer[0].output.dense.weight.mul_(2)
    with pytest.raises(vxlab.VxlabError, match="was trained on another base"):
        updates_from(tmp_path / "a", other)
    foreign.save_trained(tmp_path / "b", "bert", THEIRS["lora"]())
    bert = ARCHITECTURES["bert"]()
    wider = type(bert)(type(bert.config)(**{**bert.config.to_dict(), "intermediate_size": 64}))
    with pytest.raises(vxlab.VxlabError, match=r"is of another base: .* is \((32, 48|48, 32)\), and there it is"):
        updates_from(tmp_path / "b", wider)
    with pytest.raises(vxlab.VxlabError, match=r"is of another base: .* and there it is no linear layer"):
        updates_from(tmp_path / "b", ARCHITECTURES["llama"]())


def test_a_model_in_memory_stays_as_it_is(tiny_model: str, tmp_path: Path) -> None:
    own_folder(tmp_path, OWN["xs"], tiny_model)
    base = vxlab.load_model(tiny_model, 2)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    updates_from(tmp_path, base)
    assert all(tensor.equal(before[name]) for name, tensor in base.state_dict().items())
    assert not hasattr(base, "vxlab_attachment")


def test_labels_are_those_of_the_head_that_lies_with_it(tiny_model: str, tiny_writer: str, tmp_path: Path) -> None:
    for base, labels in ((tiny_model, 5), (tiny_writer, 0), (tiny_writer, 3)):
        folder = tmp_path / f"{labels}"
        vxlab.save_adapter(vxlab.attach(vxlab.load_model(base, labels), vxlab.LoRA(rank=1)), folder)
        assert labels_for(folder, base) == labels
        assert len(updates_from(folder, base)) == 4


def test_what_holds_no_adapter_or_a_broken_one_is_told(tmp_path: Path) -> None:
    assert not is_adapter_folder(tmp_path)
    with pytest.raises(vxlab.VxlabError, match="holds no adapter"):
        updates_from(tmp_path)
    foreign.save_trained(tmp_path / "a", "bert", THEIRS["lora"]())
    assert is_adapter_folder(tmp_path / "a")
    file = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors[next(iter(tensors))][0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(vxlab.VxlabError, match="holds NaN or infinite values"):
        updates_from(tmp_path / "a")


def test_an_adapter_s_folder_is_compared_with_its_base(tiny_model: str, tmp_path: Path) -> None:
    model = own_folder(tmp_path / "a", OWN["vera"], tiny_model)
    told = vxlab.compare_weights(tiny_model, tmp_path / "a")
    assert told.layers.equals(vxlab.compare_weights(tiny_model, model).layers)
    assert set(told.outside["tensor"]) == {"classifier.weight", "classifier.bias"}
    foreign.save_trained(tmp_path / "b", "bert", THEIRS["lora"]())
    told = vxlab.compare_weights(ARCHITECTURES["bert"](), tmp_path / "b")
    updates = {layer: each.norm() for layer, each in updates_from(tmp_path / "b").items() if "pooler" not in layer}
    assert told.layers.set_index("layer")["norm"].to_dict() == pytest.approx(updates)
    rows = told.outside.set_index("tensor")["what"]
    assert rows["bert.pooler.dense.weight"] == "changed by the adapter, and of no target"
