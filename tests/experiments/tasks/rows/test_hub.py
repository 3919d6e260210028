"""Hub data sets: what is used of them, and what is said when there are none."""

import os
import subprocess
import sys

import datasets
import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import hub as hub_data
from vxlab.experiments.tasks.rows.columns import Columns
from vxlab.experiments.tasks.task import load_task


def _split(texts, labels, names=("bad", "good")):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))})
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the hub: data sets by path and configuration."""
    shelf = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda path, configuration: shelf[path, configuration])
    return shelf


def test_class_names_and_splits_are_the_hubs_own(hub):
    train, test = _split(["a", "b"], [0, 1]), _split(["c"], [1])
    hub["org/reviews", "small"] = datasets.DatasetDict({"train": train, "test": test, "extra": test})
    reading = hub_data.read_hub("org/reviews:small", Columns())
    assert reading.labels.names == ("bad", "good")
    assert {split: rows.frame["text"].tolist() for split, rows in reading.splits.items()} == {
        "train": ["a", "b"],
        "test": ["c"],
    }
    assert reading.splits["train"].where(1) == "org/reviews:small train, row 2"
    assert reading.source == "Hugging Face hub, org/reviews:small"


def test_a_test_split_without_labels_is_left_out_and_said(hub):
    texts = [str(row) for row in range(20)]
    train, dev, test = (_split([f"{kind} {text}" for text in texts], [0, 1] * 10) for kind in ("a", "b", "c"))
    unlabelled = test.map(lambda row: {"label": -1})
    hub["org/reviews", None] = datasets.DatasetDict({"train": train, "dev": dev, "test": unlabelled})
    with pytest.warns(UserWarning, match=r"reviews, as it was loaded:\n- org/reviews test: none of its 20 rows has a"):
        task = load_task("org/reviews")
    assert set(task.splits["test"]["text"]) == set(dev["text"])
    assert (
        task.notes[1] == "the validation split is the test split, and another validation split is carved out of train"
    )


def test_a_few_rows_without_labels_are_left_out_of_every_split_and_counted(hub):
    train, test = (_split([f"{kind} {row}" for row in range(20)], [0, 1, -1, 1] * 5) for kind in ("a", "b"))
    hub["org/reviews", None] = datasets.DatasetDict({"train": train, "test": test})
    with pytest.warns(UserWarning, match="train: 5 of 20 rows have no label"):
        task = load_task("org/reviews")
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 13, "validation": 2, "test": 15}
    assert task.notes[1] == "org/reviews test: 5 of 20 rows have no label (-1) and are left out"


def test_the_hubs_numbers_are_places_also_where_the_names_are_other_numbers(hub):
    names, labels = ("1", "0"), [0, 1, 1, 1] * 5
    train = _split([f"a {row}" for row in range(20)], labels, names)
    hub["org/reviews", None] = datasets.DatasetDict({"train": train, "test": _split(["b", "c"], [0, 1], names)})
    assert load_task("org/reviews").splits["test"]["label"] == [0, 1]
    numbers = load_task("org/reviews", label_kind="numbers")
    assert (numbers.label_names, numbers.splits["test"]["label"]) == ((), [0.0, 1.0])


def test_a_data_set_without_train_is_refused(hub):
    hub["org/reviews", None] = datasets.DatasetDict({"test": _split(["a"], [0])})
    with pytest.raises(VxlabError, match="org/reviews: no split named train; the data set has test"):
        hub_data.read_hub("org/reviews", Columns())


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), ValueError("Config name is missing."), RuntimeError("script")]
)
def test_the_hubs_reason_is_passed_on_in_two_lines(monkeypatch, error):
    def refuse(path, configuration):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(
        VxlabError, match=rf"cannot read 'org/x' from the Hugging Face hub.*{error}\n.*folder="
    ) as caught:
        hub_data.read_hub("org/x", Columns())
    assert len(str(caught.value).splitlines()) == 2


def test_a_hub_that_cannot_be_reached_names_the_way_out(tmp_path):
    code = (
        "import vxlab\n"
        "for name in ('nyu-mll/no-such-data-set', 'sst2'):\n"
        "    try: vxlab.load_task(name)\n"
        "    except ValueError as error: print(' '.join(str(error).splitlines()))"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    kept = {key: value for key, value in os.environ.items() if key != "VXLAB_GLUE"}
    run = subprocess.run([sys.executable, "-c", code], env=kept | offline, capture_output=True, text=True, check=True)
    for path, said in zip(("nyu-mll/no-such-data-set", "nyu-mll/glue"), run.stdout.splitlines(), strict=True):
        assert f"cannot read '{path}' from the Hugging Face hub" in said
        assert "pass folder= with the files on disk" in said


def test_the_real_reader_of_hub_data_sets_is_called_rightly(tmp_path):
    (tmp_path / "set").mkdir()
    for split, texts, labels in (("train", ["a", "b"] * 20, [0, 1] * 20), ("test", ["c"], [1])):
        _split(texts, labels).to_parquet(tmp_path / "set" / f"{split}.parquet")
    code = (
        "import vxlab.experiments.tasks.rows.hub as h; from vxlab.experiments.tasks.rows.columns import Columns\n"
        f"reading = h.read_hub({str(tmp_path / 'set')!r}, Columns())\n"
        "print({split: len(rows.frame) for split, rows in reading.splits.items()}, reading.labels.names)"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | offline, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "{'train': 40, 'test': 1} ('bad', 'good')" in run.stdout
