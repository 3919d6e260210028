"""The scale ``paper`` without a GPU or a download: what it asks for fits its models, and its runs get past their start.

The slow ones train RoBERTa-base and -large at their true shapes, with random weights, over one true batch.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_ins
import torch
from gpu_recipes import cost_families, labels_of, specs
from notebook_cells import notebook_variants
from rehearsal import rehearsed
from torch import nn
from transformers import RobertaForSequenceClassification

import vxlab
from vxlab.adapters.core.family import Family
from vxlab.experiments.runs.trained import layer_weights
from vxlab.experiments.sweeps.fair_recipes import study_run
from vxlab.experiments.tasks.sets.glue import GLUE_TASKS
from vxlab.studies.scales import study_settings
from vxlab.studies.start_and_parts import variants as start_and_parts
from vxlab.studies.subspaces.bases import BASES, band_candidates

BASE, LARGE = "FacebookAI/roberta-base", "FacebookAI/roberta-large"
SPECS = specs()
PUBLISHED = [name for name in SPECS if name.startswith(("vera ", "lora_xs "))]
# Of each method of the fair sweeps one candidate, the largest; and of the studies, what is not among them.
OTHERS = [
    "fair sweep of vera's paper: LoRA r=64", "fair sweep of vera's paper: VeRA r=1024",
    "fair sweep of lora_xs's paper: LoRA-XS r=25", "fair sweep of lora_xs's paper: head only",
    "fair sweep of lora_xs's paper: full fine-tuning",
]  # fmt: skip


@pytest.fixture(scope="module")
def shapes() -> dict[tuple[str, int], nn.Module]:
    """Return each model without its values, by name and number of labels."""
    with torch.device("meta"):
        return {
            (name, labels): RobertaForSequenceClassification(stand_ins.roberta(name, num_labels=labels))
            for name in (BASE, LARGE)
            for labels in (1, 2)
        }


def test_every_published_row_and_both_papers_candidates_are_rehearsed() -> None:
    assert len(PUBLISHED) == 15
    assert {SPECS[name].model for name in PUBLISHED} == {BASE, LARGE}
    assert sum(name.startswith("fair sweep of vera's paper") for name in SPECS) == 7 + 6 + 6 + 2
    assert sum(name.startswith("fair sweep of lora_xs's paper") for name in SPECS) == 1 + 1 + 6 + 2
    assert set(OTHERS) < set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_fits_its_model_its_task_and_its_length(name: str, shapes: dict[tuple[str, int], nn.Module]) -> None:
    spec = SPECS[name]
    assert spec.task in GLUE_TASKS
    assert 1 <= spec.max_length <= 512  # RoBERTa's positions, less the two that it keeps for padding
    model = shapes[spec.model, labels_of(spec)]
    layers = vxlab.resolve_targets(model, spec.targets) if spec.method.on_layers else {}
    blocks = model.config.num_hidden_layers
    assert len(layers) == {"query-value": 2, "lora-xs-released": 4}[str(spec.targets)] * blocks * spec.method.on_layers
    trained = spec.method.count(model, layers)  # which raises where a rank does not fit a layer
    if isinstance(spec.method, Family):
        assert trained == sum(spec.method.parameter_count(tuple(layer.weight.shape)) for layer in layers.values())


@pytest.mark.parametrize(("method", "parameters"), [("vera", 61_440), ("lora_xs", 24_576)])
def test_the_published_numbers_of_parameters_come_out(
    method: str, parameters: int, shapes: dict[tuple[str, int], nn.Module]
) -> None:
    spec = vxlab.recipe(method, scale="paper", model=LARGE, task="sst2")
    model = shapes[LARGE, 2]
    assert spec.method.count(model, vxlab.resolve_targets(model, spec.targets)) == parameters


def test_the_notebook_of_costs_asks_for_ranks_and_tokens_that_the_model_has(
    shapes: dict[tuple[str, int], nn.Module],
) -> None:
    settings = study_settings("cost", "paper")
    assert settings["model"] == LARGE
    assert settings["tokens"] <= 512
    layers = vxlab.resolve_targets(shapes[LARGE, 2], settings["targets"])
    assert len(layers) == 144
    for family in cost_families():
        assert family.count(shapes[LARGE, 2], layers) > 0


def test_the_notebook_of_parts_has_its_variants_for_the_true_shape(
    monkeypatch: pytest.MonkeyPatch, shapes: dict[tuple[str, int], nn.Module]
) -> None:
    # Its bases' rates ask for every layer's singular values: of two small blocks here.
    small = stand_ins.build(RobertaForSequenceClassification, stand_ins.roberta(LARGE, tiny=True, hidden_size=64))
    monkeypatch.setattr(start_and_parts, "usual_labels", lambda name: 2)
    monkeypatch.setattr(start_and_parts, "load_model", lambda name, num_labels, quantisation: small)
    fair, variants = start_and_parts.parts_sweep(notebook_variants(256, 25), "paper")
    assert (fair.settings["model"], fair.settings["task"]) == (LARGE, "rte")
    assert len(variants) == len(fair.names) > 10
    for candidate in fair.names.values():
        layers = vxlab.resolve_targets(shapes[LARGE, 2], candidate.targets)
        assert candidate.method.count(shapes[LARGE, 2], layers) > 0
    bands = band_candidates(layer_weights(small, "query-value"), 16, BASES, scale="paper")
    assert [each.method.basis for each in bands] == list(BASES)


@pytest.mark.parametrize("task", [name for name in GLUE_TASKS if name != "mnli"])  # whose files have other names
def test_a_stand_in_task_is_read_as_glue_is(task: str, tmp_path: Path) -> None:
    folder = stand_ins.write_glue(tmp_path, task, rows=40, longest=30)
    found = vxlab.load_task(task, folder=folder)
    assert len(found.splits["train"]) == 36
    assert found.num_labels == (len(GLUE_TASKS[task].classes) or 1)


def test_a_run_in_little_stops_goes_on_and_cuts_its_long_texts(tmp_path: Path) -> None:
    record = rehearsed(vxlab.recipe("vera", scale="paper", task="stsb", rank=4), tmp_path, device="cpu", tiny=True)
    assert (record.status, record.steps, record.task["rows"]) == (
        "finished",
        2,
        {"train": 64, "validation": 8, "test": 8},
    )
    assert record.spec["max_length"] == 512


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Write both models' random weights: 2 GB, gone again afterwards."""
    folder = tmp_path_factory.mktemp("true-shapes")
    yield {name: stand_ins.write_model(folder / name.rpartition("/")[2], name) for name in (BASE, LARGE)}
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*PUBLISHED, *OTHERS])
def test_a_run_gets_past_its_start_at_its_true_shape(name: str, models: dict[str, str], tmp_path: Path) -> None:
    spec = SPECS[name]
    record = rehearsed(spec, tmp_path, device="cpu", model=models[spec.model])
    print(f"{name}: {record.train_seconds:.0f} s, {record.peak_memory / 2**30:.1f} GiB")
    assert (record.status, record.steps, record.precision) == ("finished", 2, "float32")
    assert record.task["rows"]["train"] == spec.batch_size


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("basis", ["gradient", "random-svd"])
def test_a_basis_of_the_studies_starts_at_its_true_shape(basis: str, models: dict[str, str], tmp_path: Path) -> None:
    spec = study_run(vxlab.LoRAXS(rank=16, basis=basis), "paper")
    assert rehearsed(spec, tmp_path, device="cpu", model=models[LARGE]).status == "finished"
