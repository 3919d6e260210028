"""The figure of gain against loss: a panel a task, the base in each, and nothing that hides another."""

from typing import Any

import pandas as pd

from vxlab.studies.forgetting import FORGETTING_COLUMNS, MEAN_OF_TASKS
from vxlab.views.figures import gain_against_loss


def table(metric: str = "acc") -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for task in ("arc_easy", "piqa", MEAN_OF_TASKS):
        rows.append({"candidate": "untuned base", "method": "untuned base", "task": task, "base": 0.5, "score": 0.5})
        for number, (method, rank) in enumerate([("LoRA", 2), ("LoRA", 16), ("VeRA", 64)]):
            rows.append({
                "candidate": f"{method} r={rank}", "method": method, "rank": rank, "parameters": 1000, "task": task,
                "base": 0.5, "difference": -0.1 * number, "low": -0.1 * number - 0.05, "high": -0.1 * number + 0.05,
                "gain": 0.3, "gain_low": 0.2, "gain_high": 0.5,
            })  # fmt: skip
    shown = pd.DataFrame(rows, columns=list(FORGETTING_COLUMNS)).assign(metric=metric, items=40)
    return shown.astype({"parameters": "Int64", "rank": "Int64"})


def test_each_panel_has_the_base_at_zero_and_points_of_a_hundred_with_both_bars() -> None:
    figure = gain_against_loss(table(), metric="log_likelihood")
    assert [each.text for each in figure.layout.annotations] == [
        "arc_easy, acc (base 50.0, 40 items)", "piqa, acc (base 50.0, 40 items)",
        "mean of tasks (base 50.0, 40 items)",
    ]  # fmt: skip
    bases = [trace for trace in figure.data if trace.name == "untuned base"]
    assert [(list(trace.x), list(trace.y)) for trace in bases] == [([0], [0])] * 3
    lora = next(trace for trace in figure.data if trace.name == "LoRA r=16")
    assert (list(lora.x), list(lora.y)) == ([0.3], [-10.0])
    assert (round(lora.error_y.array[0], 6), round(lora.error_x.arrayminus[0], 6)) == (5, 0.1)
    assert "change −10.0 (−15.0 to −5.0)" in lora.hovertemplate
    assert "nats of" in figure.layout.xaxis.title.text


def test_the_legend_names_each_candidate_once_and_ranks_differ_in_size() -> None:
    figure = gain_against_loss(table(), metric="log_likelihood")
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "LoRA r=2", "LoRA r=16", "VeRA r=64", "untuned base",
    ]  # fmt: skip
    marks = {trace.name: trace.marker for trace in figure.data}
    assert marks["LoRA r=2"].symbol == "circle-open"
    assert marks["LoRA r=16"].symbol == "circle"
    assert marks["LoRA r=2"].size < marks["LoRA r=16"].size
    assert marks["LoRA r=2"].color == marks["LoRA r=16"].color != marks["VeRA r=64"].color


def test_a_metric_that_is_no_share_keeps_its_unit() -> None:
    shown = table("bleu")
    figure = gain_against_loss(shown[shown["task"] != MEAN_OF_TASKS], metric="log_likelihood")
    assert figure.layout.yaxis.title.text == "change"
    assert min(trace.y[0] for trace in figure.data) == -0.2
