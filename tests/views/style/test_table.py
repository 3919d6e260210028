"""Tables for readers: the chosen columns, their headings, numbers as written, and texts that stay texts."""

import IPython.display
import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.views import show

EVIL = "<img src=x onerror=alert(1)>"
TABLE = pd.DataFrame(
    {"candidate": ["LoRA r=8", "VeRA"], "backbone": [73_728, 1_024], "mean": [0.71234, np.nan], "p": [0.0004, 0.5]}
)


@pytest.fixture
def shown(monkeypatch):
    """Return what a call of ``show`` displays, as a page has it: the page, and its cells by row, the head first."""
    styles = []
    monkeypatch.setattr(IPython.display, "display", styles.append)

    def read(*args, **kwargs):
        show(*args, **kwargs)
        style = styles.pop()
        rows = style._translate(sparse_index=True, sparse_cols=True)
        lines = [*rows["head"], *rows["body"]]
        return style.to_html(), [[cell["display_value"] for cell in row if cell["is_visible"]] for row in lines]

    return read


def test_the_chosen_columns_stand_under_their_headings_in_order(shown):
    columns = {"mean": ("score", ".2f"), "candidate": "method", "backbone": ("parameters", ",")}
    _, cells = shown(TABLE, columns)
    assert cells == [["score", "method", "parameters"], ["0.71", "LoRA r=8", "73,728"], ["–", "VeRA", "1,024"]]


def test_numbers_are_written_as_asked(shown):
    columns = {"mean": ("share", ".1%"), "p": ("p", lambda p: "small" if p < 0.05 else "large")}
    _, cells = shown(TABLE, columns, missing="")
    assert cells[1:] == [["71.2%", "small"], ["", "large"]]
    assert shown(TABLE[["p"]])[1] == [["p"], ["0.000"], ["0.500"]]
    assert shown(TABLE, {"p": ("p", ".0e"), "mean": "mean"}, precision=1)[1][1] == ["4e−04", "0.7"]


def test_numbers_have_true_minus_signs_and_names_keep_their_hyphens(shown):
    table = pd.DataFrame({"name": ["LoRA-XS"], "given": [-0.5], "plain": [-0.25], "whole": [-3]})
    columns = {"name": "name", "given": ("given", "+.1f"), "plain": "plain", "whole": "whole"}
    assert shown(table, columns)[1][1] == ["LoRA-XS", "−0.5", "−0.250", "−3"]
    assert shown(table)[1][1] == ["LoRA-XS", "−0.500", "−0.250", "−3"]


def test_two_columns_may_have_the_same_heading(shown):
    _, cells = shown(TABLE, {"mean": ("to", ".1f"), "p": ("to", ".4f")})
    assert cells[:2] == [["to", "to"], ["0.7", "0.0004"]]


def test_texts_stand_to_the_left_and_long_ones_have_room(shown):
    table = TABLE.assign(sentence=["a sentence of more than thirty characters", None])
    page, cells = shown(table)
    assert page.count("text-align: left") == 2
    assert page.count("min-width") == 1
    assert cells[2][-1] == "–"


def test_an_index_is_shown_where_it_has_a_name(shown):
    assert shown(TABLE)[1][0] == list(TABLE.columns)
    _, cells = shown(TABLE.pivot_table(index=["candidate"], values=["mean", "p"], columns=["backbone"]))
    assert "LoRA r=8" in cells[-2]


def test_markup_in_names_is_text(shown):
    table = pd.DataFrame({EVIL: [EVIL], "n": [1]})
    for page, _ in (shown(table), shown(table, {EVIL: EVIL, "n": (EVIL, ",")}), shown(table.set_index([EVIL, "n"]).T)):
        assert "<img" not in page
        assert "&lt;img" in page


def test_a_table_is_not_changed(shown):
    before = TABLE.copy()
    shown(TABLE, {"mean": ("score", ".2f")})
    pd.testing.assert_frame_equal(TABLE, before)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(VxlabError, match="no column 'means'; did you mean 'mean'"):
        show(TABLE, {"means": "score"})
