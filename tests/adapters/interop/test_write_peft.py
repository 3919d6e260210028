"""Adapters written as folders of the peft library's: the same logits there, with every tensor used."""

import json
from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import loaded_by_peft, logits, save_trained
from safetensors.torch import load_file
from torch import nn
from toy_checkpoints import trained

import vxlab
from vxlab.adapters import Family, write_peft

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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "lora_dropout": 0.25}], ids=["plain", "rslora"])
def test_what_peft_wrote_comes_back_as_it_was(name: str, settings: dict[str, object], tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **settings)  # type: ignore[arg-type]
    save_trained(tmp_path / "theirs", name, config)
    model = vxlab.load_adapter(ARCHITECTURES[name](), tmp_path / "theirs")
    write_peft(model, tmp_path / "back")
    before, after = (load_file(tmp_path / each / "adapter_model.safetensors") for each in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    one, other = (json.loads((tmp_path / each / "adapter_config.json").read_text()) for each in ("theirs", "back"))
    assert {key: one[key] for key in other if key not in ("target_modules", "auto_mapping")} == {
        key: value for key, value in other.items() if key not in ("target_modules", "auto_mapping")
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", OWN[:2] + OWN[3:4], ids=str)
def test_what_vxlab_wrote_comes_back_as_it_was(name: str, method: Family, tmp_path: Path) -> None:
    model = trained(name, method)
    back = vxlab.load_adapter(ARCHITECTURES[name](), write_peft(model, tmp_path))
    assert torch.equal(logits(back, name), logits(model, name))
    assert vxlab.trainable_parameters(back) == vxlab.trainable_parameters(model)
