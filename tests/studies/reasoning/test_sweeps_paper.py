"""The published recipes without a GPU or a download: their parameters come out, and they run in little to the end."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import torch
import toy_sets
import toy_writers
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

import vxlab
from vxlab.studies.reasoning import (
    answers_table,
    reasoning_conclusion,
    reasoning_sweeps,
    set_averages,
    set_scores,
)

METHODS = {"base": None, "lora": None, "lora_xs": None, "vera": None}
SWEEPS = reasoning_sweeps("paper", [], METHODS, {})
MATHEMATICS, COMMONSENSE = ("metamathqa", "metamathqa_math"), "commonsense_170k"


def spec_of(name: str, family: str) -> vxlab.RunSpec:
    fair = SWEEPS[name]
    candidate = next(each for each in fair.names.values() if each.method.name == family)
    return fair.spec(candidate, fair.rates(candidate)[0], 0.0, 0)


@pytest.mark.parametrize("name", MATHEMATICS)
def test_lora_xs_on_mathematics_is_as_published(name: str) -> None:
    spec = spec_of(name, "lora_xs")
    assert (spec.train_examples, spec.epochs, spec.max_length, spec.learning_rate) == (100_000, 2, 512, 4e-3)
    assert (spec.schedule, spec.warmup) == ("cosine", 0.02)
    assert (spec.batch_size // spec.gradient_accumulation, spec.gradient_accumulation) == (2, 64)
    assert spec.method == vxlab.LoRAXS(rank=64, alpha=64.0)


def test_lora_xs_on_commonsense_is_as_published() -> None:
    spec = spec_of(COMMONSENSE, "lora_xs")
    assert (spec.train_examples, spec.epochs, spec.max_length, spec.learning_rate) == (None, 3, 256, 2e-3)
    assert spec.batch_size == 64
    assert round(spec.warmup * 3 * 170_420 / 64) == 100
    assert spec.method == vxlab.LoRAXS(rank=32, alpha=64.0)


@pytest.mark.parametrize(("family", "parameters"), [("lora", 167_772_160), ("lora_xs", 917_504)])
def test_the_published_numbers_of_parameters_come_out(family: str, parameters: int) -> None:
    """168M and 0.92M in the paper's table of mathematics, on all seven modules of Mistral-7B."""
    with torch.device("meta"):
        model = MistralForCausalLM(MistralConfig())
    spec = spec_of("metamathqa", family)
    layers = vxlab.resolve_targets(model, spec.targets)
    assert len(layers) == 7 * 32
    assert spec.method.count(model, layers) == parameters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a Llama of two layers that are wide enough for rank 64, with room for the published length."""
    folder = tmp_path_factory.mktemp("model")
    toy_writers.write_tokenizer(folder)
    made: PreTrainedModel = stand_ins.build(
        LlamaForCausalLM, stand_ins.llama(2, tiny=True, hidden_size=64, intermediate_size=128, num_key_value_heads=4)
    )
    made.save_pretrained(folder)
    return str(folder)


def in_little(name: str, family: str, model: str, folder: str, rows: int) -> vxlab.RunSpec:
    return dataclasses.replace(
        spec_of(name, family), model=model, task_folder=folder, train_examples=rows, eval_examples=None, device="cpu",
        max_new_tokens=24,
    )  # fmt: skip


@pytest.mark.parametrize("name", MATHEMATICS)
def test_a_run_on_mathematics_gets_to_its_end(name: str, model: str, tmp_path: Path) -> None:
    folder = toy_sets.write_mathematics(tmp_path / "sets", rows=150)
    record = vxlab.run(in_little(name, "lora_xs", model, folder, 128), store=tmp_path / "store", progress=False)
    assert (record.status, record.steps) == ("finished", 2)
    published = "math" if name == "metamathqa_math" else "gsm8k"
    assert record.task["metrics"] == ["log_likelihood", published, f"{published}_strict"]
    assert record.score(published) == 0


def test_a_mixture_is_scored_by_set_with_their_mean_and_what_was_written(model: str, tmp_path: Path) -> None:
    folder = toy_sets.write_commonsense(tmp_path / "sets", rows=80)
    chosen: dict[str, Any] = {
        "model": model, "task_folder": folder, "train_examples": 64, "epochs": 1, "device": "cpu", "report_seeds": 2,
        "gradient_accumulation": 1, "max_new_tokens": 6, "precision": "float32",
    }  # fmt: skip
    sweeps = reasoning_sweeps("paper", [COMMONSENSE], {"base": None, "lora": 2}, chosen)
    results = {name: vxlab.compare(fair, store=tmp_path / "store", progress=False) for name, fair in sweeps.items()}
    scores = set_scores(results)
    sets = ["boolq", "piqa", "siqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa"]
    assert list(scores.loc[scores["headline"], "set"].unique()) == sets
    assert set(scores["items"]) == {4}
    assert set(scores.loc[scores["headline"], "metric"]) == {"answer_word"}
    averages = set_averages(results, scores)
    assert list(averages["candidate"]) == ["untuned base", "LoRA r=2"]
    assert (
        averages["score"].tolist()
        == scores[scores["headline"]].groupby("candidate", sort=False)["score"].mean().tolist()
    )
    assert "Mean of boolq, piqa, siqa" in reasoning_conclusion(scores, averages)
    assert answers_table(results, inputs=2)["text"].str.contains("choice named first: ").sum() == 4
