"""Columns are found or named, and labels are checked, each error leading back to its row."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.labelled_rows import label_rows
from vxlab.experiments.tasks.rows.columns import Columns, Reading
from vxlab.experiments.tasks.rows.files import Rows
from vxlab.experiments.tasks.rows.label_kinds import Labels


def _rows(columns, place="reviews/train.csv"):
    frame = pd.DataFrame(columns, dtype=object)
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place)


def _read(columns, named=None, labels=None, **others):
    return _read_with_notes(columns, named, labels, **others)[:2]


def _read_with_notes(columns, named=None, labels=None, published=False, **others):
    splits = {"train": _rows(columns), **{split: _rows(rows, f"reviews/{split}.csv") for split, rows in others.items()}}
    return label_rows(Reading(splits, named or Columns(), "here", labels=labels, published=published))


def _column(labels):
    return {"text": [f"text {row}" for row in range(len(labels))], "label": labels}


@pytest.mark.parametrize(
    "pair", [("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "answer")]
)
def test_pairs_of_texts_are_found_by_their_usual_names(pair):
    frames, _ = _read({pair[0]: ["a", "b"], pair[1]: ["c", "d"], "label": [0, 1]})
    assert frames["train"].to_dict("list") == {"text": ["a", "b"], "text_pair": ["c", "d"], "label": [0, 1]}


@pytest.mark.parametrize("column", ["text", "sentence"])
def test_single_texts_are_found_by_their_usual_names(column):
    frames, _ = _read({column: ["a", ""], "label": [0, 1], "id": [7, 8]})
    assert frames["train"].to_dict("list") == {"text": ["a", ""], "label": [0, 1]}


def test_named_columns_come_before_the_usual_ones():
    columns = {"text": ["a", "b"], "title": ["c", "d"], "label": [0, 1], "liked": ["no", "yes"], "film": [1, 2]}
    frames, labels = _read(columns, Columns(("title",), "liked", "film"))
    assert frames["train"].to_dict("list") == {"text": ["c", "d"], "label": [0, 1], "group": ["1", "2"]}
    assert labels.names == ("no", "yes")


@pytest.mark.parametrize(
    ("written", "names", "ids"),
    [
        ([2, 0, 1], ("0", "1", "2"), [2, 0, 1]),
        (["2", "0", "1"], ("0", "1", "2"), [2, 0, 1]),
        (["dog", "cat", "eel"], ("cat", "dog", "eel"), [1, 0, 2]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (["10", "9", "unknown"], ("10", "9", "unknown"), [0, 1, 2]),
        ([1.0, 0.0, 1.0], ("0", "1"), [1, 0, 1]),
        (["1.0", "0.0", "1"], ("0", "1"), [1, 0, 1]),
        ([Decimal(1), Decimal(0), Decimal("1.0")], ("0", "1"), [1, 0, 1]),
        (["01", "00", "1"], ("0", "1"), [1, 0, 1]),
        ([5, 1, 2], ("1", "2", "5"), [2, 0, 1]),
        ([10, 9, 2], ("2", "9", "10"), [2, 1, 0]),
        ([-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ([-1, 0, -2], ("-2", "-1", "0"), [1, 2, 0]),
        ([10**30, 10**30 + 1, 10**30], (str(10**30), str(10**30 + 1)), [0, 1, 0]),
        (["inf", "fin", "inf"], ("fin", "inf"), [1, 0, 1]),
    ],
)
def test_class_labels_are_numbered(written, names, ids):
    frames, labels = _read({"text": list("abc"), "label": written})
    assert labels.names == names
    assert frames["train"]["label"].tolist() == ids


@pytest.mark.parametrize("written", [[0.5, 1.0, 2.25], ["0.5", "1", "2.25"]])
def test_decimal_labels_are_a_regression(written):
    frames, labels = _read({"text": list("abc"), "label": written})
    assert labels.names == ()
    assert frames["train"]["label"].tolist() == [0.5, 1.0, 2.25]
    assert frames["train"]["label"].dtype == float


def test_class_names_may_be_written_by_number():
    labels = Labels(("entailment", "not_entailment"))
    frames, _ = _read({"text": list("abc"), "label": ["not_entailment", 0, "1"]}, labels=labels)
    assert frames["train"]["label"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"body": ["a"], "label": [0]}, Columns(), "no column known to hold the text among body, label.*text_columns="),
        ({"text": ["a"], "y": [0]}, Columns(), "no column known to hold the label among y. .*label_column="),
        ({"text": ["a"], "label": [0]}, Columns(("txt",)), "no column 'txt' among text, label.*text_columns="),
        ({"text": ["a"], "label": [0]}, Columns(group_column="film"), "no column 'film' among text, label"),
        ({"text": [], "label": []}, Columns(), "reviews/train.csv: no rows"),
    ],
)
def test_a_lacking_column_is_named_with_those_present(columns, named, message):
    with pytest.raises(VxlabError, match=message):
        _read(columns, named)


def test_a_column_lacking_in_another_split_names_its_file():
    with pytest.raises(VxlabError, match=r"reviews/test.csv: no column 'text' among label"):
        _read({"text": ["a", "b"], "label": [0, 1]}, test={"label": [0]})


def test_an_empty_split_names_its_file():
    with pytest.raises(VxlabError, match=r"reviews/test.csv: no rows"):
        _read({"text": ["a", "b"], "label": [0, 1]}, test={"text": [], "label": []})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", None], "label": [0, 1]}, r"train.csv, row 2: the text in column 'text' is missing"),
        ({"text": ["a", float("nan")], "label": [0, 1]}, r"train.csv, row 2: the text in column 'text' is missing"),
        ({"text": ["a", 7], "label": [0, 1]}, r"train.csv, row 2: the text in column 'text' is 7; it must be a string"),
        ({"text": ["a", "b"], "label": [0, None]}, r"train.csv, row 2: column 'label' is missing a value"),
        ({"text": ["a", "b"], "label": [0.5, float("nan")]}, r"train.csv, row 2: column 'label' is missing a value"),
        (
            {"text": ["a", "b"], "label": [0, -1]},
            r"row 2: label -1 often marks a row without a label: .*label_kind='cl",
        ),
        ({"text": ["a", "b"], "label": ["-1", "x"]}, r"row 1: label -1 often marks a row without a label"),
        ({"text": ["a", "b"], "label": [0.5, -1.0]}, r"row 2: label -1.0 often marks .*\(or 'numbers'\)"),
        ({"text": ["a", "b"], "label": [0, " "]}, r"train.csv, row 2: column 'label' is missing a value"),
        ({"text": ["a", "b"], "label": [0, pd.NA]}, r"train.csv, row 2: column 'label' is missing a value"),
        ({"text": ["a", pd.NA], "label": [0, 1]}, r"train.csv, row 2: the text in column 'text' is missing"),
        ({"text": ["a", "\ud800b"], "label": [0, 1]}, r"row 2: the text in column 'text' holds half of a character"),
        (
            {"text": ["a", "b"], "label": [[1, 0], [0, 1]]},
            r"row 1: label \[1, 0\] is of type list; one label a row .*sev",
        ),
        ({"text": ["a", "b"], "label": [0, {"a": 1}]}, r"row 2: label {'a': 1} is of type dict; one label a row is"),
        ({"text": ["a", "b"], "label": [np.array([1]), 0]}, r"row 1: label array\(\[1\]\) is of type ndarray; one"),
        (
            {"text": ["a", "b"], "label": [b"a", b"b"]},
            r"row 1: label b'a' is of type bytes; one label a row is needed: a",
        ),
        ({"text": ["a", "b"], "label": [pd.Timestamp(0), 0]}, r"row 1: label Timestamp\(.* is of type Timestamp; one"),
        ({"text": ["a", "b"], "label": ["0.5", "1,5"]}, r"train.csv, row 2: label '1,5' is no number, and other"),
        ({"text": ["a", "b"], "label": ["2,0", "1,5"]}, r"row 1: label '2,0' is a number with a comma; write dec"),
        (
            {"text": ["a", "b"], "label": ["[1, 0]", "[0, 1]"]},
            r"row 1: label '\[1, 0\]' is a list written as te",
        ),
        (
            {"text": ["a", "b"], "label": ["x", "['a']"]},
            r"row 2: label \"\['a'\]\" is a list .*_kind='classes'",
        ),
        ({"text": ["a", "b"], "label": ["0.5", "inf"]}, r"train.csv, row 2: label 'inf' is no number, and other"),
        ({"text": ["a", "b"], "label": ["0.5", "1e999"]}, r"train.csv, row 2: label '1e999' is not a finite number"),
        ({"text": ["a", "b"], "label": [0.5, 10**400]}, r"train.csv, row 2: label '1000.* is no number, and other"),
        ({"text": ["a", "b"], "label": ["0.5", "nan"]}, r"train.csv, row 2: label 'nan' is no number"),
    ],
)
def test_a_bad_row_is_named(columns, message):
    with pytest.raises(VxlabError, match=message):
        _read(columns)


def test_a_class_unseen_in_training_is_named():
    with pytest.raises(VxlabError, match=r"test.csv, row 1: label 'eel' is outside the 2 classes 0 \(cat\), 1 \(dog\)"):
        _read({"text": ["a", "b"], "label": ["cat", "dog"]}, test={"text": ["c"], "label": ["eel"]})


def test_a_target_beyond_its_bounds_is_named():
    with pytest.raises(VxlabError, match=r"train.csv, row 2: label 5.1 is not a number from 0 to 5"):
        _read({"text": ["a", "b"], "label": [5.0, 5.1]}, labels=Labels(bounds=(0, 5)))


def test_a_missing_group_is_named():
    columns = {"text": ["a", "b"], "label": [0, 1], "film": ["x", None]}
    with pytest.raises(VxlabError, match=r"train.csv, row 2: column 'film' is missing a value"):
        _read(columns, Columns(group_column="film"))


def test_a_column_that_occurs_twice_is_refused():
    frame = pd.DataFrame([["a", "b", 0], ["c", "d", 1]], columns=["text", "text", "label"])
    reading = Reading({"train": Rows(frame, "reviews/train.tsv")}, Columns(), "here")
    with pytest.raises(VxlabError, match=r"reviews/train.tsv: several columns are named 'text'; keep one"):
        label_rows(reading)


def test_a_label_that_the_text_would_give_is_refused():
    with pytest.raises(VxlabError, match="label_column='mark' is one of text_columns; a text would give its label"):
        Columns(("review", "mark"), "mark")


def test_texts_that_look_like_lists_or_numbers_are_names_where_the_user_says_so():
    written = ["[1, 0]", "1,5", "[1, 0]"]
    _, labels = _read(_column(written), Columns(label_kind="classes"))
    assert labels.names == ("1,5", "[1, 0]")
    assert _read(_column(["[unsure]", "(a, b)", "{c}"]))[1].names == ("(a, b)", "[unsure]", "{c}")


def test_three_text_columns_are_refused():
    with pytest.raises(VxlabError, match="name one column, or two for pairs"):
        Columns(("a", "b", "c"))


@pytest.mark.parametrize("written", ["1", "1.0", 1, 1.0, np.int64(1), True])
def test_a_class_is_known_however_its_number_is_written(written):
    frames, _ = _read(_column(["0", "1"] if written is not True else [False, True]), test=_column([written]))
    assert frames["test"]["label"].tolist() == [1]


@pytest.mark.parametrize(
    ("labels", "kind", "names", "read"),
    [
        (["1.0", "1.1", "1.0"], "classes", ("1.0", "1.1"), [0, 1, 0]),
        ([0.5, 10.5, 9.5], "classes", ("0.5", "9.5", "10.5"), [0, 2, 1]),
        ([-1, 0, 1], "classes", ("-1", "0", "1"), [0, 1, 2]),
        ([0, 50, 100], "numbers", (), [0.0, 50.0, 100.0]),
        (["-1", "0", "1"], "numbers", (), [-1.0, 0.0, 1.0]),
    ],
)
def test_the_user_may_say_what_labels_are(labels, kind, names, read):
    frames, found, notes = _read_with_notes(_column(labels), Columns(label_kind=kind))
    assert (found.names, frames["train"]["label"].tolist(), notes) == (names, read, ())


def test_words_are_no_numbers():
    with pytest.raises(VxlabError, match=r"row 2: label 'high' is no number, as label_kind='numbers' asks"):
        _read(_column([1, "high"]), Columns(label_kind="numbers"))
    with pytest.raises(VxlabError, match="label_kind='ranks' is unknown; choose classes or numbers, or leave it out"):
        Columns(label_kind="ranks")


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (
            list(range(21)),
            r"'label' holds 21 different whole numbers, read as classes; label_kind='numbers' makes them",
        ),
        (["1.0", "1.1"] * 4, r"'label' holds 2 different numbers \(1.0, 1.1\), read as targets .*'classes' makes them"),
        (["0", "1", "yes"], r"'label' mixes numbers and words \(0, 1, yes\), each a class of its own"),
        (["pos", "Neg", "neg "], r"classes 'Neg' and 'neg ' differ in capitals or spaces alone"),
    ],
)
def test_labels_that_may_not_be_meant_so_are_said(labels, note):
    assert re.search(note, "".join(_read_with_notes(_column(labels))[2]))
    kind = "classes" if "regression" not in note else "numbers"
    assert _read_with_notes(_column(labels), Columns(label_kind=kind))[2] == ()


@pytest.mark.parametrize(
    "labels", [list(range(20)), [0.5, 1.5], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] * 9, ["a", "b"], [True]]
)
def test_usual_labels_are_not_remarked_on(labels):
    assert _read_with_notes(_column(labels))[2] == ()


@pytest.mark.parametrize("mark", [-1, "-1", -1.0])
@pytest.mark.parametrize("labels", [[0, 1], ["bad", "good"]])
def test_rows_marked_as_unlabelled_are_left_out_and_counted(labels, mark):
    rows = _column([labels[0], mark, labels[1]])
    frames, _, notes = _read_with_notes(_column(labels), test=rows)
    assert frames["test"].to_dict("list") == {"text": ["text 0", "text 2"], "label": [0, 1]}
    assert notes == ("reviews/test.csv: 1 of 3 rows have no label (-1) and are left out",)


@pytest.mark.parametrize("marks", [[-1, -1], ["-1", "-1.0"], [None, None], ["", " "], [float("nan"), -1]])
@pytest.mark.parametrize("labels", [[0, 1], ["bad", "good"], [0.5, 1.25]])
def test_a_split_without_labels_is_left_out_and_said(labels, marks):
    frames, _, notes = _read_with_notes(_column(labels), test=_column(marks))
    assert set(frames) == {"train"}
    assert notes == ("reviews/test.csv: none of its 2 rows has a label; the split is left out",)


def test_a_label_of_minus_one_is_one_where_train_has_negative_ones():
    assert _read(_column([-1, 1]), test=_column([-1, 1]))[0]["test"]["label"].tolist() == [0, 1]
    assert _read(_column([-1.5, 1.5]), test=_column([-1, -1]))[0]["test"]["label"].tolist() == [-1.0, -1.0]
    assert _read(_column([0.5, 1.5]), test=_column([-1, 2.5]))[0]["test"]["label"].tolist() == [-1.0, 2.5]


def test_rows_without_labels_are_left_out_of_train_where_the_classes_are_known():
    frames, _, notes = _read_with_notes(_column([0, -1, 1]), labels=Labels(("bad", "good")))
    assert frames["train"]["label"].tolist() == [0, 1]
    assert notes == ("reviews/train.csv: 1 of 3 rows have no label (-1) and are left out",)
    with pytest.raises(VxlabError, match=r"reviews/train.csv: no row has a label"):
        _read(_column([-1, -1]), labels=Labels(("bad", "good")))


def test_a_benchmark_is_taken_as_it_is():
    with pytest.raises(VxlabError, match=r"row 2: label -1 is outside the 2 classes 0 \(bad\), 1 \(good\)"):
        _read_with_notes(_column([0, 1]), labels=Labels(("bad", "good")), published=True, test=_column([0, -1]))
