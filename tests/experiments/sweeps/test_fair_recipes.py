"""Ready fair sweeps: three ranks and more of three methods, and the papers' own grids."""

import pytest

import vxlab
from vxlab.experiments.sweeps.fair_recipes import fair_recipe, study_run, usual_ranks


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_a_scale_compares_three_methods_over_their_ranks_with_several_seeds(scale: str) -> None:
    fair = fair_recipe(scale)
    methods = [each.method.name for each in fair.names.values()]
    expected = {name: len(ranks) for name, ranks in usual_ranks(scale).items()}
    assert {name: methods.count(name) for name in methods} == expected
    assert fair.report_seeds >= 2
    assert fair.settings["model"] == "minilm"


def test_small_has_three_ranks_and_three_rates_of_each_method() -> None:
    fair = fair_recipe("small")
    assert all(len(ranks) >= 3 for ranks in usual_ranks("small").values())
    assert (len(usual_ranks("small")), fair.learning_rates) == (3, 3)


def test_veras_paper_is_figure_2() -> None:
    fair = fair_recipe("paper", paper="vera")
    assert list(fair.names)[-6:-3] == ["LoRA-XS r=4", "LoRA-XS r=8", "LoRA-XS r=12"]
    assert [each.method.rank for each in fair.names.values() if each.method.name == "vera"] == [1, 4, 16, 64, 256, 1024]
    chosen = {name: fair.settings[name] for name in ("model", "task", "epochs", "batch_size", "max_length", "targets")}
    assert chosen == {
        "model": "FacebookAI/roberta-large", "task": "rte", "epochs": 40, "batch_size": 128, "max_length": 128,
        "targets": "query-value",
    }  # fmt: skip
    assert (fair.report_seeds, fair.head_learning_rates) == (5, (2e-3,))


def test_lora_xss_paper_keeps_alpha_and_tries_its_rates() -> None:
    fair = fair_recipe("paper", paper="lora_xs", learning_rates=3)
    xs = [each for each in fair.names.values() if each.method.name == "lora_xs"]
    assert {each.method.alpha for each in xs} == {16}
    assert [each.method.rank for each in xs] == [4, 8, 12, 16, 20, 25]
    assert fair.rates(xs[0]) == pytest.approx((1e-4, 3.16e-4, 1e-3), rel=0.01)
    assert fair.head_learning_rates == (5e-4, 1e-3, 5e-3)
    assert (fair.settings["task"], fair.settings["epochs"]) == ("sst2", 10)


def test_what_is_chosen_wins_over_the_scale() -> None:
    fair = fair_recipe("small", ranks={"lora": [2]}, epochs=7, learning_rates=5, model=None)
    assert list(fair.names) == ["LoRA r=2"]
    assert (fair.settings["epochs"], fair.learning_rates, fair.settings["model"]) == (7, 5, "minilm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "large"}, "scale='large' is unknown; choose one of smoke, small, paper"),
        ({"paper": "dora"}, "paper='dora' has no grid here; choose one of vera, lora_xs"),
        ({"epoch": 3}, "settings has no field 'epoch'; did you mean 'epochs'"),
        ({"ranks": {"lorra": [2]}}, "method='lorra' is unknown; did you mean 'lora'"),
        ({"scale": "paper", "task": "wnli"}, "scale='paper' has no published settings for vera"),
    ],
)
def test_what_is_not_there_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        fair_recipe(**arguments)


@pytest.mark.parametrize(("task", "epochs", "head"), [("sst2", 10, 6e-3), ("mrpc", 40, 3e-3), ("cola", 40, 6e-3)])
def test_a_studied_run_has_the_papers_settings_of_its_own_task(task, epochs, head):
    spec = study_run(vxlab.VeRA(rank=256), "paper", paper="vera", task=task, seed=3)
    assert (spec.task, spec.epochs, spec.head_learning_rate, spec.seed) == (task, epochs, head, 3)
    assert study_run(vxlab.Full(), "paper", paper="vera", task=task).head_learning_rate == head


def test_a_studied_run_without_published_settings_is_refused():
    with pytest.raises(vxlab.VxlabError, match=r"no published settings for lora_xs .* on task='rotten_tomatoes'"):
        study_run(vxlab.LoRA(rank=8), "paper", task="rotten_tomatoes")


def test_what_is_chosen_for_a_studied_run_holds():
    spec = study_run(vxlab.LoRA(rank=8), targets="key", train_examples=100, learning_rate=1e-4)
    assert (spec.targets, spec.train_examples, spec.learning_rate) == ("key", 100, 1e-4)


def test_published_protocols_choose_by_whole_runs_and_the_small_scale_by_a_third_of_them() -> None:
    shares = {scale: fair_recipe(scale).tuning_share for scale in ("smoke", "small", "paper")}
    assert shares == {"smoke": 1.0, "small": 0.33, "paper": 1.0}
    assert fair_recipe("paper", paper="lora_xs").tuning_share == 1
    assert fair_recipe("small", tuning_share=1).tuning_share == 1
