"""Recipes: every method at every scale, the papers' own settings, and what is chosen wins."""

import csv
from pathlib import Path
from typing import Any

import pytest

import vxlab
from vxlab.experiments.sweeps.fair_recipes import study_run
from vxlab.experiments.sweeps.scales import SCALES
from vxlab.paths import shipped_path

METHODS = ("lora", "vera", "elora", "lora_xs", "head", "probe", "full")
with shipped_path("data", "published_recipes.csv").open(encoding="utf-8", newline="") as file:
    PUBLISHED = list(csv.DictReader(file))


@pytest.mark.parametrize("scale", ["smoke", "small"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_recipe(method: str, scale: str) -> None:
    spec = vxlab.recipe(method, scale=scale)
    assert spec.method.name == method.replace("elora", "vera")
    assert (spec.model, spec.task, spec.targets) == ("minilm", "rotten_tomatoes", "query-value")


def test_smoke_is_small_in_every_way() -> None:
    smoke, small = (vxlab.recipe("vera", scale=scale) for scale in ("smoke", "small"))
    assert smoke.train_examples is not None
    assert small.train_examples == 4000
    assert (smoke.train_examples <= 64, smoke.epochs, smoke.max_length) == (True, 1, 32)
    assert smoke.method.settings()["rank"] < small.method.settings()["rank"]
    assert small.eval_examples is None


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['method']}-{row['model'][-5:]}-{row['task']}")
def test_every_published_row_is_a_recipe(row: dict[str, str]) -> None:
    spec = vxlab.recipe(row["method"], scale="paper", model=row["model"], task=row["task"])
    for name in ("model", "task", "targets"):
        assert getattr(spec, name) == row[name]
    for name in ("epochs", "batch_size", "max_length", "learning_rate", "head_learning_rate", "warmup"):
        assert getattr(spec, name) == float(row[name])
    settings = spec.method.settings()
    assert settings["rank"] == int(row["rank"])
    assert settings.get("alpha") == (float(row["alpha"]) if row["alpha"] else None)
    assert row["source"]
    assert (spec.train_examples, spec.eval_examples) == (None, None)


def test_published_rows_are_one_for_each_method_model_and_task() -> None:
    keys = [(row["method"], row["model"], row["task"]) for row in PUBLISHED]
    assert len(set(keys)) == len(keys) > 12


def test_paper_defaults_exist_and_take_a_task_however_it_is_written() -> None:
    assert vxlab.recipe("vera", scale="paper").model == "FacebookAI/roberta-base"
    assert vxlab.recipe("lora_xs", scale="paper").method == vxlab.LoRAXS(rank=16, alpha=16)
    spec = vxlab.recipe("elora", scale="paper", model="FacebookAI/roberta-large", task="STS-B")
    assert (spec.method, spec.learning_rate, spec.epochs) == (vxlab.VeRA(rank=256), 2e-2, 20)
    assert vxlab.recipe("vera", scale="paper", rank=64, epochs=1).method == vxlab.VeRA(rank=64)


def test_a_paper_recipe_that_was_not_published_lists_what_was() -> None:
    with pytest.raises(
        vxlab.VxlabError, match=r"lora_xs with model='.*' on task='mnli'; they are there for .*large on co"
    ):
        vxlab.recipe("lora_xs", scale="paper", task="mnli")
    with pytest.raises(
        vxlab.VxlabError, match=r"vera with model='minilm' on task='sst2'; .*roberta-base on cola, .*large"
    ):
        vxlab.recipe("vera", scale="paper", model="minilm")
    with pytest.raises(
        vxlab.VxlabError, match="no published settings for method='full'; they are there for vera, lora_xs"
    ):
        vxlab.recipe("full", scale="paper")


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_chosen_wins_and_none_keeps_the_scales(scale: str) -> None:
    usual = vxlab.recipe("vera", scale=scale)
    nothing: dict[str, Any] = dict.fromkeys(("rank", "epochs", "learning_rate", "train_examples", "model", "task"))
    assert vxlab.recipe("vera", scale=scale, **nothing) == usual
    spec = vxlab.recipe("vera", scale=scale, rank=12, epochs=7, seed=5, device="cpu")
    assert (spec.method, spec.epochs, spec.seed, spec.device) == (vxlab.VeRA(rank=12), 7, 5, "cpu")
    assert spec.learning_rate == usual.learning_rate


def test_alpha_goes_to_the_method() -> None:
    assert vxlab.recipe("lora", rank=4, alpha=16).method == vxlab.LoRA(rank=4, alpha=16)
    with pytest.raises(vxlab.VxlabError, match="method 'vera' has no setting 'alpha'"):
        vxlab.recipe("vera", alpha=16)
    with pytest.raises(vxlab.VxlabError, match="method 'head' has no setting 'rank'"):
        vxlab.recipe("head", rank=4)


def test_unknown_methods_and_scales_are_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"method='veera' is unknown; did you mean 'vera'\?"):
        vxlab.recipe("veera")
    with pytest.raises(vxlab.VxlabError, match="scale='large' is unknown; choose one of smoke, small, paper"):
        vxlab.recipe("vera", scale="large")


def test_a_small_task_of_ones_own_is_taken_whole(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(50)) + "text 1,0\n")
    for scale in ("smoke", "small"):
        assert vxlab.recipe("vera", scale=scale, task=own).train_examples is None
        assert study_run(vxlab.LoRA(rank=8), scale, task=own).train_examples in (None, 32)
    assert vxlab.fair_recipe("small", task=own).settings["train_examples"] is None
    with pytest.warns(vxlab.errors.DataWarning, match="different labels"):  # which looking ahead has left to be said
        vxlab.load_task(own)
    assert vxlab.recipe("vera", task=own, train_examples=30).train_examples == 30
    assert vxlab.recipe("vera", task=own, shots=3).train_examples is None
    assert vxlab.fair_recipe("small", shots=3).settings["train_examples"] is None
    assert vxlab.recipe("vera", task=own, train_examples=300).train_examples == 300  # asked for, so the run refuses it
    with pytest.raises(vxlab.VxlabError, match="task=3 is an int"):
        vxlab.recipe("vera", task=3)
    assert vxlab.recipe("vera", task=tmp_path / "none.csv").train_examples == 4000  # the run says what is wrong


def test_a_task_that_has_the_rows_is_drawn_from(glue: Path) -> None:
    assert vxlab.recipe("vera", task="sst2", task_folder=glue).train_examples == 4000
    assert vxlab.recipe("vera", task="rte", task_folder=glue).train_examples is None
