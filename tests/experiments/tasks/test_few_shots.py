"""Shots: so many rows of each class, the same for a seed, from training rows alone."""

import hashlib
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vxlab.adapters import Head
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.tasks.few_shots import few_shots
from vxlab.experiments.tasks.rows import Labels
from vxlab.experiments.tasks.task import load_task

LABELS = Labels(("a", "b", "c"))


@pytest.fixture
def train():
    return pd.DataFrame({"text": [f"text {row}" for row in range(60)], "label": [row % 3 for row in range(60)]})


def rows(train, shots, draw, labels=LABELS):
    return few_shots("mine", train, labels, shots, draw)[0].index.tolist()


@pytest.mark.parametrize("draw", [0, 1, 7])
def test_every_class_gives_its_shots_and_fewer_shots_are_part_of_more(train, draw):
    drawn = [rows(train, shots, draw) for shots in range(1, 20)]
    for shots, each in enumerate(drawn, 1):
        assert np.bincount(train["label"].iloc[each]).tolist() == [shots] * 3
        assert each == sorted(each)
    assert all(set(few) < set(more) for few, more in itertools.pairwise(drawn))


def test_draws_differ_and_each_is_always_the_same(train):
    drawn = [rows(train, 5, draw) for draw in range(20)]
    assert len({tuple(each) for each in drawn}) == 20
    assert [rows(train, 5, draw) for draw in range(20)] == drawn
    often = np.bincount(np.concatenate([rows(train, 5, draw) for draw in range(400)]), minlength=60)
    assert often.sum() == 6000
    assert (np.abs(often - 100) < 45).all()  # 5 of 20: five standard deviations of 8.7


def test_names_and_the_order_of_classes_do_not_matter(train):
    other = train.assign(label=(train["label"] + 1) % 3)
    assert rows(train, 4, 3) == rows(other, 4, 3) == rows(train, 4, 3, Labels(("x", "y", "z")))


@pytest.mark.parametrize(
    ("shots", "draw", "message"),
    [
        (
            21,
            0,
            "shots=21: 'a', a class of mine, has 20 training rows beside those of validation and test; choose 20 or",
        ),
        (20, 1, "draw=1: every class of mine has 20 training rows and no more, so that all draws of shots=20 are the"),
    ],
)
def test_more_shots_than_rows_and_another_draw_of_all_rows_are_refused(train, shots, draw, message):
    with pytest.raises(VxlabError, match=message):
        few_shots("mine", train, LABELS, shots, draw)


def test_a_class_without_training_rows_gives_none_and_no_classes_are_refused(train):
    more = train.assign(label=2 * train["label"])
    assert rows(more, 4, 1, Labels(("a", "b", "c", "d", "e"))) == rows(train, 4, 1)
    with pytest.raises(VxlabError, match=r"shots=5 are of each class, and mine has none; take train_examples"):
        few_shots("mine", train, Labels(), 5, 0)


def test_draws_that_share_rows_and_shots_that_are_copies_are_told_of(train):
    assert few_shots("mine", train, LABELS, 10, 0)[1] == ()
    assert few_shots("mine", train, LABELS, 20, 0)[1] == ()
    (told,) = few_shots("mine", train, LABELS, 12, 0)[1]
    assert told.startswith("a draw takes 60 % of the training rows, so that draws share rows")
    copies = train.assign(text=[f"text {row // 6 % 2}" for row in range(60)])
    drawn, (told,), _ = few_shots("mine", copies, LABELS, 5, 0, "images")
    again = 15 - len(set(zip(drawn["text"], drawn["label"], strict=True)))
    assert told == f"{again} shots with the images of others, so that a class has fewer than it seems"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, "shots=0 is not a positive whole number; choose 1 or more"),
        ({"shots": 2, "draw": -1}, r"draw=-1 is not a whole number from 0 to 2\*\*32 - 1"),
        ({"draw": 3}, "draw=3 is the seed by which shots are drawn, and shots is None; name shots"),
        ({"shots": 2, "train_examples": 5}, "shots=2 and train_examples=5 both say how many rows are trained on"),
        ({"shots": 2.5}, "shots=2.5 is a float; it must be a whole number"),
    ],
)
def test_shots_that_do_not_fit_are_refused_at_the_door(arguments, message):
    with pytest.raises(VxlabError, match=message):
        load_task("nowhere", **arguments)


def write(folder, kind):
    """Write 60 texts or images of three classes."""
    if kind == "texts":
        frame = pd.DataFrame({"text": [f"text {row}" for row in range(60)], "label": ["x", "y", "z"] * 20})
        frame.to_csv(folder / "train.csv", index=False)
        return folder / "train.csv"
    for row in range(60):
        (folder / "xyz"[row % 3]).mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (row, 2 * row, 3 * row)).save(folder / "xyz"[row % 3] / f"{row:02d}.png")
    return folder


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_all_draws_are_of_one_task_and_leave_validation_and_test_alone(tmp_path, kind):
    path = write(tmp_path, kind)
    column = kind.removesuffix("s")
    whole = load_task(path)
    drawn = [load_task(path, shots=5, draw=draw) for draw in range(3)]
    for task in drawn:
        assert task.kind.reads == kind
        assert task.fingerprint == drawn[0].fingerprint
        assert np.bincount(task.splits["train"]["label"]).tolist() == [5] * 3
        assert set(task.splits["train"][column]) < set(whole.splits["train"][column])
        for split in ("validation", "test"):
            assert task.splits[split][:] == whole.splits[split][:]
    assert len({tuple(task.splits["train"][column]) for task in drawn}) == 3
    other = load_task(path, shots=5, seed=1)
    assert other.fingerprint != drawn[0].fingerprint


def test_the_trivial_answer_is_the_frequent_class_though_shots_are_of_all_alike(tmp_path):
    rows = [(f"{name} {row}", name) for name, count in (("rare", 20), ("usual", 180)) for row in range(count)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "mine.csv", index=False)
    found = [load_task(tmp_path / "mine.csv", shots=shots) for shots in (None, 5)]
    assert [task.label_names[int(task.constant)] for task in found] == ["usual", "usual"]


def test_a_sample_of_images_and_of_scored_rows_is_as_of_texts(tmp_path):
    path = write(tmp_path, "images")
    assert len(load_task(path, train_examples=9).splits["train"]) == 9
    spec = RunSpec(model="m", task=str(path), method=Head(), learning_rate=1.0, head_learning_rate=1.0,
                   eval_examples=6, shots=2, draw=1)  # fmt: skip
    task = spec.load_task()
    assert {split: len(found) for split, found in task.splits.items()} == {"train": 6, "validation": 6, "test": 6}
    assert np.bincount(task.splits["test"]["label"]).tolist() == [2] * 3


def test_copies_in_two_splits_are_told_of_where_they_are_drawn(tmp_path):
    write(tmp_path, "images")
    for name in "xyz":
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "train" / name)
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (99, 99, ord(name))).save(tmp_path / "test" / name / "1.png")
    copy = (tmp_path / "train" / "x" / "00.png").read_bytes()
    (tmp_path / "test" / "x" / "2.png").write_bytes(copy)
    drawn = []
    for draw in range(8):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            task = load_task(tmp_path, shots=6, draw=draw)
        drawn.append(hashlib.sha256(copy).hexdigest() in task.splits["train"]["image"])
        assert any("images stand in two splits: 1 of the 4 rows of test" in note for note in task.notes) == drawn[-1]
    assert len(set(drawn)) == 2
