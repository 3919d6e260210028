"""Exports of what was trained on a quantised base: merged in floating point, or an adapter that says on what it was."""

from pathlib import Path
from typing import Any

import exported
import pytest
import torch
import toy_runs
import transformers

import vxlab
from vxlab.adapters.core import quantisation_of
from vxlab.experiments.runs.trained import load_trained

pytest.importorskip("bitsandbytes")
SCHEMES = ["nf4", "int8", "torchao-int8"]


@pytest.mark.parametrize("targets", ["query-value", "all-linear"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantised_base_is_merged_into_a_model_in_floating_point(
    scheme: str, targets: str, tiny_model: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = exported.stir(vxlab.attach(vxlab.load_model(tiny_model, 2, scheme), vxlab.LoRA(rank=4), targets))
    before = exported.answers(model)
    folder = vxlab.export_adapter(model, tmp_path / "out", format="merged", base=tiny_model)
    again: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert not hasattr(again.config, "quantization_config")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    torch.testing.assert_close(exported.answers(again), before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))
    assert torch.equal(exported.answers(model), before)
    assert any(quantisation_of(module) for module in model.modules())  # the caller's model is as it was
    assert f"The base was quantised ({scheme})" in (folder / "README.md").read_text()


def test_an_adapter_of_a_quantised_base_is_put_on_it_and_says_so(tiny_model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = exported.stir(vxlab.attach(vxlab.load_model(tiny_model, 2, "nf4"), vxlab.LoRAXS(rank=4)))
    expected = exported.answers(model)
    folder = vxlab.save_adapter(model, tmp_path / "own")
    merged = vxlab.export_adapter(folder, tmp_path / "merged", format="merged", base=tiny_model)
    again: Any = transformers.AutoModelForSequenceClassification.from_pretrained(merged)
    torch.testing.assert_close(exported.answers(again), expected, rtol=1e-5, atol=1e-5)
    lora = vxlab.export_adapter(folder, tmp_path / "lora", format="lora", base=tiny_model)
    assert "It was trained on this base quantised (nf4): load the base so." in (lora / "README.md").read_text()
    onto = vxlab.load_adapter(vxlab.load_model(tiny_model, 2, "nf4"), lora)
    torch.testing.assert_close(exported.answers(onto), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_adapter_of_a_base_that_was_saved_quantised_is_put_on_it(
    scheme: str, tiny_model: str, tmp_path: Path
) -> None:
    base = tmp_path / "packed"
    packed: Any = vxlab.load_model(tiny_model, 3, scheme)
    packed.save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(base)
    model = exported.attach_stirred(str(base), 3, vxlab.LoRA(rank=2))
    folder = vxlab.export_adapter(model, tmp_path / "peft", base=str(base))
    for source in (folder, vxlab.save_adapter(model, tmp_path / "own")):
        merged = vxlab.export_adapter(source, tmp_path / "merged", format="merged", base=str(base))
        again: Any = transformers.AutoModelForSequenceClassification.from_pretrained(merged)
        torch.testing.assert_close(exported.answers(again), exported.answers(model), rtol=1e-5, atol=1e-5)


def test_a_run_on_a_quantised_base_is_merged_onto_what_it_was_trained_on(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1, quantisation="nf4")
    run = vxlab.run(spec, store=tmp_path / "runs", progress=False)
    folder = vxlab.export_adapter(run, tmp_path / "merged", format="merged")
    again: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    torch.testing.assert_close(exported.answers(again), exported.answers(load_trained(run)), rtol=1e-5, atol=1e-5)
