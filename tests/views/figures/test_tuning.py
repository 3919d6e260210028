"""Tuning curves: every rate that was tried, the chosen one, and what a reader must be warned of."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_tables as toy

from vxlab.views.figures.tuning import add_tuning, tuning_curves, tuning_of

CHOSEN, LOW, HIGH, LOST = (
    "chosen",
    "chosen, the lowest tried: a better one may be lower",
    "chosen, the highest tried: a better one may be higher",
    "a seed diverged",
)


def _drawn(figure, name):
    return [trace for trace in figure.data if trace.name == name and len(trace.x)]


def test_a_panel_for_each_method_and_a_line_for_each_rank():
    table = toy.tuning()
    figure = tuning_curves(table, metric="accuracy")
    titles = {axis.title.text for axis in figure.select_xaxes()}
    assert titles == {f"{method}<br>learning rate" for method in table["method"].unique()}
    assert all(axis.type == "log" for axis in figure.select_xaxes())
    lora = [trace for trace in figure.data if trace.xaxis == "x" and trace.name.startswith("r=")]
    assert [trace.name for trace in lora] == ["r=1", "r=4", "r=16", "r=64"]
    assert list(lora[0].x) == list(toy.RATES["LoRA"])
    own = table[table["candidate"] == "LoRA r=1"]
    assert list(lora[0].y) == pytest.approx(list(own["median"]))
    assert list(lora[0].y + lora[0].error_y.array) == pytest.approx(list(own["high"]))


def test_ranks_by_layer_are_no_rank_and_not_without_one():
    table = toy.tuning()
    own = table["candidate"] == "LoRA r=4"
    table.loc[own, ["method", "rank"]] = ["LoRA by layer", pd.NA]
    names = {trace.name for trace in tuning_curves(table, metric="accuracy").data}
    assert {"ranks by layer", "no rank", "r=1"} <= names


def test_a_rank_looks_the_same_in_every_panel_and_ranks_differ():
    figure = tuning_curves(toy.tuning(), metric="accuracy")
    by_rank = {}
    for trace in figure.data:
        if trace.name.startswith("r="):
            by_rank.setdefault(trace.name, set()).add((trace.line.color, trace.line.dash, trace.marker.symbol))
    assert all(len(looks) == 1 for looks in by_rank.values())
    assert len(set.union(*by_rank.values())) == len(by_rank)


def test_every_chosen_rate_is_ringed_and_an_edge_points_outwards():
    table = toy.tuning()
    figure = tuning_curves(table, metric="accuracy")
    assert sum(len(trace.x) for trace in _drawn(figure, CHOSEN)) == (table["chosen"] & (table["edge"] == "")).sum()
    (edge,) = _drawn(figure, HIGH)
    assert (list(edge.x), edge.marker.symbol) == ([2e-2], "triangle-right-open")
    assert not _drawn(figure, LOW)
    flipped = table.assign(edge=table["edge"].replace("high", "low"))
    (edge,) = _drawn(tuning_curves(flipped, metric="accuracy"), LOW)
    assert edge.marker.symbol == "triangle-left-open"


def test_rates_that_diverged_are_crosses_below_every_score():
    table = toy.tuning()
    (lost,) = _drawn(tuning_curves(table, metric="accuracy"), LOST)
    assert set(lost.x) == {8e-3}
    assert len(lost.x) == 4
    assert max(lost.y) < table["low"].min()
    assert "0 runs finished, 2 did not" in lost.customdata[-1]


def test_the_legend_names_each_thing_once_and_nothing_that_is_not_drawn():
    figure = tuning_curves(toy.tuning().query("diverged == 0 and edge == ''"), metric="accuracy")
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown))
    assert CHOSEN in shown
    assert not {LOW, HIGH, LOST} & set(shown)


def test_other_rates_of_the_head_are_hollow_beside_the_chosen_ones_line():
    table = toy.tuning().query("candidate == 'VeRA r=16'")
    other = table.assign(head_learning_rate=1e-3, chosen=False, edge="")
    line, dots = tuning_curves(pd.concat([table, other]), metric="accuracy").data[:2]
    assert (line.mode, dots.mode) == ("lines+markers", "markers")
    assert dots.marker.symbol == f"{line.marker.symbol}-open"
    assert (dots.opacity, line.opacity) == (None, None)
    assert "head 0.001" in dots.customdata[0]


def test_the_head_alone_is_one_line_though_its_rates_move_together():
    table = toy.tuning().query("candidate == 'head only'")
    figure = tuning_curves(table.assign(head_learning_rate=table["learning_rate"]), metric="accuracy")
    (line,) = _drawn(figure, "no rank")
    assert line.mode == "lines+markers"
    assert len(line.x) == len(table)


def test_every_rate_that_was_tried_is_a_tick_of_its_panel():
    figure = tuning_curves(toy.tuning(), metric="accuracy")
    assert list(figure.layout.xaxis.tickvals) == list(toy.RATES["LoRA"])
    assert list(figure.layout.xaxis2.ticktext) == ["0.001", "0.005", "0.02", "0.1"]


def test_a_candidate_of_which_everything_diverged_is_crosses_alone():
    table = toy.tuning().query("candidate == 'LoRA r=1'")
    lost = table.assign(median=np.nan, low=np.nan, high=np.nan, n=0, diverged=2, chosen=False, edge="")
    figure = tuning_curves(lost, metric="accuracy")
    assert len(_drawn(figure, LOST)[0].x) == 4
    assert not _drawn(figure, CHOSEN)


def test_a_method_with_the_heads_rate_alone_is_drawn_over_that():
    table = toy.tuning().query("candidate == 'head only'")
    table = table.assign(head_learning_rate=table["learning_rate"], learning_rate=np.nan)
    assert list(_drawn(tuning_curves(table, metric="accuracy"), "no rank")[0].x) == list(toy.OTHER_RATES)


def test_one_candidates_panel_has_its_line_the_chosen_rate_and_crosses_below_it():
    rows = toy.tuning().query("candidate == 'LoRA r=16'")
    figure = go.Figure()
    add_tuning(figure, xaxis="x2", yaxis="y2")
    changes = tuning_of(rows, "#123456")
    assert len(figure.data) == len(changes) == 4
    line, others, ring, crosses = changes
    assert line["x"] == list(toy.RATES["LoRA"])
    assert line["y"] == pytest.approx(list(rows["median"]), abs=1e-4)
    assert line["error_y.array"] == pytest.approx([0.006] * 4)
    assert others["x"] == []
    assert ring["x"] == list(rows.loc[rows["chosen"], "learning_rate"])
    assert crosses["x"] == [8e-3]
    assert crosses["y"][0] < rows["low"].min()


def test_one_candidates_panel_draws_other_rates_of_the_head_apart():
    rows = toy.tuning().query("candidate == 'VeRA r=16'")
    other = rows.assign(head_learning_rate=1e-3, chosen=False, edge="")
    line, others, ring, _ = tuning_of(pd.concat([rows, other]), "#123456")
    assert line["x"] == others["x"] == list(toy.RATES["VeRA"])
    assert "head 0.001" in others["customdata"][0]
    assert len(ring["x"]) == 1


def test_one_candidates_panel_of_lost_runs_alone_or_of_none_is_empty_but_for_crosses():
    rows = toy.tuning().query("candidate == 'LoRA r=1'")
    lost = rows.assign(median=np.nan, low=np.nan, high=np.nan, n=0, diverged=2, chosen=False, edge="")
    line, _, ring, crosses = tuning_of(lost, "#123456")
    assert (line["x"], ring["x"], crosses["x"]) == ([], [], list(toy.RATES["LoRA"]))
    assert all(change["x"] == [] for change in tuning_of(rows.iloc[:0], "#123456"))


def test_of_runs_that_ended_early_it_is_the_loss_with_the_lowest_at_the_top():
    table = toy.tuning().assign(ends_after=0.25)
    figure = tuning_curves(table, metric="accuracy")
    axis = next(figure.select_yaxes())
    assert axis.title.text == "validation loss after 0.25 of the steps"
    assert (axis.type, axis.autorange) == ("log", "reversed")
    (lost,) = _drawn(figure, LOST)
    assert min(lost.y) > table.query("method == 'LoRA'")["high"].max()  # the worst end
    assert all(each.matches is None for each in figure.select_yaxes())
    line = next(trace for trace in figure.data if trace.name == "r=1")
    assert "after 0.25 of the steps, median loss" in line.customdata[0]
    assert min(tuning_of(table, "red")[-1]["y"]) > table["high"].max()
