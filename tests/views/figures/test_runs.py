"""Figures: what they draw of a table, and that every edge case can be drawn and read."""

import math

import numpy as np
import pandas as pd
import pytest
import toy_records as toy
from gallery import COSTS, regression, run

from vxlab.experiments.candidates.run_scores import score_table
from vxlab.views.figures import runs as figures


def _updates(blocks, roles):
    rows = [(block, role, 0.01 * (block + 1), 1.6, 0.1) for block in range(blocks) for role in roles]
    return pd.DataFrame(rows, columns=["block", "role", "relative_norm", "d_norm", "b_norm"])


@pytest.fixture
def runs(tmp_path):
    return {"vera": run(tmp_path / "vera"), "head only": run(tmp_path / "head", 0.7)}


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_colours_are_never_the_only_difference():
    looks = [figures.look(i) for i in range(6)]
    assert len({look["line"]["dash"] for look in looks}) == 6
    assert len({look["marker"]["symbol"] for look in looks}) == 6


def test_scores_show_bars_whiskers_and_values(runs):
    table = score_table(runs)
    figure = figures.scores(table, "accuracy", "200 test items in 40 films")
    (bars,) = figure.data
    # plotly draws upwards: the table's first is on top
    assert list(bars.y) == ["head only", "vera", "most frequent class"]
    assert list(bars.x) == pytest.approx([0.7, 0.8, 0.5])
    row = table.set_index("answer").loc["vera"]
    assert bars.x[1] + bars.error_x.array[1] == pytest.approx(row["high"])
    assert bars.x[1] - bars.error_x.arrayminus[1] == pytest.approx(row["low"])
    assert [note.text for note in figure.layout.annotations] == ["0.700", "0.800", "0.500"]
    assert figure.layout.xaxis.title.text == "accuracy on 200 test items in 40 films, with 95 % interval"
    assert figure.layout.xaxis.range[0] == 0
    assert figure.layout.xaxis.range[1] > 1
    assert bars.marker.color[0] == bars.marker.color[1] != bars.marker.color[2]


def test_scores_of_a_diverged_run_have_no_bar_and_no_value(runs, tmp_path):
    table = score_table({"vera": toy.diverged_record(tmp_path / "d", runs["vera"]), "head only": runs["head only"]})
    figure = figures.scores(table, "accuracy", "200 test items in 40 films")
    assert math.isnan(figure.data[0].x[1])
    assert [note.y for note in figure.layout.annotations] == ["head only", "most frequent class"]


@pytest.mark.parametrize("slope", [-1.0, -0.1, 0.0, 0.1, 1.0])
def test_every_score_whisker_and_value_is_inside_the_axis(tmp_path, slope):
    table = score_table({"vera": regression(tmp_path, slope)})
    figure = figures.scores(table, "pearson", "300 test items")
    low, high = figure.layout.xaxis.range
    shown = table[["score", "low", "high"]].to_numpy().ravel()
    assert low <= np.nanmin(shown)
    room = 0.1 * (high - low)  # for a value such as −0.516
    assert max(note.x for note in figure.layout.annotations) + room <= high
    assert np.nanmax(shown) <= high
    assert "-" not in "".join(note.text for note in figure.layout.annotations)


@pytest.mark.parametrize(("blocks", "step"), [(1, 1), (6, 1), (16, 1), (24, 2), (80, 5)])
def test_layer_norms_draw_a_line_for_each_role(blocks, step):
    roles = ["query", "key", "value", "attention-output", "up", "gate", "down", "other"]
    table = _updates(blocks, roles)
    figure = figures.layer_norms(table, "relative_norm", "‖ΔW‖ / ‖W‖")
    assert [trace.name for trace in figure.data] == roles
    assert list(figure.data[0].x) == list(range(blocks))
    assert list(figure.data[0].y) == pytest.approx([0.01 * (block + 1) for block in range(blocks)])
    assert figure.layout.yaxis.title.text == "‖ΔW‖ / ‖W‖"
    assert figure.layout.xaxis.title.text == "transformer block, from the input"
    assert figure.layout.xaxis.dtick == step
    assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data}) == len(roles)


def test_layer_norms_say_where_training_started():
    figure = figures.layer_norms(_updates(6, ["query", "value"]), "d_norm", "‖d‖₂", start=1.6)
    (start,) = _named(figure, "before training: 1.6")
    assert set(start.y) == {1.6}
    assert start.line.color not in {trace.line.color for trace in figure.data[:2]}
    unknown = figures.layer_norms(_updates(6, ["query"]), "relative_norm", "‖ΔW‖ / ‖W‖")
    assert [trace.name for trace in unknown.data] == ["query"]


def test_costs_show_each_method_on_a_logarithmic_axis():
    figure = figures.costs(COSTS)
    backbone, head = figure.data
    assert dict(zip(backbone.y, backbone.x, strict=True)) == {
        "this: vera": 7_680, "LoRA r=8": 73_728, "full fine-tuning": 22_565_376,
    }  # fmt: skip
    assert [text.strip() for text in backbone.text] == ["22,565,376", "73,728", "7,680"]
    assert list(head.y) == list(COSTS["method"])[::-1]
    assert head.name == "in the task head: 770"
    assert backbone.marker.symbol != head.marker.symbol
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.title.text == "trained parameters"
    low, high = figure.layout.xaxis.range
    assert low < math.log10(770)
    assert high > math.log10(22_565_376) + 0.5  # room for the number
    assert list(figure.layout.yaxis.categoryarray) == list(COSTS["method"])[::-1]


@pytest.mark.parametrize(
    "table",
    [
        COSTS[COSTS["method"] == "head only"],
        COSTS.assign(head=0),
        COSTS.assign(head=0)[COSTS["method"] == "head only"],
        COSTS.assign(backbone=[147_456, 150_000, 147_456, 150_000], head=148_994),
        COSTS.assign(backbone=[1, 10, 100, 7_000_000_000]),
    ],
    ids=["head alone", "no head", "nothing", "near each other", "far apart"],
)
def test_costs_of_extreme_tables_have_a_finite_axis(table):
    figure = figures.costs(table)
    low, high = figure.layout.xaxis.range
    assert math.isfinite(low)
    assert high - low > 0.8
    values = [math.log10(value) for trace in figure.data for value in trace.x]
    assert all(low < value < high for value in values)
