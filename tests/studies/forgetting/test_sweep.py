"""What the page compares at each scale, that what is chosen wins, and the published recipe's numbers of parameters."""

import dataclasses
from pathlib import Path

import pytest
import stand_ins
import torch
from transformers import LlamaForCausalLM

import vxlab
from vxlab.studies.forgetting import instruction_sweep, smoke_instructions

METHODS = {"base": [], "lora": [], "vera": [], "lora_xs": [], "full": []}


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_scale_has_each_method_at_two_ranks_and_tunes_none(scale: str) -> None:
    fair = instruction_sweep(scale, METHODS, {})
    names = [each.method.name for each in fair.names.values()]
    assert names == ["base", "lora", "lora", "vera", "vera", "lora_xs", "lora_xs", "full"]
    assert fair.runs()["tuning"] == 0


def test_a_task_of_ones_own_has_its_own_prompt_and_ranks_are_chosen() -> None:
    fair = instruction_sweep("smoke", {"lora": [3]}, {"task": "chats.jsonl", "epochs": 4})
    assert "prompt_template" not in fair.settings
    assert (fair.settings["task"], fair.settings["epochs"], list(fair.names)) == ("chats.jsonl", 4, ["LoRA r=3"])


@pytest.mark.parametrize(("name", "parameters"), [("LoRA r=64", 159_907_840), ("VeRA r=1024", 1_589_248)])
def test_the_published_numbers_of_parameters_come_out(name: str, parameters: int) -> None:
    """159.9M and 1.6M for seven billion parameters in VeRA's table of MT-Bench."""
    method = instruction_sweep("paper", METHODS, {}).names[name].method
    with torch.device("meta"):
        model = LlamaForCausalLM(stand_ins.llama(32))
    assert method.count(model, vxlab.resolve_targets(model, "all-linear")) == parameters


def test_the_published_recipe_runs_in_little(tmp_path: Path) -> None:
    fair = instruction_sweep("paper", METHODS, {})
    candidate = fair.names["VeRA r=1024"]
    spec = fair.spec(candidate, candidate.learning_rate, 0.0, 0)
    assert (spec.schedule, spec.warmup, spec.batch_size, spec.gradient_accumulation) == ("cosine", 0.1, 16, 4)
    files = smoke_instructions()
    little = dataclasses.replace(
        spec, model=files.model, task=files.instructions, prompt_template="{instruction} {input}\n", max_length=96,
        max_new_tokens=16, train_examples=32, eval_examples=8, device="cpu",
    )  # fmt: skip
    record = vxlab.run(little, store=tmp_path, progress=False)
    assert (record.status, record.steps) == ("finished", 2)
