"""The runs of this page: every method on every task with every seed, and what is chosen wins."""

import pytest
from notebook_cells import run_cell

import vxlab
from vxlab.experiments.sweeps.scales import SCALES
from vxlab.studies import study_settings
from vxlab.studies.many import many_methods, many_specs

ALL = {"lora": None, "vera": None, "lora_xs": None}


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_every_method_has_every_seed_in_float32(scale: str) -> None:
    specs = many_specs(scale, many_methods(scale, ALL), [], None, {})
    usual = study_settings("many", scale)
    assert len(specs) == len(set(specs))
    assert [spec.seed for spec in specs] == 3 * list(range(usual["seeds"]))
    assert {spec.precision for spec in specs} == {"float32"}


def test_small_trains_twenty_or_more() -> None:
    assert len(many_specs("small", many_methods("small", ALL), [], None, {})) >= 20


def test_the_papers_scale_is_of_several_tasks_and_one_model() -> None:
    specs = many_specs("paper", many_methods("paper", ALL), [], None, {})
    assert len({spec.model for spec in specs}) == 1
    assert {spec.task for spec in specs} == {"sst2", "mrpc", "rte", "qnli"}


def test_what_is_chosen_wins() -> None:
    methods = many_methods("small", {"lora": 3, "head": None})
    assert [str(method.name) for method in methods] == ["lora", "head"]
    specs = many_specs("small", methods[:1], ["rotten_tomatoes"], 2, {"epochs": 3, "batch_size": None})
    assert [(spec.method, spec.seed, spec.epochs, spec.batch_size) for spec in specs] == [
        (vxlab.LoRA(rank=3), seed, 3, 8) for seed in (0, 1)
    ]


def test_a_task_named_twice_is_trained_once() -> None:
    assert len(many_specs("smoke", many_methods("smoke", {"vera": 4}), ["rotten_tomatoes"] * 2, 1, {})) == 1


def test_no_method_and_no_seed_are_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="methods is empty; give one or more"):
        many_methods("small", {})
    with pytest.raises(vxlab.VxlabError, match="seeds"):
        many_specs("small", many_methods("small", ALL), [], 0, {})


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_says_all_that_the_page_measures(scale: str) -> None:
    usual = study_settings("many", scale)
    assert list(usual["sizes"]) == sorted(usual["sizes"])
    assert min(usual["widths"]) >= 2
    assert all(len(batch) == 2 for batch in usual["batches"])
    assert usual["rows"] > 0
    assert usual["rounds"] > 0
    assert usual["pace_rounds"] > 0
    assert usual["most_bytes"] > 0


def test_what_is_chosen_in_the_notebook_wins_and_what_is_not_stays() -> None:
    given = dict.fromkeys(
        ("model", "writer", "task_folder", "targets", "lora_rank", "lora_xs_rank", "epochs", "batch_size",
         "eval_examples", "max_length", "rows", "pace_rounds")
    )  # fmt: skip
    chosen = {
        "methods": ["vera", "lora"], "vera_rank": 32, "seeds": 2, "tasks": [], "train_examples": 64, "rounds": 3,
        "sizes": [10], "tokens": [], "widths": [], "most_gigabytes": 0.5, "device": "cpu",
    }  # fmt: skip
    made = run_cell("08_many_adapters", "each = many_methods", scale="small", **given, **chosen)
    small = study_settings("many", "small")
    assert made["usual"] == small | {"rounds": 3, "sizes": [10], "most_bytes": 5e8}
    assert made["each"] == [vxlab.VeRA(rank=32), vxlab.LoRA(rank=8)]
    assert len(made["specs"]) == 4
    assert {spec.train_examples for spec in made["specs"]} == {64}
