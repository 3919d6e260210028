"""Figures over tasks: every candidate has its place, what lacks is blank, and a partial atlas is drawn too."""

import numpy as np
import pytest
from toy_task_grid import across

from vxlab.studies.atlas import mean_ranks, pooled_differences, rules_of_thumb
from vxlab.views import figures

BASE = np.array([80.0, 75.0, 70.0, 85.0])
NAN = float("nan")
WHOLE = {
    "full": list(BASE + 4), "head": list(BASE - 9), "LoRA 1 qv": list(BASE), "LoRA 4 qv": list(BASE + 1),
    "LoRA 1 al": [81.0, 77.0, NAN, 87.0],
}  # fmt: skip


def test_differences_on_single_tasks_and_over_them_are_drawn_and_a_lack_is_blank():
    found = across(WHOLE)
    pooled = pooled_differences(found, "full")
    figure = figures.differences_over_tasks(pooled, unit="points")
    third = next(trace for trace in figure.data if trace.name == "t2")
    assert "LoRA 1 al" not in third.y
    assert len(third.y) == 3
    (heat,) = figures.scores_by_task(found.scores, pooled, unit="points").data
    row = list(heat.y).index("LoRA 1 al")
    assert np.isnan(heat.z[row][2])
    assert heat.text[row][2] == ""
    assert heat.z[list(heat.y).index("head")][0] == pytest.approx(-13)


def test_mean_ranks_have_bars_of_half_the_critical_difference():
    ranks = mean_ranks(across(WHOLE).scores)
    figure = figures.ranks_over_tasks(ranks.table, ranks.critical, ranks.tasks)
    bars = {name: half for trace in figure.data[-2:] for name, half in zip(trace.y, trace.error_x.array, strict=True)}
    assert bars == pytest.approx(dict.fromkeys(ranks.table["candidate"], ranks.critical / 2))


def test_parameters_part_families_by_colour_and_layers_by_filling():
    found = across(WHOLE)
    figure = figures.differences_against_parameters(pooled_differences(found, "full"), found.scores, unit="points")
    looks = {trace.name: trace.marker for trace in figure.data if "LoRA" in trace.name}
    assert len({marker.color for marker in looks.values()}) == 1
    assert len({marker.symbol for marker in looks.values()}) == 2
    assert any(trace.name == "head: −13.0" for trace in figure.data)


def test_every_pair_is_there_both_ways():
    found = across(WHOLE)
    (heat,) = figures.pairs_over_tasks(pooled_differences(found), found.candidates, unit="points").data
    z = np.array(heat.z, dtype=float)
    assert np.allclose(z, -z.T, equal_nan=True)
    assert np.isnan(z).sum() == len(found.candidates)


def test_rates_and_rules_are_drawn():
    found = across(WHOLE)
    assert {trace.name for trace in figures.rates_by_rank(found.scores).data if trace.mode == "lines+markers"} == {
        "LoRA, query-value", "LoRA, all-linear",
    }  # fmt: skip
    figure = figures.missed_by_rule(rules_of_thumb(found), unit="points")
    assert len(figure.data[0].y) == len(rules_of_thumb(found))


@pytest.mark.parametrize(
    ("means", "levels"),
    [({"full": [80.0], "head": [70.0]}, ["full", "head: −10.0"]), ({"full": [80.0, 81.0]}, ["the reference"])],
)
def test_a_partial_atlas_is_drawn_with_what_there_is(means, levels):
    found = across(means)
    pooled = pooled_differences(found, "full")
    others = [name for name in means if name != "full"]
    (heat,) = figures.scores_by_task(found.scores, pooled, unit="points").data
    assert (list(heat.x), list(heat.y)) == (list(dict.fromkeys(found.scores["task"])), others)
    drawn = figures.differences_over_tasks(pooled, unit="points").data
    assert {name for trace in drawn for name in trace.y} == set(others)
    drawn = figures.differences_against_parameters(pooled, found.scores, unit="points").data
    assert [trace.name for trace in drawn] == levels
    (pairs,) = figures.pairs_over_tasks(pooled_differences(found), found.candidates, unit="points").data
    assert list(pairs.x) == list(means)
    assert [trace.name for trace in figures.rates_by_rank(found.scores).data] == ["full fine-tuning: 0.001"]
    (missed,) = figures.missed_by_rule(rules_of_thumb(found), unit="points").data
    assert len(missed.y) == 0


def test_names_with_markup_are_text():
    found = across({"full": [80.0, 81.0], "head": [70.0, 71.0]})
    pooled = pooled_differences(found, "full").assign(a="<b>head</b>")
    assert list(figures.differences_over_tasks(pooled, unit="points").data[0].y) == ["&lt;b&gt;head&lt;/b&gt;"]


def test_no_two_of_many_tasks_have_the_same_mark():
    found = across({"full": list(np.linspace(80, 90, 11)), "head": list(np.linspace(70, 75, 11))})
    ranks = mean_ranks(found.scores)
    pooled = pooled_differences(found, "full")
    by_rank = figures.ranks_over_tasks(ranks.table, ranks.critical, ranks.tasks)
    for figure in (by_rank, figures.differences_over_tasks(pooled, unit="points")):
        marks = [trace.marker.symbol for trace in figure.data if trace.name in ranks.tasks]
        assert len(set(marks)) == len(marks) == 11
    assert figures.scores_by_task(found.scores, pooled, unit="points").layout.xaxis.tickangle == -30
