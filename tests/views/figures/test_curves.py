"""Learning curves: what they draw of runs, of runs that diverged or still train, and of runs joined to a line."""

import math

import pytest
import toy_records as toy
from gallery import regression, run

from vxlab.views.figures.curves import learning_curves, redraw_curves


@pytest.fixture
def runs(tmp_path):
    return {"vera": run(tmp_path / "vera"), "head only": run(tmp_path / "head", 0.7)}


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def _legend(figure):
    return [trace.name for trace in figure.data if trace.showlegend is not False and trace.x is not None]


def test_learning_curves_show_loss_scores_and_the_chosen_checkpoint(runs):
    figure = learning_curves(runs)
    loss, scored = _named(figure, "vera")
    assert list(loss.y) == [0.7, 0.6, 0.5, 0.45, 0.4, 0.42]
    assert list(loss.x) == [10, 20, 30, 40, 50, 60]
    assert list(scored.x) == [1, 2, 3]
    assert list(scored.y) == [0.70, 0.81, 0.79]
    (ring,) = _named(figure, "chosen checkpoint")
    assert list(zip(ring.x, ring.y, strict=True)) == [(2, 0.81), (2, 0.81)]
    assert figure.layout.xaxis.title.text == "optimizer step"
    assert figure.layout.yaxis.title.text == "training loss (cross-entropy)"
    assert figure.layout.xaxis2.title.text == "epoch"
    assert figure.layout.yaxis2.title.text == "validation accuracy"
    assert _legend(figure) == ["vera", "head only", "chosen checkpoint"]


def test_a_probe_has_no_checkpoint_to_ring(runs, tmp_path):
    chosen = {"pooling": "mean", "validation": {"mean": 0.7}, "strength": 0.1, "folds": 5, "edge": ""}
    probe = run(tmp_path / "p", metrics=[{"epoch": 0, "split": "validation", "metric": "accuracy", "value": 0.7}],
                best_epoch=0, probe=chosen)  # fmt: skip
    (ring,) = _named(learning_curves({**runs, "probe": probe}), "chosen checkpoint")
    assert list(ring.x) == [2, 2]
    assert len(_named(learning_curves({"probe": probe}), "chosen checkpoint")[0].x) == 0


def test_a_diverged_run_keeps_its_loss_and_its_place_in_the_legend(runs, tmp_path):
    figure = learning_curves({"lora": toy.diverged_record(tmp_path / "d", runs["vera"]), **runs})
    loss, scored = _named(figure, "lora (diverged)")
    assert list(loss.y[:2]) == [0.7, 6.0]
    assert math.isnan(loss.y[2])
    assert len(scored.x) == 0
    assert loss.showlegend


def test_runs_that_all_diverged_are_drawn_without_a_chosen_checkpoint(runs, tmp_path):
    figure = learning_curves({"vera": toy.diverged_record(tmp_path / "d", runs["vera"])})
    assert len(_named(figure, "chosen checkpoint")[0].x) == 0


def test_a_regression_has_a_squared_error_and_its_metrics_words(tmp_path):
    figure = learning_curves({"vera": regression(tmp_path, 1.0)})
    assert figure.layout.yaxis.title.text == "training loss (squared error)"
    assert figure.layout.yaxis2.title.text == "validation Pearson correlation"


def test_more_runs_than_colours_still_differ(tmp_path):
    figure = learning_curves({str(i): run(tmp_path / str(i)) for i in range(9)})
    looks = {
        (trace.line.color, trace.line.dash, trace.marker.symbol)
        for trace in figure.data
        if trace.mode == "lines+markers"
    }
    assert len(looks) == 9


def test_redrawn_curves_are_those_of_a_new_figure(runs, tmp_path):
    half = run(tmp_path / "half", metrics=[], best_epoch=None)
    figure = learning_curves({"vera": half})
    assert _legend(figure) == ["vera", "chosen checkpoint"]
    assert [trace.showlegend for trace in _named(figure, "vera")] == [True, False]
    redraw_curves(figure, [runs["vera"]])
    assert figure.to_dict() == learning_curves({"vera": runs["vera"]}).to_dict()
