"""Two models' weights beside each other, from their files or in memory, held against whole matrices."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from safetensors.torch import load_file, save_file
from torch import nn

import vxlab
from vxlab.adapters.core import linear_weight
from vxlab.experiments.models import weight_files
from vxlab.studies.updates import compare_weights
from vxlab.views.explorers.updates import explore_updates

NAMES = ("bert", "roberta", "distilbert", "deberta", "gpt2", "llama", "llama-lm", "phi3", "vit", "clip")


def moved(name: str, far: float = 0.02, seed: int = 0) -> nn.Module:
    """Return a model of an architecture whose parameters in the second block, and norms, were moved by chance."""
    model = ARCHITECTURES[name]()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".1." in key:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * far)
    return model


def saved(model: nn.Module, folder: Path, **settings: object) -> str:
    model.save_pretrained(folder, **settings)
    return str(folder)


def expected(before: nn.Module, after: nn.Module, layer: str) -> tuple[np.ndarray, np.ndarray]:
    W, moved = (linear_weight(each.get_submodule(layer)).double().numpy() for each in (before, after))
    return W, moved - W


def check_row(row: Any, W: np.ndarray, delta: np.ndarray) -> None:
    S = np.linalg.svd(delta, compute_uv=False)
    energy = np.cumsum(S**2) / max((S**2).sum(), 1e-300)
    assert (row.out, row._5) == W.shape
    assert row.norm == pytest.approx(np.linalg.norm(delta))
    assert row.relative_norm == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(W))
    if not delta.any():
        assert (row.rank, row.rank_50, row.rank_90, row.stable_rank, row.top, row.intruders) == (0, 0, 0, 0, 0, 0)
        return
    assert row.rank == np.linalg.matrix_rank(delta)
    assert (row.rank_50, row.rank_90) == tuple(int((energy < share).sum()) + 1 for share in (0.5, 0.9))
    assert row.stable_rank == pytest.approx((S**2).sum() / S[0] ** 2)
    shares = S[S > 0] / S.sum()
    assert row.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert (row.top, row.weight_top) == pytest.approx((S[0], np.linalg.norm(W, 2)))
    cosines = np.abs(np.linalg.svd(W)[0][:, : min(W.shape)].T @ np.linalg.svd(W + delta)[0][:, :10]).max(0)
    assert row.intruders == (cosines < 0.5).sum()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_whole_matrices_whether_read_from_files_or_from_memory(name: str, tmp_path: Path) -> None:
    before, after = ARCHITECTURES[name](), moved(name)
    told = compare_weights(before, after)
    layers = list(vxlab.resolve_targets(before, "all-linear"))
    assert list(told.layers["layer"]) == layers
    for row in told.layers.itertuples():
        check_row(row, *expected(before, after, row.layer))
    files = compare_weights(saved(before, tmp_path / "a"), Path(saved(after, tmp_path / "b", max_shard_size="20KB")))
    assert files.layers.equals(told.layers)
    assert sorted(files.outside["relative_norm"]) == sorted(told.outside["relative_norm"])
    assert (tmp_path / "b" / "model.safetensors.index.json").is_file()


def test_no_model_is_built_where_its_files_name_its_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "_whole", None)
    monkeypatch.setattr(weight_files, "load_model", None)
    for name in ("bert", "gpt2", "llama-lm"):
        folder = saved(ARCHITECTURES[name](), tmp_path / name)
        assert (compare_weights(folder, folder).layers["norm"] == 0).all()


def test_what_no_row_shows_is_told(tmp_path: Path) -> None:
    before, after = ARCHITECTURES["bert"](), ARCHITECTURES["bert"]()
    with torch.no_grad():
        after.classifier.weight.mul_(2)
        after.bert.encoder.layer[0].attention.self.query.bias.add_(1)
        after.bert.encoder.layer[0].attention.self.query.weight.mul_(1.5)
    told = compare_weights(before, after, "value")
    rows = told.outside.set_index("tensor")
    assert sorted(rows.index) == [
        "bert.encoder.layer.0.attention.self.query.bias", "bert.encoder.layer.0.attention.self.query.weight",
        "classifier.weight",
    ]  # fmt: skip
    assert rows.loc["classifier.weight", "relative_norm"] == pytest.approx(1)
    assert rows.loc["bert.encoder.layer.0.attention.self.query.weight", "relative_norm"] == pytest.approx(0.5)
    assert "2 layers of 2 did not change at all." in told.notes
    assert told.notes[-1].startswith("Outside these layers 3 tensors differ, and are in no row: ")
    assert compare_weights(before, before).notes[-1] == "Nothing differs outside these layers."
    assert told.notes[-1] in str(told)
    assert "3 tensors differ" in told._repr_html_()


def test_a_base_without_a_head_and_a_larger_vocabulary_are_told(tmp_path: Path) -> None:
    before, after = ARCHITECTURES["bert"](), moved("bert")
    after.resize_token_embeddings(70)
    bare = saved(before.bert, tmp_path / "bare")
    told = compare_weights(bare, saved(after, tmp_path / "tuned"))
    assert told.layers.equals(compare_weights(before, moved("bert")).layers)
    rows = told.outside.set_index("tensor")["what"]
    assert rows["classifier.weight"] == f"only in {tmp_path / 'tuned'}"
    assert rows["bert.embeddings.word_embeddings.weight"].startswith("(64, 32) in ")


def test_rounding_to_another_precision_is_told(tmp_path: Path) -> None:
    before, half = ARCHITECTURES["llama"](), saved(ARCHITECTURES["llama"]().bfloat16(), tmp_path / "half")
    told = compare_weights(before, half)
    assert told.notes[0] == (
        "The base is in float32 and the other in bfloat16: ΔW holds the rounding to that, up to 0.0039 of each entry "
        "of W, which is no fine-tuning."
    )
    assert told.layers["relative_norm"].between(1e-4, 0.0039).all()
    assert compare_weights(half, before).notes[0] == (
        "The base is in bfloat16 and the other in float32: if that was tuned from finer weights than these, ΔW holds "
        "their rounding, up to 0.0039 of each entry of W, which is no fine-tuning."
    )


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.VeRA(rank=3), vxlab.PEFT("dora", r=2)], ids=str)
def test_a_model_with_an_adapter_is_held_against_its_base(method: vxlab.adapters.Method, tmp_path: Path) -> None:
    before, after = ARCHITECTURES["gpt2"](), vxlab.attach(ARCHITECTURES["gpt2"](), method, ["attn.c_attn", "c_fc"])
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in after.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    updates = vxlab.adapters.adapter_updates(after)
    told = compare_weights(saved(before, tmp_path / "base"), after)
    assert list(told.layers["layer"]) == list(updates)
    for row in told.layers.itertuples():
        check_row(row, linear_weight(before.get_submodule(row.layer)).double().numpy(),
                  updates[row.layer].to_matrix().numpy())  # fmt: skip
    assert list(told.outside["tensor"]) == ["score.weight"]
    part = compare_weights(before, after, "fused-qkv")
    left_out = part.outside[part.outside["what"] == "changed by the adapter, and of no target"]
    assert sorted(left_out["tensor"]) == [f"{layer}.weight" for layer in updates if "c_fc" in layer]
    with pytest.raises(vxlab.VxlabError, match="base carries adapters"):
        compare_weights(after, before)


def test_a_run_and_its_merged_folder_have_the_same_rows(tmp_path: Path) -> None:
    before = ARCHITECTURES["llama"]()
    after = vxlab.attach(ARCHITECTURES["llama"](), vxlab.LoRA(rank=2), "all-linear")
    for layer in vxlab.adapted_layers(after).values():
        layer.trained_tensors()["B"].data.normal_()
    thin = compare_weights(before, after)
    whole = compare_weights(before, saved(vxlab.detach(vxlab.merge(after)), tmp_path / "merged"))
    assert (thin.layers["rank"] == 2).all()
    columns = ["rank", "norm", "relative_norm", "stable_rank", "top", "rank_90"]
    np.testing.assert_allclose(whole.layers[columns], thin.layers[columns], rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_rounding_to_the_stored_precision_is_no_rank(dtype: torch.dtype, tmp_path: Path) -> None:
    before = ARCHITECTURES["llama"]().to(dtype)
    after = vxlab.attach(copy.deepcopy(before).float(), vxlab.LoRA(rank=2), "query-value")
    for layer in vxlab.adapted_layers(after).values():
        layer.trained_tensors()["B"].data.normal_()
    merged = saved(vxlab.detach(vxlab.merge(after)).to(dtype), tmp_path / "merged")
    told = compare_weights(before, merged)
    adapted = told.layers["role"].isin(["query", "value"])
    assert list(told.layers["rank"][adapted]) == [2] * 4
    assert not told.layers["rank"][~adapted].any()
    half = f"Both are in {str(dtype).removeprefix('torch.')}: if the other was computed finer"
    assert told.notes[0].startswith(half) == (dtype != torch.float32)
    assert not any("Both are in" in note for note in compare_weights(before, before).notes)


def test_the_explorer_opens_on_it(tmp_path: Path) -> None:
    told = compare_weights(ARCHITECTURES["bert"](), saved(moved("bert"), tmp_path / "tuned"))
    figure = explore_updates(told, interactive=False)
    words = figure.layout.annotations[-1].text
    assert "<b>tuned</b>: ‖ΔW‖ is" in words or "left this layer as it was" in words
    assert "Outside these layers" in words
    live = explore_updates(told, interactive=True)
    assert "Outside these layers" in live.words.value
    with pytest.raises(vxlab.VxlabError, match="cannot stand beside a comparison of weights"):
        explore_updates(told, told, interactive=False)


def test_what_cannot_be_compared_is_refused_in_words(tmp_path: Path) -> None:
    bert = saved(ARCHITECTURES["bert"](), tmp_path / "bert")
    with pytest.raises(vxlab.VxlabError, match=r"is a bert and .* a gpt2; compare a model with the one"):
        compare_weights(bert, saved(ARCHITECTURES["gpt2"](), tmp_path / "gpt2"))
    smaller = ARCHITECTURES["bert"]()
    smaller.bert.encoder.layer = smaller.bert.encoder.layer[:1]
    smaller.config.num_hidden_layers = 1
    with pytest.raises(vxlab.VxlabError, match=r"has a layer `encoder.layer.1.* lacks, and 5 more are apart"):
        compare_weights(bert, saved(smaller, tmp_path / "smaller"))
    wider = type(smaller)(type(smaller.config)(**{**ARCHITECTURES["bert"]().config.to_dict(), "intermediate_size": 64}))
    with pytest.raises(vxlab.VxlabError, match=r"intermediate.dense` is \(48, 32\) in .* and \(64, 32\) in"):
        compare_weights(bert, saved(wider, tmp_path / "wider"))
    broken = moved("bert")
    broken.bert.encoder.layer[1].attention.self.query.weight.data[0, 0] = float("nan")
    with pytest.raises(vxlab.VxlabError, match=r"`encoder.layer.1.attention.self.query.weight` holds NaN or infinite"):
        compare_weights(bert, saved(broken, tmp_path / "broken"))
    with pytest.raises(vxlab.VxlabError, match="tuned=3 is neither a model nor the name"):
        compare_weights(bert, 3)  # type: ignore[arg-type]


def test_files_that_cannot_be_read_are_refused_in_words(tmp_path: Path) -> None:
    whole = saved(ARCHITECTURES["bert"](), tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    with pytest.raises(vxlab.VxlabError, match=r"is a folder without config\.json"):
        compare_weights(whole, tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text((tmp_path / "whole" / "config.json").read_text())
    with pytest.raises(vxlab.VxlabError, match="holds no weights"):
        compare_weights(whole, tmp_path / "empty")
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"0")
    with pytest.raises(vxlab.VxlabError, match=re.escape("holds only pickled weights (pytorch_model.bin)")):
        compare_weights(whole, tmp_path / "empty")
    parts = Path(saved(ARCHITECTURES["bert"](), tmp_path / "parts", max_shard_size="20KB"))
    shard = sorted(parts.glob("model-*.safetensors"))[-1]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(vxlab.VxlabError, match="cannot be read"):
        compare_weights(whole, parts)
    shard.unlink()
    with pytest.raises(vxlab.VxlabError, match=f"index.json names {shard.name}, which is not there"):
        compare_weights(whole, parts)
    index = json.loads((parts / "model.safetensors.index.json").read_text())
    (parts / "model.safetensors.index.json").write_text(json.dumps(list(index)))
    with pytest.raises(vxlab.VxlabError, match="its weights cannot be read"):
        compare_weights(whole, parts)


def test_a_layer_that_the_files_lack_is_no_row_of_zeros(tmp_path: Path) -> None:
    folder = Path(saved(ARCHITECTURES["bert"](), tmp_path / "a"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.encoder.layer.0.attention.self.query.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(vxlab.VxlabError, match=r"its files lack `encoder.layer.0.attention.self.query.weight`, so it"):
        compare_weights(ARCHITECTURES["bert"](), folder)


def test_a_quantised_base_is_held_against_by_what_it_stands_for(tiny_model: str) -> None:
    pytest.importorskip("bitsandbytes")
    whole, packed = vxlab.load_model(tiny_model, 2), vxlab.load_model(tiny_model, 2, "nf4")
    told = compare_weights(tiny_model, packed)
    assert list(told.layers["layer"]) == list(vxlab.resolve_targets(whole, "all-linear"))
    for row in told.layers.itertuples():
        W, delta = expected(whole, packed, row.layer)
        assert 0.01 < np.linalg.norm(delta) / np.linalg.norm(W) < 0.5
        check_row(row, W, delta)
    part = compare_weights(packed, tiny_model, "query")
    assert "bert.encoder.layer.0.attention.self.key.weight" in set(part.outside["tensor"])


def test_a_packaged_model_and_its_adapter(tmp_path: Path) -> None:
    model = vxlab.attach(vxlab.load_model("minilm", 2), vxlab.LoRA(rank=4), "query")
    for layer in vxlab.adapted_layers(model).values():
        layer.trained_tensors()["B"].data.normal_(std=0.1)
    told = compare_weights("minilm", model, "query")
    assert list(told.layers["layer"]) == [f"bert.encoder.layer.{i}.attention.self.query" for i in range(6)]
    assert (told.layers["rank"] == 4).all()
    row = told.layers.iloc[0]
    base = vxlab.load_model("minilm", 2)
    delta = model.get_submodule(row["layer"]).delta_weight().detach().double().numpy()
    W = linear_weight(base.get_submodule(row["layer"])).double().numpy()
    assert row["relative_norm"] == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(W), rel=1e-6)
    assert sorted(told.outside["tensor"]) == ["classifier.bias", "classifier.weight"]
