"""The papers' tables: figures as they were published, each with its source and its certainty."""

import pandas as pd
import pytest

from vxlab.adapters import METHODS
from vxlab.errors import VxlabError
from vxlab.experiments.published import MARKS, published_table

COSTS = published_table("costs")


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
