"""Fronts and differences: which candidates stand out, and why."""

import pandas as pd
import pytest
import toy_tables as toy

from vxlab.experiments.candidates.pareto import pareto_front
from vxlab.views.figures.verdict import differences, pareto_figures
from vxlab.views.style.theme import GREY

COSTS = {"": "backbone", "2": "bytes_stored"}


def _panel(figure, number):
    return [trace for trace in figure.data if (trace.xaxis or "x") == f"x{number}"]


@pytest.mark.parametrize(("number", "cost"), COSTS.items(), ids=COSTS.values())
def test_a_panel_for_each_counted_cost_joins_and_fills_what_nothing_beats(number, cost):
    summary = toy.summary()
    front, *points = _panel(pareto_figures(summary, metric="accuracy"), number)
    best = summary[pareto_front(summary, cost=cost)].sort_values(cost)
    assert list(front.y) == list(best["mean"])
    assert list(front.x) == sorted(front.x)
    drawn = {
        text.split("</b>")[0][3:]: symbol
        for t in points
        for text, symbol in zip(t.customdata, t.marker.symbol, strict=True)
    }
    assert set(drawn) == set(summary["candidate"])
    assert {name for name, symbol in drawn.items() if not symbol.endswith("-open")} == set(best["candidate"])


@pytest.mark.parametrize(("number", "cost", "unit"), [("3", "step_seconds", 1000), ("4", "peak_memory", 2**-20)])
def test_times_and_memory_beside_other_runs_have_their_spread_and_no_front(number, cost, unit):
    summary, runs = toy.summary(), toy.runs().astype({cost: float})
    report = runs["stage"] == "report"
    runs.loc[report, cost] = runs.loc[report, cost] * (1 + 0.01 * runs.loc[report, "seed"])
    front, *points = _panel(pareto_figures(summary, runs, metric="accuracy"), number)
    assert len(front.x) == 0
    assert all(symbol.endswith("-open") for t in points for symbol in t.marker.symbol)
    (lora,) = [t for t in points if t.name == "LoRA"]
    own = summary[summary["method"] == "LoRA"].sort_values("backbone").iloc[0]
    costs = runs[report & (runs["candidate"] == own["candidate"])][cost] * unit
    place = next(i for i, text in enumerate(lora.customdata) if own["candidate"] in text)
    assert lora.x[place] + lora.error_x.array[place] == pytest.approx(costs.max())
    assert lora.x[place] - lora.error_x.arrayminus[place] == pytest.approx(costs.min())


def test_each_method_stands_once_in_the_legend():
    figure = pareto_figures(toy.summary(), metric="accuracy")
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown)) == 1 + toy.summary()["method"].nunique()


def test_no_parameters_have_a_place_of_their_own_at_the_left():
    figure = pareto_figures(toy.summary(), metric="accuracy")
    axis = figure.layout.xaxis
    (head,) = [trace for trace in _panel(figure, "") if trace.name == "head only"]
    assert dict(zip(axis.tickvals, axis.ticktext, strict=True))[head.x[0]] == "0"
    assert 0 < head.x[0] < 192
    assert list(axis.ticktext) == ["0", "1k", "10k", "100k", "1M", "10M"]
    few = pareto_figures(toy.summary().query("method == 'VeRA'"), metric="accuracy")
    assert list(few.layout.xaxis.ticktext) == ["5k", "10k", "20k"]
    without = pareto_figures(toy.summary().query("backbone > 0"), metric="accuracy")
    assert "0" not in without.layout.xaxis.ticktext


def test_costs_have_readable_units():
    figure = pareto_figures(toy.summary(), metric="accuracy")
    (full,) = [trace for trace in _panel(figure, "3") if trace.name == "full fine-tuning"]
    assert list(full.x) == [300]
    assert figure.layout.xaxis3.title.text == "time of a training step, ms, beside other runs"
    (full,) = [trace for trace in _panel(figure, "4") if trace.name == "full fine-tuning"]
    assert list(full.x) == [1_700]


@pytest.mark.parametrize("kept", ["VeRA r=256", "LoRA r=1", "nothing"])
def test_fronts_of_one_candidate_or_none_can_be_drawn(kept):
    figure = pareto_figures(toy.summary().query("candidate == @kept"), metric="accuracy")
    assert len(figure.data[0].x) == (kept != "nothing")


def test_differences_are_in_points_with_their_interval_and_sentence():
    pairs = toy.pairs()
    seen, unseen = differences(pairs, metric="accuracy").data
    drawn = dict(zip([*seen.y, *unseen.y], [*seen.x, *unseen.x], strict=True))
    assert len(drawn) == len(pairs)
    row = pairs.iloc[0]
    assert drawn["LoRA r=1 − LoRA r=4"] == pytest.approx(100 * row["difference"])
    place = list(unseen.y).index("LoRA r=1 − LoRA r=4")
    assert unseen.x[place] + unseen.error_x.array[place] == pytest.approx(100 * row["high"])
    assert unseen.x[place] - unseen.error_x.arrayminus[place] == pytest.approx(100 * row["low"])
    assert unseen.customdata[place] == row["sentence"]


def test_pairs_that_are_told_apart_stand_out_in_colour_and_shape():
    pairs = toy.pairs()
    seen, unseen = differences(pairs, metric="accuracy").data
    assert (len(seen.x), len(unseen.x)) == (pairs["seen"].sum(), (~pairs["seen"]).sum())
    assert seen.marker.color != unseen.marker.color == GREY
    assert seen.marker.symbol != unseen.marker.symbol


@pytest.mark.parametrize("kind", ["equal rank", "matched parameters"])
def test_one_kind_of_pairs_keeps_the_tables_order_from_the_top(kind):
    pairs = toy.pairs()
    figure = differences(pairs, kind, metric="accuracy")
    own = pairs[pairs["kind"] == kind]
    assert list(figure.layout.yaxis.categoryarray)[::-1] == [
        f"{a} − {b}" for a, b in zip(own["a"], own["b"], strict=True)
    ]
    assert figure.layout.height == 150 + 24 * len(own)


def test_correlations_differ_by_their_own_unit():
    pairs = toy.pairs()
    figure = differences(pairs, metric="matthews")
    assert max(x for trace in figure.data for x in trace.x) == pytest.approx(pairs["difference"].max())
    assert figure.layout.xaxis.title.text == "difference in test Matthews correlation, and its own 95 % interval"
    assert "points" in differences(pairs, metric="accuracy").layout.xaxis.title.text


def test_no_pairs_at_all_are_an_empty_figure():
    assert all(len(trace.x) == 0 for trace in differences(toy.pairs().head(0), metric="accuracy").data)


def test_pairs_read_from_a_database_have_their_booleans_as_objects():
    pairs = toy.pairs().astype({"seen": object})
    assert sum(len(trace.x) for trace in differences(pairs, metric="accuracy").data) == len(pairs)
    assert pd.api.types.is_object_dtype(pairs["seen"])
