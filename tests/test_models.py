"""Models by name or folder: a pretrained backbone and a new head, or clear words for what is lacking."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from architectures import ARCHITECTURES, HEADS, TEXT
from safetensors.torch import load_file, save_file

import vxlab
from vxlab.adapters.targets import head_parameters
from vxlab.experiments import assets
from vxlab.experiments.models import load_tokenizer, model_source, quiet_transformers


@pytest.fixture
def folder(tiny_model: str, tmp_path: Path) -> Path:
    """Return a copy of the tiny model's folder, to spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "mine"))


def test_minilm_has_its_own_weights_and_a_new_head() -> None:
    torch.manual_seed(3)
    model = vxlab.load_model("minilm", num_labels=3)
    stored = load_file(Path(assets.fetch("minilm")) / "model.safetensors")
    backbone = model.base_model.state_dict()
    assert set(backbone) <= set(stored)
    assert all(torch.equal(tensor, stored[name].float()) for name, tensor in backbone.items())
    assert model.classifier.weight.shape == (3, 384)
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_head_comes_from_torchs_generator(tiny_model: str) -> None:
    def head(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return vxlab.load_model(tiny_model, 2).classifier.weight

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def test_loading_is_quiet_and_leaves_transformers_settings(tiny_model: str, capfd: pytest.CaptureFixture[str]) -> None:
    level = transformers.logging.get_verbosity()
    vxlab.load_model(tiny_model, 2)
    load_tokenizer(tiny_model)
    assert capfd.readouterr() == ("", "")
    assert transformers.logging.get_verbosity() == level
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_half_precision_weights_load_in_float32(folder: Path) -> None:
    stored = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"})
    )
    assert {p.dtype for p in vxlab.load_model(str(folder), 2).parameters()} == {torch.float32}


def _save(folder: Path, model: transformers.PreTrainedModel) -> str:
    with quiet_transformers():
        model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "distilbert", "deberta-v2", "gpt2", "llama"])
def test_every_architecture_gets_a_new_head_of_the_size_asked_for(name: str, folder: Path) -> None:
    backbone = ARCHITECTURES[name]().base_model
    (folder / "model.safetensors").unlink()
    model = vxlab.load_model(_save(folder, backbone), num_labels=5)
    assert model.num_labels == 5
    assert model.config.pad_token_id is not None
    assert {key.rpartition(".")[0] for key in head_parameters(model)} == set(HEADS[name])
    loaded = model.base_model.state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in backbone.state_dict().items())


def test_a_head_for_other_labels_is_replaced_and_one_of_this_size_is_kept(folder: Path) -> None:
    config = transformers.BertConfig(**TEXT, num_labels=3)
    trained = transformers.BertForSequenceClassification(config)
    path = _save(folder, trained)
    assert vxlab.load_model(path, 2).classifier.weight.shape == (2, 32)
    assert torch.equal(vxlab.load_model(path, 3).classifier.weight, trained.classifier.weight)


def test_a_language_model_without_pooler_is_taken(folder: Path) -> None:
    path = _save(folder, transformers.BertForMaskedLM(transformers.BertConfig(**TEXT)))
    assert vxlab.load_model(path, 2).num_labels == 2


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"pad_token": None, "eos_token": "[SEP]"}
    path.write_text(json.dumps(settings))
    assert load_tokenizer(str(folder)).pad_token == "[SEP]"


def _empty(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def test_a_folder_says_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    _empty(folder, "tokenizer*")
    with pytest.raises(vxlab.VxlabError, match=r"mine' holds no tokenizer \(tokenizer.json, .*; save it there too"):
        vxlab.load_model(str(folder), 2)
    _empty(folder, "*.safetensors")
    with pytest.raises(vxlab.VxlabError, match=r"mine' holds no weights; save it with save_pretrained"):
        vxlab.load_model(str(folder), 2)
    torch.save({}, folder / "pytorch_model.bin")
    message = r"mine' holds only pickled weights \(pytorch_model.bin\), which are not loaded; save it with save_pretr"
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.load_model(str(folder), 2)
    _empty(folder, "config.json")
    with pytest.raises(vxlab.VxlabError, match=r"mine' is a folder without config.json; name one written by save_"):
        load_tokenizer(str(folder))


def test_weights_cut_short_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(vxlab.VxlabError, match=r"model='.*mine' cannot be loaded: .*incomplete metadata"):
        vxlab.load_model(str(folder), 2)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_broken_json_is_refused(folder: Path, file: str) -> None:
    (folder / file).write_text("{")
    with pytest.raises(vxlab.VxlabError, match=r"model='.*mine' cannot be loaded: ") as caught:
        vxlab.load_model(str(folder), 2) if file == "config.json" else load_tokenizer(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    # transformers would fill in random weights, and every method would then be compared on noise.
    save_file({"encoder.weight": torch.zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(vxlab.VxlabError, match=r"mine': its weights lack 'bert\.\S+ \(and 36 more\)"):
        vxlab.load_model(str(folder), 2)


def test_weights_of_another_width_are_refused(folder: Path) -> None:
    _save(folder / "wide", transformers.BertModel(transformers.BertConfig(**TEXT | {"hidden_size": 40})))
    shutil.copy(folder / "wide" / "model.safetensors", folder)
    with pytest.raises(vxlab.VxlabError, match="have them in another shape; name a model whose weights and config"):
        vxlab.load_model(str(folder), 2)


def test_a_number_of_labels_is_one_or_more(tiny_model: str) -> None:
    with pytest.raises(vxlab.VxlabError, match="num_labels=0 is not a number of classes; choose 2 or more, or 1"):
        vxlab.load_model(tiny_model, 0)


@pytest.mark.parametrize(("name", "hint"), [("minilmm", "did you mean 'minilm'? "), ("zzz", "")])
def test_a_misspelt_name_is_told_the_nearest(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    with pytest.raises(vxlab.VxlabError) as caught:
        vxlab.load_model(name, 2)
    assert str(caught.value).startswith(f"model={name!r} cannot be loaded: {hint}Packaged: minilm, mpnet. ")
    assert "\n" not in str(caught.value)


def test_a_folder_may_start_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert model_source("~/mine").fingerprint == model_source(str(folder)).fingerprint
    assert vxlab.load_model("~/mine", 2).num_labels == 2
