"""Models by name or folder: a pretrained backbone and a new head, or clear words for what is lacking."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import classifiers
import pytest
import torch
import toy_runs
import transformers
from architectures import ARCHITECTURES, HEADS, TEXT
from safetensors.torch import load_file, save_file

import vxlab
from vxlab.adapters.placement.targets import head_parameters
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.models import files as model_files
from vxlab.experiments.models import load as models
from vxlab.experiments.models.files import ModelPlace, model_fingerprint, quiet_transformers
from vxlab.experiments.models.load import (
    copy_with_new_head,
    load_tokenizer,
    loading_of,
)
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.trainer import parameter_groups


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
    classifiers.tokenizer(pad=0).save_pretrained(folder)
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


@pytest.fixture
def without_pooler(tmp_path: Path) -> str:
    """Return the folder of a BERT saved as a language model."""
    torch.manual_seed(0)
    return _save(tmp_path / "mlm", transformers.BertForMaskedLM(transformers.BertConfig(**TEXT)))


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.Full(), vxlab.Head(), vxlab.BitFit()])
def test_a_pooler_that_the_weights_lack_trains_and_is_saved_with_the_head(
    method: vxlab.adapters.Method, without_pooler: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = vxlab.attach(vxlab.load_model(without_pooler, 2), method)
    pooler = model.bert.pooler.dense
    assert set(head_parameters(model)) == {
        f"{layer}.{kind}" for layer in ("bert.pooler.dense", "classifier") for kind in ("weight", "bias")
    }
    assert vxlab.trainable_parameters(model).head == 32 * 32 + 32 + 2 * 32 + 2
    assert pooler.weight.requires_grad
    rates = {id(p): group["lr"] for group in parameter_groups(model, 1e-3, 1e-2, 0.0) for p in group["params"]}
    assert rates[id(pooler.weight)] == rates[id(pooler.bias)] == 1e-2
    saved = vxlab.save_adapter(model, tmp_path / "adapter")
    torch.manual_seed(2)
    again = vxlab.load_adapter(vxlab.load_model(without_pooler, 2), saved)
    batch = load_tokenizer(without_pooler)(list(classifiers.TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert torch.equal(again.bert.pooler.dense.weight, pooler.weight)


def test_a_new_pooler_is_no_target_and_the_weights_own_one_is_no_head(without_pooler: str, tiny_model: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"'pooler\.dense' is in the task head of BertForSequenceClassification"):
        vxlab.attach(vxlab.load_model(without_pooler, 2), vxlab.LoRA(rank=2), targets="pooler.dense")
    whole = vxlab.load_model(tiny_model, 2)
    assert set(head_parameters(whole)) == {"classifier.weight", "classifier.bias"}
    assert vxlab.adapted_layers(vxlab.attach(whole, vxlab.LoRA(rank=2), targets="pooler.dense"))


def test_a_copys_new_pooler_is_drawn_anew(without_pooler: str) -> None:
    base = vxlab.load_model(without_pooler, 2)
    torch.manual_seed(3)
    copied = copy_with_new_head(base)
    torch.manual_seed(3)
    loaded = vxlab.load_model(without_pooler, 2)
    assert all(map(torch.equal, copied.parameters(), loaded.parameters()))


def test_what_loading_does_otherwise_than_the_files_say_is_in_the_key(
    without_pooler: str, tiny_model: str, toy_task: str, folder: Path
) -> None:
    assert [loading_of(name, 2) for name in (tiny_model, "minilm")] == ["", ""]
    identity = Materials().job(toy_runs.spec(tiny_model, toy_task)).identity
    assert identity.keys() == {"model", "task", "precision", "vxlab"}
    assert loading_of(without_pooler, 2) == "new bert.pooler.dense.bias bert.pooler.dense.weight"
    config = json.loads((folder / "config.json").read_text())
    for changed, told in (
        ({"pad_token_id": 3}, "padding 0"),
        ({"problem_type": "regression"}, "single_label_classification"),
        ({"problem_type": "single_label_classification"}, ""),
        ({"pad_token_id": None}, ""),
    ):
        (folder / "config.json").write_text(json.dumps(config | changed))
        assert loading_of(str(folder), 2) == told
        assert Materials().job(toy_runs.spec(str(folder), toy_task)).identity.get("loading", "") == told
    before = torch.get_rng_state()
    loading_of(str(folder), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("saved", ["regression", "multi_label_classification", "single_label_classification"])
def test_the_loss_is_the_tasks_whatever_the_config_was_saved_for(saved: str, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": saved}))
    batch = load_tokenizer(str(folder))(["good", "bad film"], padding=True, return_tensors="pt")
    for labels, task in ((torch.tensor([2, 0]), 3), (torch.tensor([0.5, -1.0]), 1)):
        model = vxlab.load_model(str(folder), task)
        told = model(**batch, labels=labels)
        meant = torch.nn.functional.cross_entropy if task > 1 else torch.nn.functional.mse_loss
        assert torch.allclose(told.loss, meant(told.logits.squeeze(-1), labels))


def test_the_config_names_the_tasks_classes(tiny_model: str, toy_task: str) -> None:
    for materials in (Materials(), Materials(reuse=False)):
        config = materials.model(toy_runs.spec(tiny_model, toy_task)).config
        assert (config.id2label, config.label2id) == ({0: "bad", 1: "good"}, {"bad": 0, "good": 1})


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


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("pad_token_id", 10**6, "AssertionError: Padding_idx must be within"),
        ("hidden_size", "32", "hidden_size"),
        ("auto_map", None, "TypeError: argument of type 'NoneType'"),
    ],
)
def test_a_config_that_transformers_cannot_use_is_refused_in_one_line(
    setting: str, value: object, message: str, folder: Path
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: value}))
    with pytest.raises(vxlab.VxlabError, match=rf"^model='.*mine' cannot be loaded: .*{message}") as caught:
        vxlab.load_model(str(folder), 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("minilm", -1, "num_labels=-1 is not a number of classes; choose 2 or more, 1 for regression, or 0 for a"),
        ("minilm", "2", "num_labels='2' is a text; it must be a whole number: write num_labels=2, without quotes"),
        (None, 2, "model=None is a NoneType; it must be a text"),
        ("0a" * 32, 0, "model='(0a){32}' is like a run's key; give the run's record, vxlab.Store"),
    ],
)
def test_a_model_is_a_name_and_a_number_of_labels(name: Any, labels: Any, message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=f"^{message}"):
        vxlab.load_model(name, labels)


def test_a_folder_may_be_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert vxlab.load_model(folder, 2).config.num_labels == 2  # type: ignore[arg-type]
    with pytest.raises(vxlab.VxlabError, match=r"^model='.*/no' cannot be loaded: "):
        vxlab.load_model(folder / "no", 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minilmm", "did you mean 'minilm'? (packaged: dinov2s, minilm, mpnet, smollm2)"),
        ("zzz", "packaged: dinov2s, minilm, mpnet, smollm2"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    with pytest.raises(vxlab.VxlabError) as caught:
        vxlab.load_model(name, 2)
    assert str(caught.value).startswith(f"model={name!r} cannot be loaded: ")
    assert str(caught.value).endswith(f"; {hint}")
    assert "\n" not in str(caught.value)


def test_a_folder_may_start_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert model_fingerprint("~/mine") == model_fingerprint(str(folder))
    assert vxlab.load_model("~/mine", 2).num_labels == 2


def test_the_packaged_models_keep_their_fingerprints() -> None:
    # Every run that users have is kept under these.
    known = "09c360e9429a780f6942b4622e2007bb93830f65028a13f6a6ed2cff46ca0a76"
    assert model_fingerprint("minilm") == known


@pytest.mark.parametrize(
    "file",
    ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
     "special_tokens_map.json"],
)  # fmt: skip
def test_what_decides_the_numbers_is_in_the_fingerprint(file: str, folder: Path) -> None:
    before = model_fingerprint(str(folder))
    path = folder / file
    path.write_bytes((path.read_bytes() if path.exists() else b"{}") + b" ")
    assert model_fingerprint(str(folder)) != before


@pytest.mark.parametrize(
    "file", ["README.md", "chat_template.jinja", "generation_config.json", "spiece.model", "x.index"]
)
def test_what_decides_no_number_is_not_in_the_fingerprint(file: str, folder: Path) -> None:
    before, reads = model_fingerprint(str(folder)), load_tokenizer(str(folder))("A lovely film")
    (folder / file).write_text("{}")
    assert model_fingerprint(str(folder)) == before
    assert load_tokenizer(str(folder))("A lovely film") == reads
    assert vxlab.load_model(str(folder), 2) is not None


def test_vocabularies_of_any_name_count_where_there_is_no_tokenizer_json(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_text("one")  # of ALBERT, T5 and XLNet
    before = model_fingerprint(str(folder))
    (folder / "spiece.model").write_text("two")
    assert model_fingerprint(str(folder)) != before


def test_weights_in_several_files_are_taken_and_their_index_counts(folder: Path) -> None:
    whole, before = load_file(folder / "model.safetensors"), model_fingerprint(str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "below").mkdir()
    parts = {"a.safetensors": sorted(whole)[::2], "below/b.safetensors": sorted(whole)[1::2]}
    for part, keys in parts.items():
        save_file({key: whole[key] for key in keys}, folder / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: part for part, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = [model_fingerprint(str(folder))]
    loaded = vxlab.load_model(str(folder), 2).base_model.state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in loaded.items())
    save_file({key: whole[key] + 1 for key in parts["below/b.safetensors"]}, folder / "below" / "b.safetensors")
    found.append(model_fingerprint(str(folder)))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index | {"metadata": {"total_size": 1}}))
    found.append(model_fingerprint(str(folder)))
    assert len({before, *found}) == 4


def test_an_adapter_beside_the_base_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    for load in (lambda name: vxlab.load_model(name, 2), load_tokenizer, model_fingerprint):
        with pytest.raises(
            vxlab.VxlabError, match=r"holds adapter_config\.json, an adapter that transformers would put"
        ):
            load(str(folder))


def test_code_that_comes_with_a_model_is_refused_and_transformers_own_is_taken(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    theirs = {"AutoConfig": "configuration_bert.BertConfig", "AutoTokenizer": ["tokenization_bert.BertTokenizer", None]}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": theirs}))
    assert vxlab.load_model(str(folder), 2).num_labels == 2
    own = theirs | {"AutoModel": "modeling_bert.JinaBertModel"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": own}))
    with pytest.raises(
        vxlab.VxlabError, match=r"brings code of its own \(JinaBertModel\), which is not run, and transf"
    ):
        vxlab.load_model(str(folder), 2)


def test_an_adapter_that_only_loading_finds_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import LoraConfig

    with quiet_transformers():
        base = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
        base.add_adapter(LoraConfig(r=2, target_modules=["query"]))
        base.save_pretrained(folder)
    assert (folder / "adapter_config.json").exists()
    monkeypatch.setattr(models, "find_model", lambda name: ModelPlace(str(folder)))  # as on the hub
    with pytest.raises(vxlab.VxlabError, match="model='org/name' is an adapter on another model, not a base; name the"):
        vxlab.load_model("org/name", 2)


def test_a_hub_ids_commit_is_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(_commit_hash="c0ffee", auto_map=None)
    monkeypatch.setattr(model_files, "read_config", lambda *_: config)
    assert model_fingerprint("org/name") == model_files.find_model("org/name").commit == "c0ffee"
    config._commit_hash = None
    with pytest.raises(
        vxlab.VxlabError, match="model='org/name': the hub names no commit of it; download it, and name"
    ):
        model_fingerprint("org/name")


def test_a_checkpoint_says_whether_it_writes(tiny_model: str, tiny_writer: str) -> None:
    assert models.usual_labels(tiny_writer) == 0
    assert models.usual_labels(tiny_model) == 2
