"""Figures of a sweep: what they draw of its tables, and what they leave out."""

import math

import numpy as np
import pandas as pd
import pytest
import toy_tables as toy

from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.method_names import NO_LAYERS
from vxlab.studies.published import published_table
from vxlab.views.figures.sweep import gain_per_parameter, looks_of, score_against_parameters, series_names

RTE = published_table("glue").query("task == 'rte' and model == 'RoBERTa-large'")
LINES = ["LoRA", "VeRA", "LoRA-XS", "DoRA (PEFT)"]


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def _line(figure, name):
    (line,) = [trace for trace in _named(figure, name) if trace.mode.startswith("lines")]
    return line


def test_scores_are_a_line_for_each_method_by_parameters_with_means():
    summary = toy.summary()
    figure = score_against_parameters(summary, metric="accuracy")
    for name in LINES:
        own, line = summary[summary["method"] == name], _line(figure, name)
        assert list(line.x) == list(own["backbone"])
        assert list(line.y) == list(own["mean"])
        assert np.isnan(line.error_y.array).all()  # of three seeds the dots say it
    looks = {(line.line.color, line.line.dash, line.marker.symbol) for line in map(_line, [figure] * 4, LINES)}
    assert len(looks) == 4
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.title.text == "test accuracy, mean over seeds"


def test_bars_are_a_standard_deviation_where_there_are_five_seeds():
    runs = toy.runs(seeds=range(10, 15))
    line, own = (each(toy.summary(runs)) for each in (
        lambda table: _line(score_against_parameters(table, metric="accuracy"), "LoRA"),
        lambda table: table[table["method"] == "LoRA"],
    ))  # fmt: skip
    assert list(line.error_y.array) == pytest.approx(list(own["sd"]))


def test_a_regressions_line_is_of_its_mean_and_of_no_class():
    figure = score_against_parameters(toy.summary(), metric="pearson", held_out=HeldOut(400, 0.0, "training mean"))
    assert _named(figure, "training mean: 0.000")
    assert not any("class" in (trace.name or "") for trace in figure.data)


def test_a_line_joins_its_points_by_size_whatever_the_tables_order():
    figure = score_against_parameters(toy.summary()[::-1], metric="accuracy")
    assert list(_line(figure, "VeRA").x) == [4_620, 4_800, 7_680, 16_896]


def test_a_method_keeps_its_look_when_others_are_missing():
    summary = toy.summary()
    whole = _line(score_against_parameters(summary, metric="accuracy"), "LoRA-XS")
    alone = _line(score_against_parameters(summary.query("method == 'LoRA-XS'"), metric="accuracy"), "LoRA-XS")
    assert alone.line.color == whole.line.color


def test_what_has_no_place_on_the_axis_is_a_level_line_with_its_number():
    figure = score_against_parameters(toy.summary(), metric="accuracy", held_out=HeldOut(400, 0.579))
    names = ("head only: 0.601", "full fine-tuning: 0.830", "most frequent class: 0.579")
    for name in names:
        (line,) = _named(figure, name)
        assert list(line.y) == pytest.approx([float(name.split(": ")[1])] * 2, abs=5e-4)
    assert len({_named(figure, name)[0].line.dash for name in names}) == 3
    low, high = figure.layout.xaxis.range
    assert low < math.log10(192) < math.log10(589_824) < high < math.log10(22_713_216)


def test_a_method_without_rank_among_the_adapters_sizes_is_a_point():
    summary = toy.summary()
    bitfit = summary.query("method == 'head only'").assign(candidate="BitFit", method="BitFit", backbone=9_984)
    figure = score_against_parameters(pd.concat([summary, bitfit]), metric="accuracy")
    assert list(_line(figure, "BitFit").x) == [9_984]


def test_dots_are_the_reports_runs_and_none_of_tuning():
    figure = score_against_parameters(toy.summary(), metric="accuracy", runs=toy.runs())
    (dots,) = [trace for trace in _named(figure, "VeRA") if trace.mode == "markers"]
    assert len(dots.x) == 4 * len(toy.SEEDS) - 1  # one diverged
    assert min(dots.y) > 0.5
    assert dots.customdata[0] == "VeRA r=1, seed 10"
    assert [trace.marker.color for trace in _named(figure, "one seed's run")] == ["#555555"]


def test_published_points_are_hollow_cited_and_marked_when_not_looked_up():
    figure = score_against_parameters(toy.summary(), RTE, metric="accuracy")
    (vera,) = _named(figure, "VeRA, published")
    assert (list(vera.x), list(vera.y)) == ([61_000], [0.859])
    assert vera.marker.symbol == "square-open"
    assert vera.marker.color == _line(figure, "VeRA").line.color
    assert "arXiv 2310.11454" in vera.customdata[0]
    assert vera.visible == "legendonly"  # or all that was measured would share a strip
    (recalled,) = _named(figure, "LoRA-XS, published [recalled, not verified]")
    assert list(recalled.x) == [6_144, 60_000]
    assert all("[recalled, not verified]" in text for text in recalled.customdata)
    assert len(_named(figure, "LoRA-XS, published [quoted by later work]")[0].x) == 1
    assert _named(figure, "LoRA-FA, published")
    (caption,) = figure.layout.annotations
    assert "RoBERTa-large; rte" in caption.text


def test_no_recalled_figure_is_ever_without_its_mark():
    figure = score_against_parameters(toy.summary(), published_table("glue"), metric="accuracy")
    recalled = published_table("glue").query("certainty == 'R'")
    shown = [text for trace in figure.data if "published" in trace.name for text in trace.customdata]
    assert sum("recalled, not verified" in text for text in shown) == len(recalled)


def test_published_rows_without_parameters_or_fraction_are_left_out():
    rows = pd.concat([published_table("vit"), published_table("mt_bench")])
    figure = score_against_parameters(toy.summary(), rows, metric="accuracy")
    drawn = [y for trace in figure.data if "published" in trace.name for y in trace.y]
    assert len(drawn) == rows.dropna(subset=["parameters", "fraction"]).shape[0] > 0


def test_several_target_sets_are_several_lines():
    summary = toy.summary()
    both = pd.concat(
        [summary, summary.query("method == 'LoRA'").assign(targets="mlp", backbone=lambda t: t["backbone"] * 3)]
    )
    figure = score_against_parameters(both, metric="accuracy")
    assert _line(figure, "LoRA, mlp").line != _line(figure, "LoRA, query-value").line


def test_candidates_of_which_no_run_finished_are_not_drawn():
    summary = toy.summary()
    lost = summary["candidate"] == "VeRA r=1024"
    summary.loc[lost, ["median", "q1", "q3", "mean", "sd"]] = np.nan
    summary.loc[lost, "backbone"] = pd.NA
    for figure in (
        score_against_parameters(summary, metric="accuracy"),
        gain_per_parameter(summary, 0.6, metric="accuracy"),
    ):
        assert list(_line(figure, "VeRA").x) == [4_620, 4_800, 7_680]


@pytest.mark.parametrize("kept", ["head only", "full fine-tuning", "LoRA r=1", "nothing"])
def test_a_table_of_one_row_or_none_has_a_finite_axis(kept):
    figure = score_against_parameters(toy.summary().query("candidate == @kept"), metric="accuracy", runs=toy.runs())
    assert all(math.isfinite(end) for end in figure.layout.xaxis.range)


def test_the_axis_of_scores_is_clipped_to_what_there_is_and_not_stretched_to_it():
    axis = score_against_parameters(toy.summary(), metric="accuracy").layout.yaxis.autorangeoptions
    assert (axis.clipmin, axis.clipmax, axis.minallowed) == (-0.02, 1.02, None)
    below = toy.summary().assign(mean=-0.1)
    assert score_against_parameters(below, metric="pearson").layout.yaxis.autorangeoptions.clipmin == -1.02
    far = toy.summary().assign(mean=-2.4)
    unbounded = score_against_parameters(far, metric="log_likelihood").layout.yaxis.autorangeoptions
    assert (unbounded.clipmin, unbounded.clipmax) == (None, None)


def test_ranks_stand_at_the_ends_of_a_line():
    figure = score_against_parameters(toy.summary(), metric="accuracy")
    assert list(_line(figure, "LoRA").text) == ["r=1", "", "", "r=64"]
    assert list(_line(figure, "DoRA (PEFT)").text) == ["r=8"]


def test_gain_is_percent_of_the_heads_score_a_thousand_parameters():
    figure = gain_per_parameter(toy.summary(), 0.5, metric="accuracy")
    line, summary = _line(figure, "LoRA"), toy.summary().query("candidate == 'LoRA r=1'")
    assert line.y[0] == pytest.approx(100 * summary["mean"].iloc[0] / 0.5 / 9.216)
    assert [trace.name for trace in figure.data] == LINES
    assert figure.layout.yaxis.type == figure.layout.xaxis.type == "log"
    assert "a thousand parameters" in figure.layout.yaxis.title.text


def test_lines_are_named_by_targets_where_these_differ_and_what_adapts_no_layer_never_is():
    summary = toy.summary()
    assert list(series_names(summary).unique()) == list(summary["method"].unique())
    on_layers = ~summary["method"].isin(["head only", "full fine-tuning"])
    targets = pd.Series(["mlp"] + ["query-value"] * (len(summary) - 1)).where(on_layers, NO_LAYERS)
    mixed = summary.assign(targets=targets.to_numpy())
    names = set(series_names(mixed))
    assert {"LoRA, mlp", "LoRA, query-value", "head only", "full fine-tuning"} <= names


def test_the_three_families_keep_their_looks_whatever_comes_beside():
    assert looks_of(["BitFit", "VeRA"]) == {"LoRA": 0, "VeRA": 1, "LoRA-XS": 2, "BitFit": 3}
