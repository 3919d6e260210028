"""What a run trained, read back: layers and norms."""

import dataclasses

import numpy as np
import pytest
import torch
import toy_records as toy
from architectures import ARCHITECTURES, LAYERS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from vision_architectures import build

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.analysis import FullUpdate, Update
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.runs.trained import (
    LAYER_COLUMNS,
    base_weights,
    blocks_and_roles,
    full_updates,
    layer_updates,
    load_trained,
    trained_updates,
)

FAMILIES = {"lora": vxlab.LoRA(rank=3), "vera": vxlab.VeRA(rank=5), "lora_xs": vxlab.LoRAXS(rank=4)}


def _moved(model: torch.nn.Module, method: vxlab.adapters.Method, targets: str = "query-value") -> torch.nn.Module:
    """Attach a method and give its trained tensors random values, as training would."""
    vxlab.attach(model, method, targets)
    generator = torch.Generator().manual_seed(3)
    for layer in vxlab.adapted_layers(model).values():
        for parameter in layer.trained_tensors().values():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate("abcdefgh", start=3)} | {"?": 0}, "?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="?", unk_token="?")


@pytest.fixture(params=["bert", "gpt2", "llama"])
def saved(request, tmp_path):
    """A folder with a whole model and its tokenizer, as a user would name it."""
    folder = tmp_path / "base"
    ARCHITECTURES[request.param]().save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama", "vit", "distilbert"])
def test_relative_norms_are_those_of_the_dense_update(name, method):
    model = _moved(ARCHITECTURES[name](), method, "all-linear")
    weights = ARCHITECTURES[name]().state_dict()
    table = layer_updates(model)
    assert list(table.columns) == LAYER_COLUMNS
    assert list(table["layer"]) == list(vxlab.adapted_layers(model))
    for row, layer in zip(table.itertuples(), vxlab.adapted_layers(model).values(), strict=True):
        update = torch.linalg.matrix_norm(layer.delta_weight().detach().double())
        expected = float(update / torch.linalg.matrix_norm(weights[f"{row.layer}.weight"].double()))
        assert row.relative_norm == pytest.approx(expected, rel=1e-5)
        assert row.relative_norm > 0


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_and_roles_are_those_of_the_architecture(name):
    path, roles = LAYERS[name]
    table = layer_updates(vxlab.attach(ARCHITECTURES[name](), vxlab.LoRA(rank=1), "all-linear"))
    known = table[table["role"] != "other"]
    found = {layer: (block, role) for layer, block, role in known[["layer", "block", "role"]].itertuples(index=False)}
    assert found == {f"{path}.{i}.{tail}": (i, role) for i in range(2) for role, tail in roles.items()}


def test_vera_layers_show_d_and_b_and_other_families_nan():
    model = vxlab.attach(ARCHITECTURES["bert"](), vxlab.VeRA(rank=16))
    table = layer_updates(model)
    assert list(table["d_norm"]) == pytest.approx([0.1 * 4] * 4)
    assert list(table["b_norm"]) == [0] * 4
    assert list(table["relative_norm"]) == [0] * 4
    layer = next(iter(vxlab.adapted_layers(model).values()))
    layer.trained_tensors()["lambda_b"].data[:2] = torch.tensor([3.0, 4.0])
    assert layer_updates(model).loc[0, "b_norm"] == pytest.approx(5)
    for method in (FAMILIES["lora"], FAMILIES["lora_xs"]):
        norms = layer_updates(vxlab.attach(ARCHITECTURES["bert"](), method))[["d_norm", "b_norm"]]
        assert norms.isna().all(axis=None)


def test_a_layer_that_diverged_has_no_norm():
    model = _moved(ARCHITECTURES["bert"](), FAMILIES["lora"])
    next(iter(next(iter(vxlab.adapted_layers(model).values())).trained_tensors().values())).data[0] = float("inf")
    assert layer_updates(model)["relative_norm"].isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize("method", [vxlab.Head(), vxlab.Full()], ids=["head", "full"])
def test_without_adapters_the_table_is_empty_and_has_its_columns(method):
    table = layer_updates(vxlab.attach(ARCHITECTURES["bert"](), method))
    assert list(table.columns) == LAYER_COLUMNS
    assert table.empty
    assert not table["d_norm"].notna().any()


def test_a_merged_model_shows_the_same_updates():
    model = _moved(ARCHITECTURES["gpt2"](), FAMILIES["lora"])
    before = layer_updates(model)
    assert layer_updates(vxlab.merge(model)).equals(before)


def test_layers_outside_blocks_count_as_block_0_and_nested_numbers_by_the_first():
    inner = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
    model = torch.nn.ModuleDict({"stem": torch.nn.Linear(4, 4), "blocks": torch.nn.ModuleList([inner, inner[0]])})
    model["blocks"][1] = torch.nn.ModuleDict({"fc1": torch.nn.Linear(4, 4)})
    vxlab.attach(model, vxlab.LoRA(rank=1), ["stem", "blocks.0.0", "fc1"])
    table = layer_updates(model).set_index("layer")
    assert dict(table["block"]) == {"stem": 0, "blocks.0.0": 0, "blocks.1.fc1": 1}
    assert dict(table["role"]) == {"stem": "other", "blocks.0.0": "other", "blocks.1.fc1": "up"}


@pytest.mark.parametrize("method", [*FAMILIES.values(), vxlab.Head(), vxlab.Full()], ids=lambda method: method.name)
def test_a_runs_model_is_loaded_as_it_was_trained(saved, tmp_path, method):
    trained = _moved(vxlab.load_model(str(saved), 2), method)
    for parameter in trained.parameters():
        parameter.data += 0.01 * parameter.requires_grad
    record = toy.run_record(
        tmp_path / "run", np.eye(2, dtype=np.float32), np.arange(2), spec={"model": str(saved), "method": {}}
    )
    vxlab.save_adapter(trained, record.folder / "adapter")
    loaded = load_trained(record)
    assert not loaded.training
    batch = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        assert loaded(**batch).logits.equal(trained.eval()(**batch).logits)
    assert not any(layer.merged for layer in vxlab.adapted_layers(loaded).values())


def _record(saved, tmp_path, method):
    """Return a record of a run whose tensors were moved by chance, and its model."""
    model = _moved(vxlab.load_model(str(saved), 2), method)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape) * parameter.requires_grad
    spec = {"model": str(saved), "method": {"name": method.name}}
    record = toy.run_record(tmp_path / "run", np.eye(2, dtype=np.float32), np.arange(2), spec=spec)
    vxlab.save_adapter(model, record.folder / "adapter")
    return record, model


@pytest.mark.parametrize("method", FAMILIES.values(), ids=FAMILIES)
def test_trained_updates_are_the_factors_of_every_layer(saved, tmp_path, method):
    record, model = _record(saved, tmp_path, method)
    updates = trained_updates(record)
    assert list(updates) == list(vxlab.adapted_layers(model))
    for name, update in updates.items():
        assert update.left.dtype == update.right.dtype == torch.float64
        assert not update.left.requires_grad
        torch.testing.assert_close(update.to_matrix().float(), model.get_submodule(name).delta_weight().detach())


def test_updates_of_a_method_of_peft_are_what_its_layers_add(saved, tmp_path):
    pytest.importorskip("peft")
    for config, kind in (("lora", Update), ("dora", FullUpdate)):
        record, model = _record(saved, tmp_path / config, vxlab.PEFT(config, r=2))
        updates = trained_updates(record)
        assert list(updates) == list(vxlab.resolve_targets(vxlab.load_model(str(saved), 2), "query-value"))
        table = layer_updates(load_trained(record)).set_index("layer")
        for name, update in updates.items():
            wrapped = model.get_submodule(name)
            before = linear_weight(wrapped.base_layer).double()
            wrapped.merge()
            added = linear_weight(wrapped.base_layer).double() - before
            assert type(update) is kind
            torch.testing.assert_close(update.to_matrix(), added, rtol=0, atol=1e-6)
            assert table.loc[name, "relative_norm"] == pytest.approx(float(added.norm() / before.norm()), rel=1e-3)


def test_full_updates_are_what_was_added_to_the_weights(saved, tmp_path):
    record, model = _record(saved, tmp_path, vxlab.Full())
    before, updates = base_weights(record), full_updates(record)
    assert list(updates) == list(before) == list(vxlab.resolve_targets(model, "all-linear"))
    for name, update in updates.items():
        moved = model.get_submodule(name).weight
        after = moved.T if type(model.get_submodule(name)).__name__ == "Conv1D" else moved
        torch.testing.assert_close(before[name].double() + update.to_matrix(), after.detach().double(), rtol=0, atol=0)
        assert update.norm() > 0


@pytest.mark.parametrize(
    ("method", "read", "message"),
    [
        (vxlab.Full(), trained_updates, r"\(full\) trained no adapter on layers; .* take full_updates"),
        (vxlab.LoRA(rank=2), full_updates, "is of lora; give a run of Full.* take trained_updates"),
    ],
)
def test_updates_of_the_other_kind_are_refused(saved, tmp_path, method, read, message):
    record, _ = _record(saved, tmp_path, method)
    with pytest.raises(vxlab.VxlabError, match=message):
        read(record)


def test_a_full_run_whose_base_has_changed_is_refused(saved, tmp_path):
    record, _ = _record(saved, tmp_path, vxlab.Full())
    record = dataclasses.replace(record, identity={"model": model_fingerprint(str(saved))})
    assert full_updates(record)
    other = vxlab.load_model(str(saved), 2)
    for parameter in other.base_model.parameters():
        parameter.data *= 1.5
    other.base_model.save_pretrained(saved)
    for read in (full_updates, base_weights, load_trained):
        with pytest.raises(vxlab.VxlabError, match=r"trained on another base: .* has other weights now"):
            read(record)


def test_a_layer_without_a_number_or_a_known_role_has_its_place():
    assert blocks_and_roles(["pooler.dense"]) == {"pooler.dense": (0, "other")}


@pytest.mark.parametrize("name", ["swin", "convnext"])
def test_blocks_in_stages_are_numbered_through(name):
    table = layer_updates(vxlab.attach(build(name), vxlab.LoRA(rank=2), "mlp"))
    assert table["block"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["role"].tolist() == ["up", "down"] * 3


@pytest.mark.parametrize(("name", "last"), [("swin", r".*s\.1\.blocks.*fc1"), ("convnext", r".*s\.1.*pwconv1")])
def test_blocks_before_those_that_are_adapted_count(name, last):
    table = layer_updates(vxlab.attach(build(name), vxlab.LoRA(rank=2), last))
    every = layer_updates(vxlab.attach(build(name), vxlab.LoRA(rank=2), "mlp")).set_index("layer")["block"]
    assert table["block"].min() > 0
    assert table["block"].tolist() == every[table["layer"]].tolist()


def test_another_base_under_the_same_name_is_refused(tmp_path):
    folder = tmp_path / "base"
    model = ARCHITECTURES["bert"]()
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    record = toy.run_record(tmp_path / "run", np.eye(2, dtype=np.float32), np.arange(2), spec={"model": str(folder)})
    vxlab.save_adapter(_moved(vxlab.load_model(str(folder), 2), FAMILIES["vera"]), record.folder / "adapter")
    model.bert.encoder.layer[0].output.dense.weight.data[0, 0] += 1
    model.save_pretrained(folder)
    with pytest.raises(vxlab.VxlabError, match="was trained on another base"):
        load_trained(record)
