"""Figures of quantised bases: marks stand where the tables say, in the units that the axes name."""

import pandas as pd
import pytest

from vxlab.views.figures import quantised as figures

NAN = float("nan")


def scores() -> pd.DataFrame:
    rows = [
        ("float", "LoRA r=8", 0.7, (0.68, 0.72), NAN, NAN, NAN),
        ("float", "VeRA <i>", 0.6, (0.6,), NAN, NAN, NAN),
        ("nf4", "LoRA r=8", 0.66, (0.66,), -0.04, -0.06, -0.02),
        ("nf4", "VeRA <i>", NAN, (), NAN, NAN, NAN),
    ]
    return pd.DataFrame(rows, columns=["scheme", "candidate", "score", "scores", "change", "low", "high"])


def test_a_quantised_scores_bar_is_its_changes_interval_laid_on_at_the_float_score() -> None:
    figure = figures.scores_by_scheme(scores(), metric="accuracy", trivial=0.5)
    (nf4,) = [trace for trace in figure.data if trace.name == "nf4"]
    assert list(nf4.x) == [66]
    assert nf4.x[0] - nf4.error_x.arrayminus[0] == pytest.approx(64)  # 70 - 6
    assert nf4.x[0] + nf4.error_x.array[0] == pytest.approx(68)
    lines = [list(trace.x) for trace in figure.data if trace.name == "on float"]
    assert lines == [[70, 70], [60, 60]]
    runs = [x for trace in figure.data if trace.name == "a run" for x in trace.x]
    assert runs == [68, 72]
    assert figure.layout.xaxis.title.text == "test accuracy, %, mean over seeds"
    assert list(figure.layout.yaxis.ticktext) == ["LoRA r=8", "VeRA &lt;i&gt;"]
    assert [trace.showlegend for trace in figure.data if trace.name == "on float"] == [True, False]


def test_a_metric_without_percent_is_drawn_as_it_is() -> None:
    figure = figures.scores_by_scheme(scores(), metric="log_likelihood")
    (nf4,) = [trace for trace in figure.data if trace.name == "nf4"]
    assert list(nf4.x) == [0.66]
    assert "%" not in figure.layout.xaxis.title.text


def test_shifts_that_are_shown_stand_out() -> None:
    orders = pd.DataFrame({
        "a": ["A", "A"], "b": ["B", "C"], "scheme": "nf4", "shift": [0.01, -0.2], "low": [-0.02, -0.3],
        "high": [0.04, -0.1], "seen": [False, True],
    })  # fmt: skip
    figure = figures.changed_orders(orders, metric="accuracy")
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert drawn["shown to move (after Holm's correction)"] == ([-20], ["A − C, nf4"])
    assert drawn["not shown to move"] == ([1], ["A − B, nf4"])


def memory() -> pd.DataFrame:
    mebi = 2**20
    return pd.DataFrame({
        "scheme": ["float", "float", "nf4"], "candidate": ["A", "B", "A"], "linear": [8 * mebi, 8 * mebi, mebi],
        "scales": [0, 0, mebi // 8], "embeddings": mebi, "head": 0, "rest": mebi // 4,
        "weights": [9.25 * mebi, 9.25 * mebi, 2.375 * mebi], "adapter": mebi, "gradients": mebi, "optimizer": mebi,
        "activations": 4 * mebi, "temporary": mebi, "peak": 16 * mebi,
    })  # fmt: skip


def test_a_bases_bar_ends_at_its_bytes() -> None:
    figure = figures.weights_by_holder(memory())
    ends = {name: sum(trace.x[i] for trace in figure.data) for i, name in enumerate(figure.data[0].y)}
    assert ends == {"float": 9.25, "nf4": 2.375}
    assert figure.layout.xaxis.title.text == "MiB of the base"


def test_a_steps_bars_are_named_by_method_and_base() -> None:
    figure = figures.step_by_scheme(memory())
    assert list(figure.data[0].y) == ["A, nf4", "B, float", "A, float"]
    assert list(figure.data[-1].x) == [16, 16, 16]


def test_angles_are_means_over_blocks_by_role_with_chance() -> None:
    rows = [
        ("nf4", role, rank, side, 10.0 * block + rank, 50.0, 80.0)
        for role in ("query", "up")
        for block in (1, 2)
        for rank in (4, 16)
        for side in ("output", "input")
    ]
    angles = pd.DataFrame(rows, columns=["scheme", "role", "rank", "side", "median", "largest", "chance"])
    figure = figures.turned_by_rank(angles, "output")
    medians = [trace for trace in figure.data if trace.name == "nf4, median"]
    assert [list(trace.y) for trace in medians] == [[19, 31]] * 2
    assert [trace.showlegend for trace in medians] == [True, False]
    assert {trace.name for trace in figure.data} == {"nf4, median", "nf4, largest", "chance, median"}
    assert figure.layout.yaxis.title.text == "degrees, output side"


def test_what_merging_loses_is_drawn_on_one_axis_a_mark_a_layer() -> None:
    layers = pd.DataFrame(
        {"scheme": "nf4", "candidate": ["A", "A", "B"], "rounded": [1e-6, 2e-6, 1e-6], "lost": [1.0, 1.1, 0.4]}
    )
    figure = figures.update_lost(layers)
    assert list(figure.data[1].x) == [1.0, 1.1, 0.4]
    assert list(figure.layout.yaxis.categoryarray) == ["B, nf4", "A, nf4"]
    assert figure.layout.xaxis.type == "log"
