"""The figure of scores by set: a panel each, the base first, and bars laid on at the base's score."""

from typing import Any

import pandas as pd
import pytest

from vxlab.views.figures import scores_by_set

_COLUMNS = ["set", "candidate", "score", "gain", "gain_low", "gain_high", "p_holm", "n", "scores"]


def table(metric: str = "acc") -> pd.DataFrame:
    nan = float("nan")
    rows = [
        ("arc", "untuned base", 0.5, nan, nan, nan, nan, 1, (0.5,)),
        ("arc", "LoRA r=8", 0.7, 0.2, 0.1, 0.3, 0.001, 2, (0.68, 0.72)),
        ("arc", "VeRA r=256", 0.4, -0.1, -0.18, -0.02, 0.04, 1, (0.4,)),
        ("obqa <i>", "untuned base", 0.3, nan, nan, nan, nan, 1, (0.3,)),
        ("obqa <i>", "LoRA r=8", 0.32, 0.02, -0.1, 0.14, 0.7, 1, (0.32,)),
    ]
    made = pd.DataFrame(rows, columns=_COLUMNS)
    made["base"] = made["candidate"] == "untuned base"
    return made.assign(sweep=made["set"], metric=metric, items=100, trivial=0.25, trivial_name="most frequent position")


def _drawn(trace: Any) -> bool:
    return len(trace.x) > 0 and trace.x[0] is not None


def test_each_set_has_a_panel_with_the_base_first_and_what_is_told_apart_stands_out() -> None:
    figure = scores_by_set(table())
    drawn = {(trace.xaxis, trace.name): list(trace.x) for trace in figure.data if _drawn(trace)}
    assert drawn == {
        ("x", "a run"): [68, 72],
        ("x", "shown above the base (after Holm's correction)"): [70],
        ("x", "shown below it"): [40],
        ("x", "untuned base"): [50],
        ("x2", "not told apart from it"): [32],
        ("x2", "untuned base"): [30],
    }
    assert list(figure.layout.yaxis.categoryarray) == ["VeRA r=256", "LoRA r=8", "untuned base"]
    titles = [each.text for each in figure.layout.annotations]
    assert titles[1] == "<b>obqa &lt;i&gt;</b><br><span style='font-size:12px'>accuracy by likelihood, 100 items</span>"
    assert figure.layout.xaxis.title.text == "% of items right"


def test_a_bar_is_the_gains_interval_laid_on_at_the_base() -> None:
    (above,) = [each for each in scores_by_set(table()).data if each.name.startswith("shown above") and len(each.x)]
    low, high = above.x[0] - above.error_x.arrayminus[0], above.x[0] + above.error_x.array[0]
    assert (low, high) == pytest.approx((60, 80))  # 50 + 10 and 50 + 30


def test_no_bar_goes_where_no_score_can_be() -> None:
    rows = table().assign(gain_low=lambda each: each["gain"] - 0.6)
    (above,) = [each for each in scores_by_set(rows).data if each.name.startswith("shown above") and len(each.x)]
    assert above.x[0] - above.error_x.arrayminus[0] == pytest.approx(10)  # 50 - 40
    (below,) = [each for each in scores_by_set(rows).data if each.name.startswith("shown below") and len(each.x)]
    assert below.x[0] - below.error_x.arrayminus[0] == pytest.approx(0)
    nats = scores_by_set(table("log_likelihood").assign(gain_low=lambda each: each["gain"] - 0.6))
    (below,) = [each for each in nats.data if each.name.startswith("shown below") and len(each.x)]
    assert below.x[0] - below.error_x.arrayminus[0] == pytest.approx(-0.2)


def test_the_base_and_the_simplest_answer_are_lines_and_named_once() -> None:
    figure = scores_by_set(table())
    lines = [(shape.xref, shape.x0, shape.line.dash) for shape in figure.layout.shapes]
    assert lines == [("x", 50, "solid"), ("x", 25, "dash"), ("x2", 30, "solid"), ("x2", 25, "dash")]
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(named) == sorted(set(named))
    assert "simplest answer" in named


def test_without_a_base_candidates_are_drawn_and_none_is_called_the_base() -> None:
    alone = table().query("not base").assign(gain=float("nan"), gain_low=float("nan"), p_holm=float("nan"))
    figure = scores_by_set(alone)
    drawn = {trace.name: list(trace.x) for trace in figure.data if _drawn(trace) and trace.xaxis == "x"}
    assert drawn == {"a run": [68, 72], "without a base beside it": [70, 40]}


def test_log_likelihoods_are_in_nats() -> None:
    figure = scores_by_set(table("log_likelihood"))
    assert figure.layout.xaxis.title.text == "nats per token"
    assert figure.layout.meta["name"] == "likelihoods by set"
    assert 0.7 in [x for trace in figure.data if _drawn(trace) for x in trace.x]
