"""Exported adapters in the hands of other programs: peft, transformers' own loader, and llama.cpp's converter."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import exported
import pytest
import torch
from architectures import ARCHITECTURES
from places import ROOT
from torch import nn

import vxlab

# PEFT asks transformers for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

ANY = [vxlab.LoRA(rank=4, alpha=6), vxlab.VeRA(rank=8), vxlab.LoRAXS(rank=4), vxlab.LiDB(rank=2, aux_out=8, aux_in=8)]


@pytest.fixture(scope="module")
def stories() -> str:
    """Return the folder of a real trained Llama beside the checkout."""
    folder = ROOT.parent / "shared" / "data" / "stories260k"
    if not folder.is_dir():
        pytest.skip("stories260k is not beside this checkout")
    return str(folder)


def bare(name: str, kind: str = "AutoModelForCausalLM") -> Any:
    import transformers

    return getattr(transformers, kind).from_pretrained(name, dtype=torch.float32)


def assert_served(model: nn.Module, name: str, folder: Path) -> None:
    """Hold the logits of peft, and of transformers' own loader, to the model's."""
    import peft

    expected = exported.answers(model)
    by_peft = peft.PeftModel.from_pretrained(bare(name), folder)
    torch.testing.assert_close(exported.answers(by_peft), expected, rtol=0, atol=1e-5)
    if "VERA" in (folder / "adapter_config.json").read_text():
        with pytest.raises(ValueError, match=r"does not support PeftType.VERA"):  # nor does the card say so
            bare(name).load_adapter(str(folder))
        return
    by_transformers = bare(name)
    by_transformers.load_adapter(str(folder))
    torch.testing.assert_close(exported.answers(by_transformers), expected, rtol=0, atol=1e-5)
    by_name = bare(str(folder))  # which finds the base by the name that the adapter's settings give
    torch.testing.assert_close(exported.answers(by_name), expected, rtol=0, atol=1e-5)


def assert_any_served(name: str, method: Any, format: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported.attach_stirred(name, 0, method)
    vxlab.export_adapter(model, folder / "out", format=format)
    (folder / Path(name).name).symlink_to(name)
    monkeypatch.chdir(folder)
    assert_served(model, name, folder / "out")


@pytest.mark.parametrize("method", ANY, ids=str)
def test_an_adapter_as_a_plain_lora_is_served_alike(
    method: Any, tiny_writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_any_served(tiny_writer, method, "lora", tmp_path, monkeypatch)


@pytest.mark.parametrize("method", ANY[:2], ids=str)
def test_an_adapter_in_its_own_format_is_served_alike(
    method: Any, tiny_writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_any_served(tiny_writer, method, "peft", tmp_path, monkeypatch)


@pytest.mark.parametrize(("method", "format"), [(ANY[0], "peft"), *((each, "lora") for each in ANY)], ids=str)
def test_a_real_model_is_served_alike(
    method: Any, format: str, stories: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_any_served(stories, method, format, tmp_path, monkeypatch)


def test_a_head_comes_with_the_adapter(tiny_model: str, tmp_path: Path) -> None:
    import peft
    import transformers

    model = exported.attach_stirred(tiny_model, 3, vxlab.LoRAXS(rank=4))
    folder = vxlab.export_adapter(model, tmp_path / "out", format="lora")

    def base() -> Any:
        return transformers.AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=3)

    by_transformers = base()
    by_transformers.load_adapter(str(folder))
    for each in (by_transformers, peft.PeftModel.from_pretrained(base(), folder)):
        torch.testing.assert_close(exported.answers(each), exported.answers(model), rtol=0, atol=1e-5)


def test_the_task_is_named_as_peft_names_it(tmp_path: Path) -> None:
    for name, task in {"gpt2-lm": "CAUSAL_LM", "llama-lm": "CAUSAL_LM", "bert": "SEQ_CLS", "vit": None}.items():
        model = vxlab.attach(ARCHITECTURES[name](), vxlab.LoRA(rank=2))
        folder = vxlab.export_adapter(model, tmp_path / name, format="lora")
        assert json.loads((folder / "adapter_config.json").read_text())["task_type"] == task


@pytest.mark.parametrize("format", ["peft", "lora", "vxlab"])
def test_what_was_exported_is_exported_again(format: str, stories: str, tmp_path: Path) -> None:
    model = exported.attach_stirred(stories, 0, vxlab.VeRA(rank=8))
    one = vxlab.export_adapter(model, tmp_path / "one", format=format)
    other = vxlab.export_adapter(one, tmp_path / "other", format="merged", base=stories)
    torch.testing.assert_close(exported.answers(bare(str(other))), exported.answers(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ANY, ids=str)
def test_llama_cpps_converter_takes_a_plain_lora(method: Any, stories: str, tmp_path: Path) -> None:
    converter = Path(os.environ.get("LLAMA_CPP", "")) / "convert_lora_to_gguf.py"
    if "LLAMA_CPP" not in os.environ or not converter.is_file():
        pytest.skip("llama.cpp's sources, with convert_lora_to_gguf.py, are not in the folder that LLAMA_CPP names")
    import gguf

    model = exported.attach_stirred(stories, 0, method)
    folder = vxlab.export_adapter(model, tmp_path / "out", format="lora")
    command = [sys.executable, str(converter), str(folder), "--base", stories, "--outtype", "f32"]
    subprocess.run([*command, "--outfile", str(tmp_path / "out.gguf")], check=True, capture_output=True, timeout=120)
    read = gguf.GGUFReader(tmp_path / "out.gguf")
    tensors = {each.name: torch.tensor(each.data) for each in read.tensors}
    layers = vxlab.adapted_layers(model)
    assert len(tensors) == 2 * len(layers)
    (alpha,) = (float(field.parts[-1][0]) for name, field in read.fields.items() if name == "adapter.lora.alpha")
    names = {"attn_v": "self_attn.v_proj", "ffn_down": "mlp.down_proj", "attn_q": "self_attn.q_proj"}
    for theirs, ours in names.items():
        A, B = (tensors[f"blk.0.{theirs}.weight.lora_{side}"] for side in "ab")
        delta = layers[f"model.layers.0.{ours}"].delta_weight().detach()
        found = alpha / A.shape[0] * B @ A
        if theirs == "attn_q":  # llama.cpp has the rows of query and key in another order
            found, delta = found.norm(dim=1).sort().values, delta.norm(dim=1).sort().values
        torch.testing.assert_close(found, delta, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", [vxlab.LoRA(rank=8), vxlab.VeRA(rank=64), vxlab.LoRAXS(rank=16)], ids=str)
def test_smollm2_is_served_alike(method: Any, tmp_path: Path) -> None:
    import peft

    base = vxlab.load_model("smollm2", 0)
    plain: Any = copy.deepcopy(base)
    model = exported.stir(vxlab.attach(base, method), scale=0.02)
    folder = vxlab.export_adapter(model, tmp_path / "out", format="lora")
    expected = exported.answers(model)
    by_peft = peft.PeftModel.from_pretrained(copy.deepcopy(plain), folder)
    torch.testing.assert_close(exported.answers(by_peft), expected, rtol=0, atol=1e-4)
    plain.load_adapter(str(folder))
    torch.testing.assert_close(exported.answers(plain), expected, rtol=0, atol=1e-4)
