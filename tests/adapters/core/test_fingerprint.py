"""Adapters between precisions: cast after attaching, saved, and loaded on a base in the same or another one."""

from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES
from torch import nn
from toy_checkpoints import METHODS, altered, assert_refused, logits, trained

import vxlab
from vxlab.adapters.core.family import Family, Method

FAMILIES = [method for method in METHODS if isinstance(method, Family)]
CASTS = [torch.float16, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", CASTS, ids=str)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_cast_model_is_saved_and_gives_its_logits_again(method: Method, dtype: torch.dtype, tmp_path: Path) -> None:
    model = trained("bert", method).to(dtype)
    folder = vxlab.save_adapter(model, tmp_path / "a")
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"](), folder)  # in the precision in which it was attached
    assert torch.equal(logits(loaded.to(dtype), "bert"), logits(model, "bert"))


@pytest.mark.parametrize("dtype", CASTS, ids=str)
@pytest.mark.parametrize("family", [f for f in FAMILIES if not isinstance(f, vxlab.LoRAXS)], ids=str)
def test_a_base_in_another_precision_is_recognised_and_its_logits_are_close(
    family: Family, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = trained("bert", family)
    folder = vxlab.save_adapter(model, tmp_path / "a")
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"]().to(dtype), folder)
    spread = float(logits(model, "bert").std())
    torch.testing.assert_close(logits(loaded, "bert").float(), logits(model, "bert"), rtol=0, atol=0.1 * spread)
    back = vxlab.save_adapter(loaded, tmp_path / "b")
    vxlab.load_adapter(ARCHITECTURES["bert"](), back)
    other = ARCHITECTURES["bert"]().to(dtype)
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[3, 5] += 0.1
    assert_refused(other, folder, r"frozen weights have another fingerprint")


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_float64_model_is_adapted_merged_saved_and_loaded(method: Method, tmp_path: Path) -> None:
    model = vxlab.attach(ARCHITECTURES["bert"]().double(), method, targets="all-linear")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    loaded = vxlab.load_adapter(ARCHITECTURES["bert"]().double(), vxlab.save_adapter(model, tmp_path / "a"))
    assert torch.equal(logits(loaded, "bert"), logits(model, "bert"))
    if vxlab.adapted_layers(model):
        torch.testing.assert_close(logits(vxlab.merge(loaded), "bert"), logits(model, "bert"), rtol=0, atol=1e-12)


def test_two_half_precisions_are_told_apart_from_another_base(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=2)).half(), tmp_path / "a")
    model = ARCHITECTURES["bert"]().bfloat16()
    assert_refused(model, folder, "in bfloat16 and were saved in float16: not comparable, so load it in float16")


def test_a_file_without_a_float16_fingerprint_says_how_to_load(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRA(rank=2)), tmp_path / "a")
    import json

    base = json.loads((folder / "adapter.json").read_text())["base"]
    altered(folder, base={key: value for key, value in base.items() if key != "sha256_float16"})
    vxlab.load_adapter(ARCHITECTURES["bert"]().bfloat16(), folder)
    assert_refused(ARCHITECTURES["bert"]().half(), folder, "in float16 and were saved in float32: not comparable, so")


def test_a_basis_of_a_rounded_weight_is_refused_and_the_reason_is_said(tmp_path: Path) -> None:
    folder = vxlab.save_adapter(trained("bert", vxlab.LoRAXS(rank=4)).bfloat16(), tmp_path / "a")
    message = "in the precision that it had when the method was attached, and cast it afterwards"
    assert_refused(ARCHITECTURES["bert"]().bfloat16(), folder, message)


def test_a_model_of_several_precisions_has_one_pair_of_matrices_and_merges() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double())
    vxlab.attach(net, vxlab.VeRA(rank=3), targets="all-linear")
    with torch.no_grad():
        for layer in vxlab.adapted_layers(net).values():
            layer.trained_tensors()["lambda_b"].normal_()
            assert layer(torch.ones(1, 4, dtype=layer.weight.dtype)).dtype is layer.weight.dtype
    vxlab.merge(net)
