"""Laws of prompt templates: places are columns and nothing else, and what stands in a value is no place."""

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.files import Rows
from vxlab.experiments.tasks.templates import Alpaca, Template


def _write(template, **columns):
    frame = pd.DataFrame(columns, dtype=object)
    return Template(template, "answer").write(Rows(frame.set_axis(range(1, len(frame) + 1)), "train.csv"))[0]["text"]


def test_places_are_filled_and_doubled_braces_are_braces():
    assert _write("{{{q}}} of {c}, {q}\n", q=["a"], c=["b"]) == ["{a} of b, a\n"]


def test_what_stands_in_a_value_is_no_place():
    assert _write("{q}|{c}", q=["{c} {{ } %s"], c=["{q}\\1"]) == ["{c} {{ } %s|{q}\\1"]


def test_any_name_of_a_column_is_a_place():
    columns = {"a.b": ["1"], "c[0]": ["2"], "d!r": ["3"], "e:>9": ["4"], "f g": ["5"]}
    assert _write("{a.b}{c[0]}{d!r}{e:>9}{f g}", **columns) == ["12345"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{q}\\nAnswer:", r"a backslash and an n where a new line is meant; a shell writes one as \$'\{text\}\\n'"),
        ("Hello", "has no place for a column, so that all prompts were one"),
        ("{{q}}", "has no place for a column"),
        ("{q", "'{' at character 1 names no column"),
        ("{q} }", "'}' at character 5 names no column"),
        ("{} {q}", "'{}' at character 1 names no column"),
        ("{q}: {answer}", "holds the answer, {answer}; a prompt would give its answer"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(template, message):
    with pytest.raises(VxlabError, match=message):
        Template(template, "answer")


def test_columns_are_named_once_in_the_order_of_their_places():
    assert Template("{b} {a} {b}", "answer").columns == ("b", "a")


def test_alpaca_without_a_column_of_inputs_has_the_short_form():
    rows = Rows(pd.DataFrame({"instruction": ["Say {input}."]}, index=[1]), "train.csv")
    assert Alpaca("output", with_input=False).write(rows)[0]["text"] == [
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nSay {input}.\n\n### Response:"
    ]


def test_alpaca_needs_an_instruction_also_where_there_is_an_input():
    rows = Rows(pd.DataFrame({"instruction": ["a", None], "input": ["b", "c"]}, index=[1, 2]), "train.csv", "line")
    with pytest.raises(VxlabError, match=r"train.csv, line 2: the prompt is empty; column 'instruction' needs a text"):
        Alpaca("output", with_input=True).write(rows)
