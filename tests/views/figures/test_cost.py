"""Figures of costs: what they draw of a table, with its errors left out."""

import math

import pandas as pd
import pytest
import toy_costs as toy

from vxlab.experiments.costs.by_rank import FROZEN, FULL, HEAD
from vxlab.views.figures.cost import PARTS, memory_by_category, step_time_by_rank, storage_against_time


def _trace(figure, name):
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def test_step_time_is_a_line_for_each_method_with_intervals():
    figure = step_time_by_rank(toy.costs())
    vera = _trace(figure, "VeRA")
    assert list(vera.x) == [4, 64, 256, 1024]
    assert list(vera.y) == [1.08, 1.14, 1.30, 1.80]
    assert list(vera.error_y.array) == pytest.approx([0.02] * 4)
    assert list(vera.error_y.arrayminus) == pytest.approx([0.02] * 4)
    assert len({(t.line.dash, t.marker.symbol) for t in figure.data[:3]}) == 3


def test_what_has_no_rank_is_a_level_line_with_its_number():
    figure = step_time_by_rank(toy.costs())
    for name, value in (("full fine-tuning: 1.35", 1.35), ("frozen model: 1.00", 1.0), ("head only: 0.57", 0.57)):
        assert set(_trace(figure, name).y) == {value}
    assert len({trace.line.dash for trace in figure.data[3:]}) == 3


def test_the_rank_axis_is_logarithmic_with_a_tick_at_each_power_of_two():
    axis = step_time_by_rank(toy.costs()).layout.xaxis
    assert axis.type == "log"
    assert list(axis.tickvals) == [2**power for power in range(11)]
    assert axis.range[0] < 0 < math.log10(1024) < axis.range[1]


def test_memory_is_stacked_without_the_weights_and_says_how_much_they_are():
    table = toy.costs()
    figure = memory_by_category(table)
    assert [trace.name for trace in figure.data] == [name for _, name in PARTS] + ["peak of them together"]
    activations = _trace(figure, "activations")
    assert list(activations.y) == list(table["label"])[::-1]  # plotly draws upwards
    assert dict(zip(activations.y, activations.x, strict=True))["LoRA r=8"] == 280
    peak = _trace(figure, "peak of them together")
    assert dict(zip(peak.y, peak.x, strict=True))["LoRA r=8"] == 380 - 87
    assert "87 MiB of weights" in figure.layout.xaxis.title.text
    assert figure.layout.barmode == "stack"
    assert len({trace.marker.pattern.shape for trace in figure.data[:-1]}) == len(PARTS)


def test_storage_is_drawn_against_time_with_the_end_ranks_beside_their_points():
    figure = storage_against_time(toy.costs())
    lora = _trace(figure, "LoRA")
    assert list(lora.x) == [171_386, 1_330_000, 10_620_000]
    assert [text.strip() for text in lora.text] == ["r=1", "", "r=64"]
    assert list(lora.hovertext) == ["LoRA r=1", "LoRA r=8", "LoRA r=64"]
    assert list(_trace(figure, FULL).x) == [90_868_277]
    low, high = figure.layout.xaxis.range
    assert low < math.log10(3_596) < math.log10(90_868_277) < high
    assert FROZEN not in [trace.name for trace in figure.data]  # it stores nothing


@pytest.mark.parametrize("draw", [step_time_by_rank, memory_by_category, storage_against_time])
def test_rows_with_errors_are_not_drawn_and_a_missing_method_is_no_obstacle(draw):
    errors = {"VeRA r=1024": "out of memory", HEAD: "no head", "LoRA-XS r=4": "x", "LoRA-XS r=64": "x", FULL: "x"}
    figure = draw(toy.costs(errors=errors))
    drawn = [value for trace in figure.data for axis in (trace.x, trace.y) for value in axis]
    assert not any(pd.isna(value) for value in drawn)
    assert "LoRA-XS" not in [trace.name for trace in figure.data]
    assert "VeRA r=1024" not in drawn


@pytest.mark.parametrize("draw", [step_time_by_rank, memory_by_category, storage_against_time])
def test_a_table_of_references_alone_is_drawn(draw):
    figure = draw(toy.costs([row for row in toy.ROWS if row[1] is None]))
    assert all(math.isfinite(end) for end in figure.layout.xaxis.range or [])
