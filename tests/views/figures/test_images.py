"""Figures of a few images a class."""

import pandas as pd
import pytest

from vxlab.views.figures import (
    attention_grid,
    confusion_matrix,
    gains_by_shots,
    mistakes_grid,
    moved_by_block,
    scores_by_shots,
)

PNG = "data:image/png;base64,iVBORw0KGgo="


def scores() -> pd.DataFrame:
    rows = [
        (shots, name, method, score + shots / 100, score - 0.1, score + 0.1, (score, score + shots / 50))
        for shots in (2, 10)
        for name, method, score in (("LoRA r=8", "LoRA", 0.5), ("probe", "probe", 0.4))
    ]
    return pd.DataFrame(rows, columns=["shots", "candidate", "method", "score", "low", "high", "scores"])


def confusions(classes: int) -> pd.DataFrame:
    names = [f"class {number}" for number in range(classes)]
    rows = [
        (candidate, true, other, 8 if true == other else 1, 10, 0.8 if true == other else 0.1)
        for candidate in ("LoRA r=8", "probe")
        for true in names
        for other in names
        if true == other or (names.index(true) + 1) % classes == names.index(other)
    ]
    return pd.DataFrame(rows, columns=["candidate", "true", "predicted", "answers", "asked", "share"])


def test_scores_stand_beside_each_other_at_their_shots() -> None:
    figure = scores_by_shots(scores(), metric="accuracy", trivial=0.1)
    lines = {trace.name: trace for trace in figure.data}
    assert list(lines) == ["LoRA r=8", "probe", "one draw's run", "simplest answer"]
    assert list(lines["LoRA r=8"].y) == [52.0, 60.0]
    assert list(lines["LoRA r=8"].customdata) == [2, 10]
    assert lines["LoRA r=8"].x[0] < 2 < lines["probe"].x[0]
    assert len(lines["one draw's run"].x) == 8
    assert list(lines["simplest answer"].y) == [10.0, 10.0]
    assert list(figure.layout.xaxis.ticktext) == ["2", "10"]


def test_gains_have_a_panel_for_each_number_of_shots() -> None:
    rows = [(2, "LoRA r=8", 0.01, -0.1, 0.12, False), (10, "LoRA r=8", 0.1, 0.05, 0.15, True)]
    table = pd.DataFrame(rows, columns=["shots", "candidate", "gain", "low", "high", "seen"])
    figure = gains_by_shots(table, metric="accuracy")
    drawn = {(trace.xaxis, trace.name): list(trace.x) for trace in figure.data if len(trace.x)}
    assert drawn == {
        ("x", "not told apart"): [1.0],
        ("x2", "told apart from the probe (after Holm's correction)"): [10.0],
    }
    assert [each.text for each in figure.layout.annotations] == ["<b>2 shots</b>", "<b>10 shots</b>"]


def test_the_diagonal_is_written_and_not_coloured() -> None:
    figure = confusion_matrix(confusions(3), "probe")
    heat, right = figure.data
    assert [row[i] for i, row in enumerate(heat.z)] == [None] * 3
    assert heat.z[0][1] == 10
    assert heat.zmax == 10
    assert list(right.text) == ["<b>80</b>"] * 3
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["probe", "LoRA r=8"]
    assert menu.buttons[1].args[0]["text"][1] == list(right.text)


def test_classes_named_by_numbers_are_no_places_on_an_axis() -> None:
    figure = confusion_matrix(confusions(3), "probe")
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "category"


def test_of_many_classes_the_pairs_are_bars() -> None:
    (bars,) = confusion_matrix(confusions(31), "LoRA r=8").data
    assert bars.y[0] == "class 0 → class 1"
    assert bars.text[0] == "1 of 10"
    assert list(bars.x[:2]) == [10, 10]


def test_mistaken_images_stand_in_rows_by_classes() -> None:
    rows = [("cat <b>", "dog", PNG, 3, 3), ("cat <b>", "dog", PNG, 1, 3), ("dog", "cat <b>", PNG, 2, 3)]
    table = pd.DataFrame(rows, columns=["true", "predicted", "image", "wrong", "runs"])
    figure = mistakes_grid(table)
    assert [(image.x, round(image.y)) for image in figure.layout.images] == [(0, 0), (1, 0), (0, -1)]
    assert {image.source for image in figure.layout.images} == {PNG}
    assert figure.layout.yaxis.ticktext[0] == "cat &lt;b&gt;<br>taken for<br><b>dog</b>"
    assert list(figure.data[0].text) == ["3 of 3 runs", "1 of 3 runs", "2 of 3 runs"]
    assert figure.layout.xaxis.showticklabels is False  # numbers of columns say nothing


def test_attention_has_a_column_for_each_model_and_says_how_far_it_moved() -> None:
    rows = [("cat", who, PNG, moved) for who, moved in (("image", None), ("before", None), ("LoRA r=8", 0.124))]
    table = pd.DataFrame(rows, columns=["label", "who", "image", "moved"])
    figure = attention_grid(table)
    assert list(figure.layout.xaxis.ticktext) == ["image", "before", "LoRA r=8"]
    assert list(figure.layout.yaxis.ticktext) == ["cat"]
    assert list(figure.data[0].text) == ["", "", "12 % elsewhere"]


def test_blocks_have_a_panel_for_each_role_and_bars_over_runs() -> None:
    rows = [
        (name, run, block, role, norm * (1 + block))
        for name, norm, roles in (("LoRA r=8", 0.01, ("query", "value")), ("full fine-tuning", 0.001, ("query", "up")))
        for run in ("1", "2")
        for block in (0, 1)
        for role in roles
    ]
    table = pd.DataFrame(rows, columns=["candidate", "key", "block", "role", "relative_norm"])
    figure = moved_by_block(table)
    assert [each.text for each in figure.layout.annotations] == ["<b>query</b>", "<b>value</b>", "<b>up</b>"]
    first = figure.data[0]
    assert (first.name, list(first.x)) == ("LoRA r=8", [0, 1])
    assert list(first.y) == pytest.approx([0.01, 0.02])
    assert figure.layout.yaxis.type == "log"
