"""The papers' tables: figures as they were published, each with its source and its certainty."""

import pandas as pd
import pytest

from vxlab.adapters import METHODS
from vxlab.errors import VxlabError
from vxlab.paths import shipped_path
from vxlab.studies.published import MARKS, published_table

COSTS = published_table("costs")
SCORES = ("glue", "e2e", "mt_bench", "vit", "vera_ablations", "reasoning")
TASKS = ["sst2", "mrpc", "cola", "qnli", "rte", "stsb"]
# Methods of the papers that vxlab does not have, and the model that nobody trained.
OTHERS = {"bitfit", "lora_fa", "base"}
each_table = pytest.mark.parametrize("name", SCORES)


def _scores(name: str, task: str, *, model: str, method: str, **wanted: object) -> list[float]:
    table = published_table(name)
    rows = table[(table["task"] == task) & (table["model"] == model) & (table["method"] == method)]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return [float(score) for score in rows["score"]]


def _value(model: str, method: str, rank: int, quantity: str) -> float:
    rows = COSTS[(COSTS["model"] == model) & (COSTS["method"] == method) & (COSTS["rank"] == rank)]
    (value,) = rows[rows["quantity"] == quantity]["value"]
    return float(value)


def test_llama_7b_has_its_time_and_memory():
    time = {method: _value("LLaMA-7B", method, 64, "training time") for method in ("lora", "vera")}
    memory = {method: _value("LLaMA-7B", method, 64, "peak memory") for method in ("lora", "vera")}
    assert time == {"lora": 568, "vera": 578}
    assert memory == {"lora": 23.42, "vera": 21.69}


@pytest.mark.parametrize(("rank", "lora", "xs"), [(16, 198.8, 200.7), (32, 200.6, 201.7), (64, 204.5, 204.8)])
def test_roberta_large_has_its_runtimes(rank, lora, xs):
    assert _value("RoBERTa-large", "lora", rank, "training time") == lora
    assert _value("RoBERTa-large", "lora_xs", rank, "training time") == xs


def test_svd_seconds_are_ranges():
    svd = COSTS[COSTS["quantity"] == "SVD time"]
    assert list(zip(svd["rank"], svd["value"], svd["to"], strict=True)) == [(4, 10.6, 10.8), (25, 18.9, 19.1)]


def test_every_figure_has_a_source_a_unit_a_setting_and_a_known_certainty():
    for column in ("model", "quantity", "unit", "setting", "source"):
        assert COSTS[column].str.strip().str.len().gt(0).all(), column
    assert COSTS["source"].str.contains(r"arXiv \d{4}\.\d{5}").all()
    assert set(COSTS["certainty"]) <= set(MARKS)
    assert set(COSTS["method"]) <= set(METHODS)
    assert (COSTS["to"].isna() | (COSTS["to"] > COSTS["value"])).all()


def test_no_figure_stands_twice():
    assert not COSTS.duplicated(["model", "method", "rank", "quantity"]).any()


def test_only_what_stands_in_the_paper_goes_without_a_mark():
    assert [certainty for certainty, words in MARKS.items() if not words] == ["S"]
    assert (COSTS["mark"] == COSTS["certainty"].map(MARKS)).all()


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(VxlabError, match="no published table 'cost'; did you mean 'costs'"):
        published_table("cost")


def test_a_table_without_certainties_is_refused():
    with pytest.raises(VxlabError, match=r"published_recipes\.csv does not say how certain"):
        published_table("recipes")


def test_the_numbers_are_numbers():
    assert pd.api.types.is_float_dtype(COSTS["value"])
    assert COSTS["rank"].dtype == "Int64"


GLUE = [
    ("RoBERTa-base", "full", None, 125_000_000, [94.8, 90.2, 63.6, 92.8, 78.7, 91.2, 85.2]),
    ("RoBERTa-base", "lora", 8, 300_000, [95.1, 89.7, 63.4, 93.3, 86.6, 91.5, 86.6]),
    ("RoBERTa-base", "vera", 1024, 43_000, [94.6, 89.5, 65.6, 91.8, 78.7, 90.7, 85.2]),
    ("RoBERTa-large", "lora", 8, 800_000, [96.2, 90.2, 68.2, 94.8, 85.2, 92.3, 87.8]),
    ("RoBERTa-large", "vera", 256, 61_000, [96.1, 90.9, 68.0, 94.4, 85.9, 91.7, 87.8]),
    ("RoBERTa-large", "lora_xs", 8, 6_144, [95.30, 88.48, 64.39, 92.49, 86.28, 90.57, 86.25]),
    ("RoBERTa-large", "lora_xs", 16, 24_576, [95.9, 90.7, 67.0, 93.9, 88.1, 92.0, 87.9]),
    ("RoBERTa-large", "lora_xs", 25, 60_000, [96.33, 91.18, 68.55, 94.34, 89.53, 92.22, 88.69]),
]


@pytest.mark.parametrize(("model", "method", "rank", "parameters", "scores"), GLUE)
def test_glue_is_as_the_papers_print_it(model, method, rank, parameters, scores):
    table = published_table("glue")
    rows = table[(table["model"] == model) & (table["method"] == method)]
    rows = rows[rows["rank"].isna() if rank is None else rows["rank"] == rank]
    assert list(rows["task"]) == [*TASKS, "average"]
    assert list(rows["score"]) == scores
    assert set(rows["parameters"]) == {parameters}


def test_every_average_over_glue_is_the_mean_of_its_six_tasks():
    table = published_table("glue")
    for (model, method, rank), rows in table.groupby(["model", "method", "rank"], dropna=False):
        by_task = rows.set_index("task")["score"]
        assert by_task[TASKS].mean() == pytest.approx(by_task["average"], abs=0.06), (model, method, rank)


def test_the_other_tables_are_as_the_papers_print_them():
    assert _scores("e2e", "e2e", model="GPT2-medium", method="vera", metric="bleu") == [70.1]
    assert _scores("e2e", "e2e", model="GPT2-large", method="lora", metric="cider") == [2.52]
    assert _scores("mt_bench", "mt_bench", model="LLaMA2-13B", method="vera", rank=1024) == [5.93]
    assert _scores("mt_bench", "mt_bench", model="LLaMA-13B", method="base") == [2.61]
    assert _scores("vit", "cifar100", model="ViT-L", method="vera", rank=256, parameters=61_000) == [87.5]
    assert _scores("vit", "resisc45", model="ViT-B", method="head") == [67.2]
    assert _scores("reasoning", "gsm8k", model="Gemma-7B", method="lora_xs", parameters=800_000) == [74.22]
    assert _scores("reasoning", "math", model="Mistral-7B", method="full") == [18.60]
    assert _scores("reasoning", "hellaswag", model="LLaMA2-7B", method="lora_xs", rank=32) == [75.4]


def test_ablations_have_their_spread():
    table = published_table("vera_ablations").set_index(["variant", "task"])
    assert tuple(table.loc[("only d", "rte"), ["score", "spread"]]) == (67.0, 13.9)
    assert tuple(table.loc[("unique matrices", "cola"), ["score", "spread"]]) == (68.3, 1.8)
    assert table["spread"].ge(0).all()


def test_lora_xs_parameters_are_ninety_six_square_cores():
    rows = published_table("glue").query("method == 'lora_xs'")
    assert (rows["parameters"] == 96 * rows["rank"] ** 2).all()


def test_figures_that_were_recalled_say_so():
    glue = published_table("glue").query("method == 'lora_xs'")
    recalled = glue[glue["certainty"] == "R"]
    assert set(recalled["rank"]) == {8, 25}
    assert set(recalled["mark"]) == {"recalled, not verified"}
    assert list(glue[(glue["rank"] == 8) & (glue["task"] == "average")]["mark"]) == ["quoted by later work"]
    assert set(published_table("reasoning").query("task == 'gsm8k'")["certainty"]) == {"2"}


@each_table
def test_every_score_has_a_source_a_unit_and_a_known_certainty(name):
    table = published_table(name)
    for column in ("model", "method", "task", "metric", "unit", "source"):
        assert table[column].str.strip().str.len().gt(0).all(), column
    assert table["source"].str.contains(r"arXiv \d{4}\.\d{5}").all()
    assert set(table["certainty"]) <= set(MARKS)
    assert set(table["method"]) <= {*METHODS, *OTHERS}
    variant = ["variant"] if "variant" in table else []
    assert not table.duplicated(["model", "method", "rank", "task", "metric", *variant]).any()


@each_table
def test_fractions_are_hundredths_of_the_percentages_and_of_nothing_else(name):
    table = published_table(name)
    percent = table["unit"] == "%"
    assert table["fraction"].notna().equals(percent)
    assert (100 * table["fraction"] - table["score"])[percent].abs().max() < 1e-9 or not percent.any()
    assert table["fraction"].dropna().between(0, 1).all()
    assert table["parameters"].dtype == "Int64"


def test_every_table_with_certainties_is_tested_here():
    names = {path.stem.removeprefix("published_") for path in shipped_path("data").glob("published_*.csv")}
    assert names == {*SCORES, "costs", "recipes", "storage"}
