"""Neighbours of a candidate: who they are, and how the difference to each is told."""

import math

import pandas as pd
import pytest
import toy_tables as toy

from vxlab.errors import VxlabError
from vxlab.experiments.candidates.neighbours import neighbours


def _related(candidate, summary=None):
    summary = toy.summary() if summary is None else summary
    rows = neighbours(summary, toy.pairs(), candidate)
    return dict(zip(rows["candidate"], rows["relation"], strict=True))


def test_neighbours_are_the_next_ranks_the_nearest_in_size_and_what_has_no_rank():
    assert _related("VeRA r=256") == {
        "VeRA r=256": "this one", "VeRA r=16": "next rank below", "VeRA r=1024": "next rank above",
        "LoRA r=1": "nearest in size", "LoRA-XS r=32": "nearest in size", "DoRA r=8 (PEFT)": "nearest in size",
        "head only": "no rank", "full fine-tuning": "no rank",
    }  # fmt: skip


def test_the_lowest_and_the_highest_rank_have_one_neighbour_of_their_own():
    assert [name for name, relation in _related("LoRA r=1").items() if "next" in relation] == ["LoRA r=4"]
    assert [name for name, relation in _related("LoRA r=64").items() if "next" in relation] == ["LoRA r=16"]


def test_the_head_alone_is_beside_the_smallest_of_each_method():
    related = _related("head only")
    assert {name for name, relation in related.items() if relation == "nearest in size"} == {
        "LoRA r=1", "VeRA r=1", "LoRA-XS r=4", "DoRA r=8 (PEFT)",
    }  # fmt: skip


def test_other_target_sets_of_the_method_are_no_next_ranks():
    summary = toy.summary()
    summary.loc[summary["candidate"] == "VeRA r=16", "targets"] = "mlp"
    assert _related("VeRA r=256", summary)["VeRA r=1"] == "next rank below"


def test_a_difference_is_the_candidates_score_minus_the_neighbours_either_way_round():
    summary, pairs = toy.summary(), toy.pairs()
    forth = neighbours(summary, pairs, "LoRA r=1").set_index("candidate").loc["VeRA r=256"]
    back = neighbours(summary, pairs, "VeRA r=256").set_index("candidate").loc["LoRA r=1"]
    row = pairs[(pairs["a"] == "LoRA r=1") & (pairs["b"] == "VeRA r=256")].iloc[0]
    assert tuple(forth[["difference", "low", "high"]]) == tuple(row[["difference", "low", "high"]])
    assert tuple(back[["difference", "low", "high"]]) == (-row["difference"], -row["high"], -row["low"])
    assert forth["seen"] is back["seen"] is bool(row["seen"])


def test_ranks_by_layer_are_nearest_in_size_and_no_next_rank_nor_without_one():
    summary = toy.summary()
    own = summary["candidate"] == "LoRA r=4"
    summary.loc[own, ["method", "rank"]] = ["LoRA by layer", pd.NA]
    assert _related("LoRA r=1", summary)["LoRA r=4"] == "nearest in size"
    assert _related("LoRA r=1", summary)["LoRA r=16"] == "next rank above"
    related = _related("LoRA r=4", summary)
    assert related["LoRA r=1"] == "nearest in size"
    assert not [name for name, relation in related.items() if "next" in relation]


def test_itself_and_pairs_that_were_not_compared_have_no_difference():
    rows = neighbours(toy.summary(), toy.pairs().head(0), "LoRA r=1")
    assert rows["difference"].isna().all()
    assert rows["seen"].isna().all()
    assert math.isnan(neighbours(toy.summary(), toy.pairs(), "LoRA r=1").iloc[0]["difference"])


def test_one_candidate_alone_has_no_neighbours():
    summary = toy.summary().query("candidate == 'VeRA r=16'")
    assert list(neighbours(summary, toy.pairs(), "VeRA r=16")["candidate"]) == ["VeRA r=16"]


def test_candidates_without_a_count_of_parameters_can_be_asked_for():
    summary = toy.summary()
    summary.loc[summary["candidate"] == "VeRA r=1024", ["backbone", "mean"]] = pd.NA
    assert "VeRA r=256" in set(neighbours(summary, toy.pairs(), "VeRA r=1024")["candidate"])


def test_an_unknown_candidate_names_the_nearest():
    with pytest.raises(VxlabError, match=r"'VeRA r=255' is not in this sweep; did you mean 'VeRA r=256'\?"):
        neighbours(toy.summary(), toy.pairs(), "VeRA r=255")
