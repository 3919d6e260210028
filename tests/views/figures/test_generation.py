"""Figures of models that write: gains by metric, and texts with a chooser."""

import pandas as pd

from vxlab.views.figures import metric_gains, samples_chooser


def gains() -> pd.DataFrame:
    rows = [
        ("LoRA r=8", "log_likelihood", 0.4, 0.3, 0.5, 0.001),
        ("LoRA r=8", "bleu", 0.1, -0.1, 0.3, 0.4),
        ("untuned base", "bleu", None, None, None, None),
    ]
    return pd.DataFrame(rows, columns=["candidate", "metric", "gain", "gain_low", "gain_high", "p_holm"])


def test_points_are_of_a_hundred_and_what_is_told_apart_stands_out() -> None:
    figure = metric_gains(gains())
    drawn = {(trace.xaxis, trace.name): list(trace.x) for trace in figure.data if len(trace.x)}
    assert drawn == {
        ("x", "told apart from the base (after Holm's correction)"): [0.4],
        ("x2", "not told apart"): [10.0],
    }
    assert [each.text for each in figure.layout.annotations] == ["log-likelihood per token", "BLEU, points"]
    assert {trace.name for trace in figure.data if trace.showlegend} == {name for _, name in drawn}


def test_the_menu_shows_each_inputs_texts_and_nothing_as_markup() -> None:
    table = pd.DataFrame(
        [(0, "prompt", "a <b>"), (0, "LoRA", ""), (1, "prompt", "x" * 200), (1, "LoRA", "two\nlines %{y}")],
        columns=["input", "who", "text"],
    )
    figure = samples_chooser(table)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["input 1", "input 2"]
    first, second = (button.args[0]["cells.values"][0][1] for button in menu.buttons)
    assert list(first) == ["a &lt;b&gt;", "<i>nothing</i>"]
    assert second[0].count("<br>") == 2
    assert second[1] == "two<br>lines %&#123;y}"
    assert list(figure.data[0].cells["values"][1]) == list(first)
