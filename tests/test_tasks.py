"""Tasks: three splits always, the same ones for every run, and clear words for what cannot be a task."""

import json

import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.tasks import load_task


def _write(path, rows, label=lambda row: row % 2, text="text"):
    path.write_text("\n".join(json.dumps({text: f"{path.stem} {row}", "label": label(row)}) for row in range(rows)))
    return path


def test_one_file_is_carved_in_three(tmp_path):
    task = load_task(str(_write(tmp_path / "mine.jsonl", 100)))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 70, "validation": 10, "test": 20}
    texts = [text for rows in task.splits.values() for text in rows["text"]]
    assert sorted(texts) == sorted(f"mine {row}" for row in range(100))
    assert (task.num_labels, task.label_names, task.metrics) == (2, ("0", "1"), ("accuracy", "f1"))
    assert task.source == "local files, mine.jsonl"


def test_a_validation_split_without_test_becomes_our_test(tmp_path):
    _write(tmp_path / "train.jsonl", 100)
    _write(tmp_path / "dev.jsonl", 7)
    task = load_task(str(tmp_path))
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 90, "validation": 10, "test": 7}
    assert set(task.splits["test"]["text"]) == {f"dev {row}" for row in range(7)}


def test_given_splits_stay_as_they_are(tmp_path):
    for stem, rows in (("train", 20), ("validation", 6), ("test", 4)):
        _write(tmp_path / f"{stem}.jsonl", rows)
    task = load_task("reviews", folder=tmp_path)
    assert task.name == "reviews"
    assert {split: list(rows["text"]) for split, rows in task.splits.items()} == {
        stem: [f"{stem} {row}" for row in range(rows)] for stem, rows in (("train", 20), ("validation", 6), ("test", 4))
    }


def test_only_validation_is_carved_where_test_is_given(tmp_path):
    _write(tmp_path / "train.jsonl", 50)
    _write(tmp_path / "test.jsonl", 5)
    sizes = {split: len(rows) for split, rows in load_task(str(tmp_path)).splits.items()}
    assert sizes == {"train": 45, "validation": 5, "test": 5}


def test_carved_validation_is_at_most_2000_rows(tmp_path):
    _write(tmp_path / "train.jsonl", 30_000)
    _write(tmp_path / "test.jsonl", 5)
    assert len(load_task(str(tmp_path)).splits["validation"]) == 2000


def test_groups_stay_whole_through_both_carvings(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"text": str(row), "label": row % 2, "film": row // 4} for row in range(400)]
    path.write_text("\n".join(map(json.dumps, rows)))
    splits = load_task(str(path), group_column="film").splits
    films = [set(rows["group"]) for rows in splits.values()]
    assert sum(map(len, films)) == len(set.union(*films)) == 100
    assert len(splits["test"]) == pytest.approx(80, abs=8)


def test_regression_keeps_its_decimals(tmp_path):
    task = load_task(str(_write(tmp_path / "mine.jsonl", 50, label=lambda row: row / 8)))
    assert (task.num_labels, task.label_names, task.metrics) == (1, (), ("pearson", "spearman"))
    assert all(isinstance(label, float) for label in task.splits["train"]["label"])


def test_more_than_two_classes_are_scored_by_macro_f1(tmp_path):
    task = load_task(str(_write(tmp_path / "mine.jsonl", 90, label=lambda row: "abc"[row % 3])))
    assert (task.label_names, task.metrics) == (("a", "b", "c"), ("accuracy", "f1_macro"))


def test_a_sample_of_train_leaves_the_other_splits_alone(tmp_path):
    path = str(_write(tmp_path / "mine.jsonl", 200))
    whole, part = load_task(path), load_task(path, train_examples=40)
    assert len(part.splits["train"]) == 40
    assert sum(part.splits["train"]["label"]) == 20
    assert set(part.splits["train"]["text"]) < set(whole.splits["train"]["text"])
    for split in ("validation", "test"):
        assert part.splits[split].to_dict() == whole.splits[split].to_dict()


def test_the_fingerprint_follows_the_content_and_nothing_else(tmp_path):
    here, there = tmp_path / "a", tmp_path / "b"
    for folder in (here, there):
        folder.mkdir()
        _write(folder / "mine.jsonl", 50)
    first = load_task(str(here / "mine.jsonl"))
    assert load_task(str(there / "mine.jsonl")).fingerprint == first.fingerprint
    assert load_task(str(here / "mine.jsonl"), seed=1).fingerprint != first.fingerprint
    (there / "mine.jsonl").write_text((there / "mine.jsonl").read_text().replace("mine 49", "mine 50"))
    assert load_task(str(there / "mine.jsonl")).fingerprint != first.fingerprint


def test_a_hub_id_that_is_a_folder_here_is_the_folder(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    _write(tmp_path / "org" / "name" / "train.jsonl", 50)
    monkeypatch.chdir(tmp_path)
    assert load_task("org/name").source == "local files, name"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rotten_tomatos", "unknown task 'rotten_tomatos'; did you mean 'rotten_tomatoes'?"),
        ("sst-3", "unknown task 'sst-3'; did you mean 'sst2'?"),
        ("./no/such/folder", "unknown task './no/such/folder'\nName one of rotten_tomatoes, cola, .*file or folder"),
        ("data/train.csv", "unknown task 'data/train.csv'"),
        ("", "unknown task ''"),
    ],
)
def test_an_unknown_name_lists_the_nearest_and_what_is_possible(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VxlabError, match=message):
        load_task(name)


def test_a_known_task_has_its_own_columns():
    with pytest.raises(VxlabError, match="sst2 has its own columns: leave out text_columns"):
        load_task("sst2", label_column="label")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(VxlabError, match=r"folder=.*nowhere: no such file or folder; did you mean 'sst2'"):
        load_task("sst3", folder=tmp_path / "nowhere")


@pytest.mark.parametrize(("size", "train"), [(0, 70), (71, 70), (-5, 70)])
def test_more_training_rows_than_there_are_is_refused(tmp_path, size, train):
    path = _write(tmp_path / "mine.jsonl", 100)
    with pytest.raises(VxlabError, match=rf"train_examples={size}: the training split of .* has {train} rows"):
        load_task(str(path), train_examples=size)


def test_one_class_is_refused(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 50, label=lambda row: "good")
    with pytest.raises(VxlabError, match="every one of the 35 training rows has the label 'good'"):
        load_task(str(path))
    path = _write(tmp_path / "flat.jsonl", 50, label=lambda row: 2.5)
    with pytest.raises(VxlabError, match=r"has the label 2.5; nothing to learn"):
        load_task(str(path))


def test_an_empty_file_is_refused(tmp_path):
    for name, content in (("mine.jsonl", ""), ("mine.csv", "text,label\n"), ("mine.tsv", "text\tlabel\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(VxlabError, match=rf"{name}: no rows"):
            load_task(str(tmp_path / name))


def test_a_lacking_column_tells_how_to_name_one(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 10, text="body")
    with pytest.raises(
        VxlabError, match=r"no column known to hold the text among body, label. Name the columns.*text_columns="
    ):
        load_task(str(path))
    assert len(load_task(str(path), text_columns=("body",)).splits["train"]) == 7


def test_loading_leaves_no_files_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "cache"))
    path = _write(tmp_path / "mine.jsonl", 50)
    load_task(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.jsonl"]
