"""Whether a model is the base that an adapter names: by the weights in a folder, else by its name alone."""

import shutil
from pathlib import Path

import peft
import pytest
import torch
from architectures import ARCHITECTURES
from foreign_folders import as_peft_warns, save_trained, say
from safetensors.torch import load_file, save_file
from toy_checkpoints import assert_refused

import vxlab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_trained(tmp_path / "adapter", "bert", peft.LoraConfig(r=4, target_modules=["query"]))
    return tmp_path / "adapter"


def test_the_weights_in_a_folder_tell_another_base(folder: Path, tmp_path: Path) -> None:
    base = ARCHITECTURES["bert"]()
    base.save_pretrained(tmp_path / "base")
    say(folder, base_model_name_or_path=str(tmp_path / "base"))
    vxlab.load_adapter(ARCHITECTURES["bert"](), folder)
    vxlab.load_adapter(ARCHITECTURES["bert"]().bfloat16(), folder)
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        other.bert.encoder.layer[0].attention.self.query.weight[0, 0] += 0.01
    assert_refused(other, folder, r"`bert.encoder.layer.0.attention.self.query` is another than this")


def test_a_backbone_alone_is_compared_too(folder: Path, tmp_path: Path) -> None:
    ARCHITECTURES["bert"]().bert.save_pretrained(tmp_path / "base")
    say(folder, base_model_name_or_path=str(tmp_path / "base"))
    other = ARCHITECTURES["bert"]()
    with torch.no_grad():
        other.bert.encoder.layer[0].attention.self.query.weight[0, 0] += 0.01
    assert_refused(other, folder, "load the model from there")


def test_another_name_is_a_warning_and_the_same_none(folder: Path) -> None:
    say(folder, base_model_name_or_path="Someone/A-Model")
    model = ARCHITECTURES["bert"]()
    model.config.name_or_path = "mirror/a-model"
    vxlab.detach(vxlab.load_adapter(model, folder))
    model.config.name_or_path = "another/model"
    with pytest.warns(UserWarning, match="was trained on Someone/A-Model, and this model is another/model"):
        vxlab.load_adapter(model, folder)


def test_packed_weights_in_a_folder_are_others_than_these(folder: Path, tmp_path: Path) -> None:
    base = ARCHITECTURES["bert"]()
    base.save_pretrained(tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    packed = {name: each.to(torch.int8) if each.ndim == 2 else each for name, each in load_file(path).items()}
    save_file(packed, path, metadata={"format": "pt"})  # as 8-bit layers are saved, in their own shape
    say(folder, base_model_name_or_path=str(tmp_path / "base"))
    assert_refused(ARCHITECTURES["bert"](), folder, "or is quantised there; load the model from there")


def test_a_quantised_model_from_another_folder_is_a_warning(tiny_model: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = vxlab.load_model(tiny_model, 2, "nf4")
    config = peft.LoraConfig(r=4, target_modules=["query"], modules_to_save=["classifier"])
    with as_peft_warns():
        peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    folder = say(tmp_path / "adapter", base_model_name_or_path=tiny_model)
    assert vxlab.adapted_layers(vxlab.load_adapter(vxlab.load_model(tiny_model, 2, "nf4"), folder))
    other = str(shutil.copytree(tiny_model, tmp_path / "other"))
    with pytest.warns(UserWarning, match=r"and this model is .*other; unless the two have the same weights"):
        vxlab.load_adapter(vxlab.load_model(other, 2, "nf4"), folder)
