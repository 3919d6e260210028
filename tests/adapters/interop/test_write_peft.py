"""Adapters written as folders of the peft library's: the same logits there, with every tensor used."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns, loaded_by_peft, logits, save_trained
from safetensors.torch import load_file
from torch import nn
from toy_checkpoints import trained

import vxlab
from vxlab.adapters import Family, write_peft
from vxlab.adapters.interop.keys import MODEL

NAMES = ["bert", "roberta", "gpt2", "llama", "vit"]
OWN = [
    vxlab.LoRA(rank=4, alpha=2),
    vxlab.LoRA(rank=4, rank_stabilised=True, dropout=0.5),
    vxlab.LoRA(rank=4, trains="B", seed=5),
    vxlab.VeRA(rank=12, seed=3, dropout=0.1),
    vxlab.VeRA(rank=6, vectors="d"),
    vxlab.VeRA(rank=6, vectors="b", d_initial=0.3),
    vxlab.VeRA(rank=6, matrices="kaiming-normal"),
]
ALL = [
    *OWN,
    vxlab.VeRA(rank=6, unique=True),
    vxlab.LoRAXS(rank=4, alpha=16),
    vxlab.LoRAXS(rank=4, basis="random"),
    vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
]


def assert_same_in_peft(model: nn.Module, name: str, folder: Path) -> None:
    """Hold peft's logits to a model's, and its tensors to the file's: all of them, and no other."""
    theirs = loaded_by_peft(name, folder)
    torch.testing.assert_close(logits(theirs, name), logits(model, name), rtol=0, atol=1e-5)
    used = peft.get_peft_model_state_dict(theirs, save_embedding_layers=False)
    written = load_file(folder / "adapter_model.safetensors")
    assert written.keys() == used.keys()
    assert all(torch.equal(written[key], used[key]) for key in written)


@pytest.mark.parametrize("method", OWN, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_peft_gives_the_same_logits_for_its_own_methods(name: str, method: Family, tmp_path: Path) -> None:
    model = trained(name, method)
    assert_same_in_peft(model, name, write_peft(model, tmp_path))


@pytest.mark.parametrize("method", ALL, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_peft_gives_the_same_logits_for_any_method_as_plain_lora(name: str, method: Family, tmp_path: Path) -> None:
    model = trained(name, method, "query-value")
    assert_same_in_peft(model, name, write_peft(model, tmp_path, as_lora=True))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["lora_alpha"]) == ("LORA", config["r"])


@pytest.mark.parametrize("case", ["dora", "ranks", "biases", "tinylora", "loha", "fourierft"])
def test_a_method_of_peft_is_written_as_peft_would(case: str, tmp_path: Path) -> None:
    method = {
        "dora": vxlab.PEFT("dora", r=4),
        "ranks": vxlab.PEFT("lora", r=4, rank_pattern={"value": 2}, alpha_pattern={"query": 3}),
        "biases": vxlab.PEFT("lora", r=4, bias="all"),
        "tinylora": vxlab.PEFT("tinylora", r=2),
        "loha": vxlab.PEFT("loha", r=2),
        "fourierft": vxlab.PEFT("fourierft", n_frequency=20),
    }[case]
    model = trained("bert", method, "query-value")
    folder = write_peft(model, tmp_path)
    theirs = loaded_by_peft("bert", folder)
    torch.testing.assert_close(logits(theirs, "bert"), logits(model, "bert"), rtol=0, atol=1e-5)
    again = vxlab.load_adapter(ARCHITECTURES["bert"](), folder)
    assert again.vxlab_attachment.method == method
    assert torch.equal(logits(again, "bert"), logits(model, "bert"))


SAYABLE: dict[str, tuple[type[peft.PeftConfig], dict[str, object]]] = {
    "plain": (peft.LoraConfig, {"lora_alpha": 8}),
    "rank-stabilised": (peft.LoraConfig, {"lora_alpha": 8, "use_rslora": True, "lora_dropout": 0.25}),
    "one alpha by a pattern": (peft.LoraConfig, {"alpha_pattern": {".*": 6}}),
    "ranks": (peft.LoraConfig, {"rank_pattern": {".*1.*": 2}, "use_rslora": True}),
    "alphas": (peft.LoraConfig, {"alpha_pattern": {".*1.*": 3}, "lora_dropout": 0.1}),
    "dora": (peft.LoraConfig, {"use_dora": True}),
    "biases": (peft.LoraConfig, {"bias": "all"}),
    "vera": (peft.VeraConfig, {"vera_dropout": 0.1, "d_initial": 0.2, "projection_prng_key": 11}),
    "vera's biases": (peft.VeraConfig, {"bias": "vera_only"}),
    "tinylora": (peft.TinyLoraConfig, {}),
}
"""what a config of peft's says that this library holds, as its own method or as peft's"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", SAYABLE)
def test_what_peft_wrote_comes_back_as_it_was(name: str, case: str, tmp_path: Path) -> None:
    kind, settings = SAYABLE[case]
    config = kind(r=4, target_modules="all-linear", **settings)  # type: ignore[call-arg]
    theirs = save_trained(tmp_path / "theirs", name, config)
    model = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path / "theirs")
    torch.testing.assert_close(logits(model, name), logits(theirs, name), rtol=0, atol=1e-5)
    with as_peft_warns():
        write_peft(model, tmp_path / "back")
    assert_same_tensors(tmp_path / "theirs", tmp_path / "back")
    back = loaded_by_peft(name, tmp_path / "back")
    torch.testing.assert_close(logits(back, name), logits(theirs, name), rtol=0, atol=1e-5)
    one, other = (json.loads((tmp_path / each / "adapter_config.json").read_text()) for each in ("theirs", "back"))
    written_otherwise = ("target_modules", "auto_mapping", "rank_pattern", "alpha_pattern", "lora_alpha")
    assert {key: one[key] for key in other if key not in written_otherwise} == {
        key: value for key, value in other.items() if key not in written_otherwise
    }


def assert_same_tensors(theirs: Path, back: Path) -> None:
    """Hold two folders to the same tensors, but for what peft writes twice with trained biases."""
    before, after = (load_file(each / "adapter_model.safetensors") for each in (theirs, back))
    before = {key: each for key, each in before.items() if ".original_module." not in key}
    before = {key: each for key, each in before.items() if ".modules_to_save." not in key}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", OWN[:2] + OWN[3:4], ids=str)
def test_what_vxlab_wrote_comes_back_as_it_was(name: str, method: Family, tmp_path: Path) -> None:
    model = trained(name, method)
    back = vxlab.load_adapter(ARCHITECTURES[name](), write_peft(model, tmp_path))
    assert torch.equal(logits(back, name), logits(model, name))
    assert vxlab.trainable_parameters(back) == vxlab.trainable_parameters(model)


def by_layer(name: str, most: int = 4) -> dict[str, int]:
    """Return ranks of a tiny model's linear layers, by their whole names."""
    layers = vxlab.resolve_targets(ARCHITECTURES[name](), "all-linear")
    return {layer: 1 + number % most for number, layer in enumerate(layers)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{}, {"alpha": 3}, {"alpha": 3, "rank_stabilised": True}])
def test_ranks_by_layer_are_pefts_rank_pattern_there_and_back(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    method = vxlab.LoRA(rank=by_layer(name), **settings)
    model = trained(name, method)
    assert_same_in_peft(model, name, write_peft(model, tmp_path))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert set(config["rank_pattern"].values()) == {1, 2, 3}
    assert (config["r"], config["lora_alpha"]) == (4, settings.get("alpha", 4))
    assert config["alpha_pattern"] == ({} if settings else config["rank_pattern"])
    scales = {key: each.scaling["default"] for key, each in loaded_by_peft(name, tmp_path).named_modules()
              if hasattr(each, "lora_A")}  # fmt: skip
    assert scales == {f"{MODEL}{key}": each.family.scaling for key, each in vxlab.adapted_layers(model).items()}
    back = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path)
    assert back.vxlab_attachment.method == method
    assert torch.equal(logits(back, name), logits(model, name))


@pytest.mark.parametrize("kind", [vxlab.LoRA, vxlab.VeRA, vxlab.LoRAXS, vxlab.LiDB])
def test_any_family_of_ranks_by_layer_is_written_as_plain_lora(kind: type[Family], tmp_path: Path) -> None:
    sizes = {"aux_out": 12, "aux_in": 10} if kind is vxlab.LiDB else {}
    model = trained("bert", kind(rank={"query": 2, "value": 5}, **sizes), "query-value")  # type: ignore[call-arg]
    assert_same_in_peft(model, "bert", write_peft(model, tmp_path, as_lora=True))
    assert set(vxlab.adapters.read_saved(tmp_path).ranks.values()) == {2, 5}


def test_a_vera_of_several_ranks_is_none_of_pefts_and_one_of_equal_ranks_is(tmp_path: Path) -> None:
    model = trained("bert", vxlab.VeRA(rank={"query": 2, "value": 5}), "query-value")
    message = r"peft's VeRA has one rank, and VeRA\(rank=.*\) several; as_lora=True writes its update, without loss"
    with pytest.raises(vxlab.VxlabError, match=message):
        write_peft(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    same = trained("bert", vxlab.VeRA(rank={"query": 5, "value": 5}), "query-value")
    assert_same_in_peft(same, "bert", write_peft(same, tmp_path / "same"))


def test_what_has_no_folder_of_peft_is_refused(tmp_path: Path) -> None:
    for method, message in (
        (vxlab.LoRAXS(rank=4), r"peft has no LoRAXS.*; as_lora=True writes its update"),
        (vxlab.VeRA(rank=4, unique=True), r"peft has no VeRA.*; as_lora=True"),
        (vxlab.LiDB(rank=2, aux_out=12, aux_in=10), r"peft has no LiDB.*; as_lora=True"),
        (vxlab.Head(), r"Head\(\) puts no adapter on layers"),
        (vxlab.BitFit(), r"BitFit\(\) puts no adapter on layers"),
    ):
        with pytest.raises(vxlab.VxlabError, match=message):
            write_peft(trained("bert", method), tmp_path / "new")
    with pytest.raises(vxlab.VxlabError, match=r"peft's own, so its two factors are not known here"):
        write_peft(trained("bert", vxlab.PEFT("loha", r=2)), tmp_path / "new", as_lora=True)
    model = trained("bert", vxlab.LoRA(rank=4))
    with pytest.raises(vxlab.VxlabError, match="task_type='CHAT' is unknown; choose one of SEQ_CLS"):
        write_peft(model, tmp_path / "new", task_type="CHAT")
    with pytest.raises(vxlab.VxlabError, match="revision=2 is"):
        write_peft(model, tmp_path / "new", revision=2)  # type: ignore[arg-type]
    with pytest.raises(vxlab.VxlabError, match="the model is merged"):
        write_peft(vxlab.merge(model), tmp_path / "new")
    with pytest.raises(vxlab.VxlabError, match="has no adapter"):
        write_peft(ARCHITECTURES["bert"](), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_refused_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("bert", vxlab.LoRA(rank=4))
    own = vxlab.save_adapter(model, tmp_path / "own")
    with pytest.raises(vxlab.VxlabError, match="holds an adapter of vxlab's own; give another folder"):
        write_peft(model, own)
    (tmp_path / "file").write_text("")
    with pytest.raises(vxlab.VxlabError, match="is a file; give a folder"):
        write_peft(model, tmp_path / "file")
    folder = write_peft(model, tmp_path / "peft")
    (folder / "README.md").write_text("a card")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vxlab.adapters.interop.peft_files.save_file", fail)
    with pytest.raises(vxlab.VxlabError, match="cannot be written: no space left"):
        write_peft(trained("bert", vxlab.LoRA(rank=2)), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_whose_writing_was_cut_short_between_its_files_lacks_its_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_peft(trained("bert", vxlab.LoRA(rank=4)), tmp_path)
    replace = os.replace

    def stop(source: Path, target: Path) -> None:
        if Path(target).name == "adapter_model.safetensors":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_peft(trained("bert", vxlab.LoRA(rank=4, alpha=32)), folder)
    with pytest.raises(vxlab.VxlabError, match=r"lacks adapter_model\.safetensors, perhaps because"):
        vxlab.load_adapter(ARCHITECTURES["bert"](), folder)


def test_base_revision_and_task_are_the_callers(tmp_path: Path) -> None:
    model = trained("bert", vxlab.LoRA(rank=4))
    write_peft(model, tmp_path, base_model="someone/model", revision="v2", task_type="SEQ_CLS")
    config = peft.PeftConfig.from_pretrained(str(tmp_path))
    assert (config.base_model_name_or_path, config.revision, config.task_type) == ("someone/model", "v2", "SEQ_CLS")
    theirs = loaded_by_peft("bert", tmp_path)
    assert isinstance(theirs, peft.PeftModelForSequenceClassification)
    torch.testing.assert_close(logits(theirs, "bert"), logits(model, "bert"), rtol=0, atol=1e-5)


def test_layers_of_several_ranks_are_written_with_patterns_of_their_own(tmp_path: Path, frozen_a: None) -> None:
    @vxlab.register
    @dataclass(frozen=True)
    class Narrow(vxlab.LoRA):
        """LoRA whose rank is an eighth of a layer's outputs."""

        name = "narrow"

        def trained(self, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
            rank = shape[0] // 8
            return {"A": torch.randn(rank, shape[1]), "B": torch.zeros(shape[0], rank)}

        def parameter_count(self, shape: tuple[int, int]) -> int:
            return shape[0] // 8 * sum(shape)

    model = trained("llama", Narrow(rank=1))
    assert_same_in_peft(model, "llama", write_peft(model, tmp_path, as_lora=True))
    ranks = set(vxlab.adapters.read_saved(tmp_path).ranks.values())
    assert ranks == {2, 4, 6}
    back = vxlab.load_adapter(ARCHITECTURES["llama"](), tmp_path)
    torch.testing.assert_close(logits(back, "llama"), logits(model, "llama"), rtol=0, atol=1e-5)
