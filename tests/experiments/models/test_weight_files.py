"""A model's weights, one at a time: the same from files as from memory, with adapters on it or not."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.experiments.models import weight_files
from vxlab.experiments.models.files import ModelPlace
from vxlab.experiments.models.weight_files import open_weights


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama-lm", "vit"])
@pytest.mark.parametrize("shards", ["1GB", "20KB"])
def test_files_hold_what_the_model_does(name: str, shards: str, tmp_path: Path) -> None:
    model = ARCHITECTURES[name]()
    model.save_pretrained(tmp_path, max_shard_size=shards)
    files, memory = open_weights(tmp_path), open_weights(model)
    assert files.kind == memory.kind == model.config.model_type
    assert set(files.names()) == set(memory.names())
    for name in memory.names():
        assert files.tensor(name).equal(memory.tensor(name))
    for name, module in vxlab.resolve_targets(model, "all-linear").items():
        layer = memory.plain_name(name)
        assert files.full_name(layer) == memory.full_name(layer) == name
        assert files.weight(layer, files.module(layer)).equal(linear_weight(module))
        assert type(files.module(layer)) is type(module)


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.PEFT("lora", r=2)], ids=str)
def test_adapters_leave_the_weights_what_they_are(method: vxlab.adapters.Method) -> None:
    model = ARCHITECTURES["gpt2"]()
    before = open_weights(ARCHITECTURES["gpt2"]())
    vxlab.attach(model, method, "all-linear")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    for merged in (False, True):
        if merged and isinstance(method, vxlab.LoRA):
            vxlab.merge(model)
        after = open_weights(model)
        assert set(after.names()) == set(before.names())
        for layer in (name.removesuffix(".weight") for name in before.names() if "h." in name and "ln" not in name):
            if not layer.endswith("bias"):
                module = before.module(layer)
                assert after.weight(layer, module).equal(before.weight(layer, module))
        assert after.tensor("wte.weight").equal(before.tensor("wte.weight"))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # of transformers, which peft calls
def test_a_model_that_peft_made_has_the_base_s_names() -> None:
    peft = pytest.importorskip("peft")
    base = ARCHITECTURES["bert"]()
    names = open_weights(base).names()
    settings = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"])
    model = peft.get_peft_model(base, settings)
    found = open_weights(model)
    assert set(found.names()) == set(names)
    layer = "encoder.layer.0.attention.self.query"
    assert found.weight(layer, found.module(layer)).equal(
        linear_weight(ARCHITECTURES["bert"]().get_submodule(f"bert.{layer}"))
    )
    with torch.no_grad():
        model.classifier.weight.fill_(3)
    assert open_weights(model).tensor("classifier.weight").unique().tolist() == [3]


def test_a_model_of_the_hub_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ARCHITECTURES["llama-lm"]().save_pretrained(tmp_path)
    asked = []

    def download(name: str, **settings: object) -> str:
        asked.append((name, settings["revision"]))
        return str(tmp_path)

    monkeypatch.setattr(weight_files, "find_model", lambda name: ModelPlace(name, "0a1b"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights = open_weights("someone/llama")
    assert weights.tensor("embed_tokens.weight").shape == (64, 32)
    assert asked == [("someone/llama", "0a1b")]


def test_weights_by_another_name_are_not_taken_for_the_model_s(tmp_path: Path) -> None:
    ARCHITECTURES["bert"]().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")
    with pytest.raises(vxlab.VxlabError, match="its weights cannot be read"):
        open_weights(tmp_path)
