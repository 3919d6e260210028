"""Columns are found or named, and labels are checked, each error leading back to its row."""

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.labelled import Columns, Labels, Reading, label_rows
from vxlab.experiments.tabular import Rows


def _rows(columns, place="reviews/train.csv"):
    frame = pd.DataFrame(columns, dtype=object)
    return Rows(frame.set_axis(range(1, len(frame) + 1)), place)


def _read(columns, named=None, labels=None, **others):
    splits = {"train": _rows(columns), **{split: _rows(rows, f"reviews/{split}.csv") for split, rows in others.items()}}
    return label_rows(Reading(splits, named or Columns(), "here", labels=labels))


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
        ({"text": ["a"], "y": [0]}, Columns(), "no column known to hold the label among text, y.*label_column="),
        ({"text": ["a"], "label": [0]}, Columns(("txt",)), "no column 'txt' among text, label.*text_columns="),
        ({"text": ["a"], "label": [0]}, Columns(group="film"), "no column 'film' among text, label"),
        ({"text": ["a"], "label": [0]}, Columns(("a", "b", "c")), "name one column, or two for pairs"),
        ({"text": [], "label": []}, Columns(), "reviews/train.csv: no rows"),
    ],
)
def test_a_lacking_column_is_named_with_those_present(columns, named, message):
    with pytest.raises(VxlabError, match=message):
        _read(columns, named)


def test_a_column_lacking_in_another_split_names_its_file():
    with pytest.raises(VxlabError, match=r"reviews/test.csv: no column 'label' among text"):
        _read({"text": ["a", "b"], "label": [0, 1]}, test={"text": ["c"]})


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
        ({"text": ["a", "b"], "label": [1, 2]}, r"train.csv, row 2: label 2 is outside the 2 classes 0..1 \(integer"),
        ({"text": ["a", "b"], "label": [-1, 0]}, r"train.csv, row 1: label -1 is outside the 2 classes 0..1"),
        ({"text": ["a", "b"], "label": ["0.5", "1,5"]}, r"train.csv, row 2: label '1,5' is no number, and other"),
        ({"text": ["a", "b"], "label": ["0.5", "inf"]}, r"train.csv, row 2: label 'inf' is not a finite number"),
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
        _read(columns, Columns(group="film"))


def test_a_column_that_occurs_twice_is_refused():
    frame = pd.DataFrame([["a", "b", 0], ["c", "d", 1]], columns=["text", "text", "label"])
    reading = Reading({"train": Rows(frame, "reviews/train.tsv")}, Columns(), "here")
    with pytest.raises(VxlabError, match=r"reviews/train.tsv: several columns are named 'text'; keep one"):
        label_rows(reading)
