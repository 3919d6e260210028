"""What is trained and tested on where a set's official splits are not all there."""

import pandas as pd
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows.files import Rows
from vxlab.experiments.tasks.sets.sources import choose_training, fetch_splits


@pytest.mark.parametrize(
    ("given", "official", "chosen", "told"),
    [
        ("train validation test", "test", "train validation test", None),
        ("train test", "validation", "train test", None),
        ("train validation", "validation", "train validation", None),
        ("train validation", "test", "train validation", "no test split: validation is tested on"),
        ("train", "test", "train", "no test split: a part of train is tested on"),
        ("train", "validation", "train", "no validation split: a part of train is tested on"),
        ("train", "", "train", None),
        ("validation test", "test", "validation=train test", "no train split: validation is trained on"),
        ("validation", "validation", "validation=train", "no train split: validation is trained on"),
        ("test", "", "test=train", "no train split: test is trained on"),
    ],
)
def test_what_is_tested_on_is_told_where_it_is_not_the_official_split(given, official, chosen, told):
    splits = {split: Rows(pd.DataFrame({"a": [1]}), split) for split in given.split()}
    found, notes = choose_training(splits, official)
    assert {split: rows.place for split, rows in found.items()} == {
        each.rpartition("=")[2]: each.partition("=")[0] for each in chosen.split()
    }
    assert notes == ((f"{told}, so that scores do not compare with published ones",) if told else ())


def test_an_empty_split_is_refused(tmp_path):
    (tmp_path / "gsm8k.train.json").write_text("[]", encoding="utf-8")
    with pytest.raises(VxlabError, match=r"gsm8k.train.json: no rows"):
        fetch_splits("gsm8k", tmp_path)
