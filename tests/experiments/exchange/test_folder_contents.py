"""What a folder holds is told of its files alone, and never guessed."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import exported
import pytest
import torch
from architectures import ARCHITECTURES
from safetensors.torch import load_file, save_file

import vxlab
from vxlab.experiments import method_label
from vxlab.experiments.record import RunRecord

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PATTERNS = {"alpha_pattern": {"q_proj": 1}, "rank_pattern": {"q_proj": 2}}


def norms(model: torch.nn.Module) -> dict[str, float]:
    """Return ‖ΔW‖_F of the whole product, by layer."""
    return {
        name: float(layer.delta_weight().detach().double().norm())
        for name, layer in vxlab.adapted_layers(model).items()
    }


def assert_tells(found: Any, model: torch.nn.Module) -> None:
    rows = {row["layer"]: row for row in found.layers.to_dict("records")}
    layers = vxlab.adapted_layers(model)
    assert list(rows) == list(layers)
    for name, layer in layers.items():
        assert (rows[name]["out"], rows[name]["in"]) == layer.shape
        assert rows[name]["trained"] == sum(each.numel() for each in layer.trained_tensors().values())
    assert {name: row["norm"] for name, row in rows.items()} == pytest.approx(norms(model), rel=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        vxlab.LoRA(rank=4, alpha=3),
        vxlab.LoRA(rank=2, alpha=3, rank_stabilised=True),
        vxlab.LoRA(rank=2, trains="B"),
        vxlab.VeRA(rank=8, seed=2),
        vxlab.VeRA(rank=8, unique=True),
        vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
    ],
    ids=str,
)
@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
def test_an_adapter_of_ours_tells_its_layers_where_their_shapes_are_known(
    method: Any, targets: str, tiny_writer: str, tmp_path: Path
) -> None:
    model = exported.attach_stirred(tiny_writer, 0, method, targets)
    vxlab.save_adapter(model, tmp_path)
    found = vxlab.inspect_folder(tmp_path, base=tiny_writer)
    assert found.kind == "an adapter of vxlab's"
    assert_tells(found, model)
    without = vxlab.inspect_folder(tmp_path)
    assert list(without.layers["layer"]) == list(vxlab.adapted_layers(model))
    assert without.layers["norm"].isna().all()
    assert ("note" in without.facts) is (not isinstance(method, vxlab.LiDB))  # whose tensors are of one shape


@pytest.mark.parametrize("kind", [vxlab.LoRA, vxlab.VeRA])
def test_ranks_by_layer_are_each_in_its_row(kind: Any, tiny_model: str, tmp_path: Path) -> None:
    layers = vxlab.resolve_targets(vxlab.load_model(tiny_model, 2), "all-linear")
    method = kind(rank={name: 1 + number % 3 for number, name in enumerate(layers)})
    model = exported.attach_stirred(tiny_model, 2, method, "all-linear")
    vxlab.save_adapter(model, tmp_path)
    found = vxlab.inspect_folder(tmp_path, base=tiny_model)
    assert_tells(found, model)
    assert list(found.layers["rank"]) == [each.family.r for each in vxlab.adapted_layers(model).values()]
    assert found.facts["rank"] == "1, 2, 3"
    assert found.facts["method"] == method_label(method)
    assert f'"rank": "of {len(layers)} names"' in found.facts["settings"]


def test_layers_of_one_shape_need_no_base(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=4))
    vxlab.detach(model)
    vxlab.attach(model, vxlab.LoRA(rank=4), "query-value")
    vxlab.save_adapter(exported.stir(model), tmp_path)
    assert_tells(vxlab.inspect_folder(tmp_path), model)
    held = "1,024 of the adapter, 66 of the head and other weights"
    assert vxlab.inspect_folder(tmp_path).facts["numbers held"] == held


def test_what_follows_from_the_bases_weights_is_not_told(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRAXS(rank=4), "query-value")
    vxlab.save_adapter(model, tmp_path)
    found = vxlab.inspect_folder(tmp_path, base=tiny_model)
    assert set(found.layers["rank"]) == {4}
    assert set(found.layers["trained"]) == {16}
    assert found.layers["norm"].isna().all()


def test_a_run_tells_its_base_and_its_score(classifier: RunRecord, writer: RunRecord) -> None:
    for run in (classifier, writer):
        for folder in (run.folder, run.folder / "adapter"):
            found = vxlab.inspect_folder(folder)
            assert found.kind == "a run of vxlab's"
            assert found.facts["run"] == run.key
            assert found.facts["base"] == f"{run.spec['model']}, {run.identity['model']}"
            assert len(found.layers) == run.layers
            assert found.layers["norm"].notna().all()


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, PATTERNS])
def test_a_lora_of_pefts_tells_its_updates(settings: dict[str, Any], tmp_path: Path) -> None:
    import peft

    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights=False, **settings
    )
    model: Any = peft.get_peft_model(ARCHITECTURES["llama-lm"](), config)
    model.save_pretrained(tmp_path)
    found = vxlab.inspect_folder(tmp_path)
    assert found.kind == "an adapter in PEFT's format"
    assert found.facts["method"].startswith("LoRA r=4")
    assert len(found.layers) == 4
    for row in found.layers.to_dict("records"):
        layer = model.base_model.model.get_submodule(row["layer"])
        delta = layer.get_delta_weight("default").detach().double()
        assert (row["out"], row["in"]) == tuple(delta.shape)
        assert row["norm"] == pytest.approx(float(delta.norm()), rel=1e-5)
        assert row["rank"] == layer.r["default"]


def test_what_a_magnitude_or_a_seed_decides_is_not_told(tmp_path: Path) -> None:
    import peft

    for name, config in {
        "DoRA": peft.LoraConfig(r=4, use_dora=True, target_modules=["q_proj"]),
        "VeRA": peft.VeraConfig(r=4, target_modules=["q_proj"], projection_prng_key=1),
        "LoHa": peft.LoHaConfig(r=4, target_modules=["q_proj"]),
    }.items():
        peft.get_peft_model(ARCHITECTURES["llama-lm"](), config).save_pretrained(tmp_path / name)
        found = vxlab.inspect_folder(tmp_path / name)
        assert found.facts["method"].startswith(f"{name} r=4")
        assert list(found.layers["layer"]) == [f"model.layers.{block}.self_attn.q_proj" for block in (0, 1)]
        assert found.layers["norm"].isna().all()
        assert (found.layers["trained"] > 0).all()


@pytest.mark.parametrize("key", ["{}_lora_latent_mapping.weight", "{}.default_lora_latent_mapping.weight"])
def test_a_released_lora_xs_folder_is_told_by_its_keys(key: str, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    A, B, R = (torch.randn(shape, generator=draw) for shape in ((4, 32), (16, 4), (4, 4)))
    layer = "base_model.model.model.layers.0.self_attn.k_proj"
    tensors = {f"{layer}.lora_A.weight": A, f"{layer}.lora_B.weight": B, key.format(layer): R}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["k_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    found = vxlab.inspect_folder(tmp_path)
    assert found.kind == "a LoRA-XS adapter as its released code writes it"
    (row,) = found.layers.to_dict("records")
    assert (row["layer"], row["out"], row["in"], row["rank"], row["trained"]) == (layer[17:], 16, 32, 4, 16)
    assert row["norm"] == pytest.approx(4 * float((B @ R @ A).double().norm()), rel=1e-5)


def test_a_whole_model_is_told_by_its_headers(classifier: RunRecord, tiny_model: str, tmp_path: Path) -> None:
    found = vxlab.inspect_folder(vxlab.export_adapter(classifier, tmp_path / "out", format="merged", dtype="bfloat16"))
    assert found.kind == "a whole model"
    assert found.facts["labels"] == "bad, good"
    assert found.facts["precision"] == "BF16"
    assert found.facts["exported by"] == f"vxlab {vxlab.__version__}, as merged, of LoRA r=4, from run {classifier.key}"
    rows = {row["layer"]: (row["out"], row["in"]) for row in found.layers.to_dict("records")}
    assert rows["bert.encoder.layer.*.intermediate.dense (2)"] == (48, 32)
    held = sum(each.numel() for each in load_file(Path(tiny_model) / "model.safetensors").values())
    assert vxlab.inspect_folder(tiny_model).facts["numbers held"] == f"{held:,}"


def test_what_is_none_of_these_is_refused(classifier: RunRecord, tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file.replace("__", ".")).write_text(text)
        return tmp_path / name

    several = folder("several")
    (folder("several/one") / "adapter_config.json").write_text("{}")
    damaged = shutil.copytree(classifier.folder, tmp_path / "run")
    (damaged / "record.json").write_text("{}")
    lora = '{"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["q"]}'
    refused: list[tuple[Any, str]] = [
        (tmp_path / "none", "is no folder"),
        (folder("empty"), "holds neither a run's record.json, adapter.json"),
        (several, "holds 1 adapters in folders of their own: one"),
        (damaged, "record.json is damaged, or of another version"),
        (folder("a", adapter_config__json="{"), "adapter_config.json is damaged"),
        (folder("b", adapter_config__json="[]"), "names no method"),
        (folder("c", adapter_config__json=lora), "adapter_model.safetensors"),
        (folder("d", adapter_config__json=lora, adapter_model__bin=""), "adapter_model.bin"),
        (folder("e", adapter_config__json=lora, adapter_model__safetensors="x"), "is cut short or damaged"),
        (folder("f", config__json="{}"), "holds config.json and no safetensors"),
        (folder("g", config__json="{", model__safetensors=""), "config.json is damaged"),
        (folder("h", config__json="{}", model__safetensors="x"), "model.safetensors cannot be read"),
        (folder("i", adapter__json="{}"), "is not a vxlab adapter"),
    ]
    for given, message in refused:
        with pytest.raises(vxlab.VxlabError, match=message):
            vxlab.inspect_folder(given)


def test_values_that_are_not_finite_have_no_norm(tiny_model: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(tiny_model, 2, vxlab.LoRA(rank=4), "query-value")
    next(iter(vxlab.adapted_layers(model).values())).trained_tensors()["A"].data.fill_(math.inf)
    vxlab.save_adapter(model, tmp_path)
    assert vxlab.inspect_folder(tmp_path).layers["norm"].isna().tolist() == [True, False, False, False]
