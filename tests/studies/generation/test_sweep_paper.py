"""The published E2E recipe without a GPU or a download: its parameters come out, and its runs get past their start."""

from pathlib import Path

import pytest
import stand_ins
import torch
from rehearsal import rehearsed
from transformers import GPT2LMHeadModel

import vxlab
from vxlab.studies.generation import generation_sweep

METHODS = {"lora": None, "vera": None, "lora_xs": None, "full": None}
FAIR = generation_sweep("paper", METHODS, {})


def spec_of(name: str) -> vxlab.RunSpec:
    candidate = FAIR.names[name]
    return FAIR.spec(candidate, candidate.learning_rate, 0.0, 0)


@pytest.mark.parametrize(("name", "parameters"), [("LoRA", 393_216), ("VeRA", 98_304)])
def test_the_published_numbers_of_parameters_come_out(name: str, parameters: int) -> None:
    """0.35M and 0.098M in VeRA's table: on the fused layer of query, key and value, as many as on query and value."""
    method = next(each.method for label, each in FAIR.names.items() if label.startswith(f"{name} r="))
    with torch.device("meta"):
        model = GPT2LMHeadModel(stand_ins.gpt2_medium())
    assert method.count(model, vxlab.resolve_targets(model, "query-value")) == parameters


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (not name.startswith("VeRA"))) for name in FAIR.names]
)
def test_a_run_stops_goes_on_and_writes_by_beam_search(name: str, tmp_path: Path) -> None:
    record = rehearsed(spec_of(name), tmp_path, device="cpu", tiny=True)
    assert (record.spec["num_beams"], record.spec["label_smoothing"]) == (10, 0.1)
    assert len(record.texts()) == 8
    assert record.task["metrics"] == ["log_likelihood", "bleu", "nist", "meteor", "rouge_l", "cider"]


@pytest.mark.slow
def test_a_step_at_the_true_shape(tmp_path: Path) -> None:
    name = next(label for label in FAIR.names if label.startswith("VeRA"))
    assert rehearsed(spec_of(name), tmp_path, device="cpu").parameters["backbone"] == 98_304
