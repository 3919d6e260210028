"""Tasks: three splits always, the same ones for every run, and clear words for what cannot be a task."""

import json

import numpy as np
import pytest

import vxlab
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.task import load_task


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
        (
            "./no/such/folder",
            "unknown task './no/such/folder'; known: rotten_tomatoes, e2e, cola, .*\nName one of these, a file",
        ),
        ("data/train.csv", "unknown task 'data/train.csv'"),
        ("", "unknown task ''"),
    ],
)
def test_an_unknown_name_lists_the_nearest_and_what_is_possible(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VxlabError, match=message):
        load_task(name)


def test_a_known_task_has_its_own_columns():
    with pytest.raises(VxlabError, match="sst2 has its own columns: leave out label_column"):
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


def _lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_rows_with_the_same_text_stay_in_one_split(tmp_path):
    texts = [f"text {row % 40}" for row in range(120)]
    texts[5], texts[45] = "  caf\u00e9", "cafe\u0301\n"  # the same in Unicode's composed form, without the space around
    rows = [{"text": text, "label": row % 40 % 2} for row, text in enumerate(texts)]
    task = load_task(_lines(tmp_path / "mine.jsonl", rows))
    assert sum(map(len, task.splits.values())) == 120
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 84, "validation": 12, "test": 24}
    assert task.overlap == {"validation": {"train": 0}, "test": {"train": 0, "validation": 0}}
    assert task.notes == ()


def test_a_pair_is_the_same_where_both_of_its_texts_are(tmp_path):
    rows = [{"text": "a", "text_pair": f"b {row // 2}", "label": row // 2 % 2} for row in range(80)]
    task = load_task(_lines(tmp_path / "mine.jsonl", rows))
    assert len(task.splits["test"]) == 16
    assert not any(count for counts in task.overlap.values() for count in counts.values())


def test_groups_that_share_a_text_stay_in_one_split(tmp_path):
    rows = [{"text": f"{row}", "label": row % 2, "film": row // 4} for row in range(200)]
    rows[0]["text"] = rows[50]["text"] = rows[101]["text"] = "the same"
    rows[50]["label"] = rows[101]["label"] = 0
    splits = load_task(_lines(tmp_path / "mine.jsonl", rows), group_column="film").splits
    films = [set(rows["group"]) for rows in splits.values()]
    assert sum(map(len, films)) == 50
    assert any({"0", "12", "25"} <= each for each in films)


def test_a_common_text_does_not_join_most_groups_and_its_copies_are_counted(tmp_path):
    rows = [{"text": "ok" if row % 4 == 0 else f"{row}", "label": row // 4 % 2, "film": row // 4} for row in range(200)]
    path = _lines(tmp_path / "mine.jsonl", [row | {"label": 0} if row["text"] == "ok" else row for row in rows])
    with pytest.warns(UserWarning, match="10 of the 40 rows of test"):
        splits = load_task(path, group_column="film").splits
    films = [set(rows["group"]) for rows in splits.values()]
    assert sum(map(len, films)) == 50


def test_splits_that_share_texts_are_told_of_once(tmp_path):
    _write(tmp_path / "train.jsonl", 100)
    _write(tmp_path / "validation.jsonl", 10)
    rows = [{"text": f"train {row}", "label": row % 2} for row in range(6)] + [{"text": "validation 0", "label": 0}]
    _lines(tmp_path / "test.jsonl", [*rows, {"text": "new", "label": 1}])
    with pytest.warns(
        UserWarning, match=r"two splits: 6 of the 8 rows of test \(75.0 %\) are in train too, 1 of the 8 r"
    ) as told:
        task = load_task(tmp_path)
    assert len(told) == len(task.notes) == 1
    assert told[0].filename == __file__
    assert task.overlap == {"validation": {"train": 0}, "test": {"train": 6, "validation": 1}}
    assert task.conflicts == (0, 0)


def test_what_many_runs_would_say_of_their_data_is_said_once_and_at_the_users_line(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 60, label=lambda row: "rare" if row == 7 else "ab"[row % 2])
    rates = {"learning_rate": 1e-3, "head_learning_rate": 1e-3}
    specs = [vxlab.RunSpec(method=vxlab.LoRA(rank=2), task=str(path), seed=seed, **rates) for seed in range(2)]
    with pytest.warns(DataWarning, match="classes with one row") as told:
        tasks = [spec.load_task() for spec in specs]
    assert (len(told), told[0].filename) == (1, __file__)
    assert tasks[0].notes == tasks[1].notes != ()
    _write(tmp_path / "mine.jsonl", 60, label=lambda row: "rare" if row == 8 else "ab"[row % 2])
    with pytest.warns(DataWarning, match="classes with one row"):
        specs[0].load_task()


def test_different_labels_on_the_same_text_are_counted(tmp_path):
    rows = [{"text": f"text {row // 2}" if row < 8 else f"{row}", "label": row % 2} for row in range(60)]
    with pytest.warns(UserWarning, match=r"- different labels on the same text: 4 text\(s\), 8 rows"):
        task = load_task(_lines(tmp_path / "mine.jsonl", rows))
    assert task.conflicts == (4, 8)


def test_a_class_that_cannot_be_learnt_or_tested_is_named(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 60, label=lambda row: "rare" if row == 7 else "ab"[row % 2])
    with pytest.warns(
        UserWarning, match="classes with one row, which is in train, so that they are never tested: rare"
    ):
        load_task(path)
    with pytest.warns(UserWarning, match="classes in test without a row in train, which cannot be learnt: [ab]"):
        load_task(_write(tmp_path / "few.jsonl", 60, label=lambda row: "abc"[row % 3]), train_examples=2)


@pytest.mark.parametrize("dev", [False, True])
def test_a_test_split_without_labels_is_as_if_it_were_not_there(tmp_path, dev):
    _write(tmp_path / "train.jsonl", 100)
    if dev:
        _write(tmp_path / "dev.jsonl", 10)
    alone = load_task(tmp_path)
    _write(tmp_path / "test.jsonl", 10, label=lambda row: -1)
    with pytest.warns(UserWarning, match="none of its 10 rows has a label; the split is left out"):
        task = load_task(tmp_path)
    assert task.fingerprint == alone.fingerprint
    assert task.notes[1].startswith("the validation split is the test split" if dev else "the test split is carved")


def test_a_test_split_without_the_column_of_the_label_is_as_if_it_were_not_there(tmp_path):
    alone = load_task(_write(tmp_path / "train.jsonl", 100))
    _lines(tmp_path / "test.jsonl", [{"id": row, "text": f"test {row}"} for row in range(10)])
    with pytest.warns(UserWarning, match=r"test.jsonl: no column 'label' among id, text; the split is left o"):
        assert load_task(tmp_path).fingerprint == alone.fingerprint


def test_a_validation_split_without_labels_is_carved(tmp_path):
    _write(tmp_path / "train.jsonl", 100)
    _write(tmp_path / "test.jsonl", 10)
    _write(tmp_path / "dev.jsonl", 10, label=lambda row: None)
    with pytest.warns(UserWarning, match="the validation split is carved out of train"):
        assert len(load_task(tmp_path).splits["validation"]) == 10


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_to_carve_are_said(tmp_path, rows):
    path = _write(tmp_path / "mine.jsonl", rows)
    with pytest.raises(
        VxlabError, match=rf"test and validation cannot be carved out of {rows} row\(s\): at least 3 texts"
    ):
        load_task(path)


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_groups_or_texts_to_carve_are_said(tmp_path, groups):
    rows = [{"text": str(row), "label": row // 2 % 2, "film": row % groups} for row in range(40)]
    path = _lines(tmp_path / "mine.jsonl", rows)
    with pytest.raises(VxlabError, match=rf"out of 40 row\(s\) of {groups} different group\(s\): at least 3 groups"):
        load_task(path, group_column="film")
    _lines(path, [row | {"text": str(row["film"])} for row in rows])
    with pytest.raises(VxlabError, match=rf"out of 40 row\(s\) of {groups} different text\(s\): at least 3 texts"):
        load_task(path)


def test_three_groups_are_one_for_each_split(tmp_path):
    rows = [{"text": str(row), "label": row // 3 % 2, "film": min(row, 2)} for row in range(60)]
    splits = load_task(_lines(tmp_path / "mine.jsonl", rows), group_column="film", seed=3).splits
    assert sorted(len(rows) for rows in splits.values()) == [1, 1, 58]


def test_a_class_for_every_row_is_refused(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 40, label=lambda row: f"id {row}")
    with pytest.raises(
        VxlabError, match="every one of the 40 rows has a class of its own; is label_column= the right one"
    ):
        load_task(path)


def test_a_training_row_for_each_class_is_enough_where_test_is_given(tmp_path):
    _write(tmp_path / "train.jsonl", 2)
    _write(tmp_path / "validation.jsonl", 6)
    _write(tmp_path / "test.jsonl", 6)
    assert len(load_task(tmp_path).splits["train"]) == 2


def test_whole_decimals_are_classes_and_label_kind_makes_them_numbers(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 60, label=lambda row: float(row % 2))
    assert load_task(path).metrics == ("accuracy", "f1")
    numbers = load_task(path, label_kind="numbers")
    assert (numbers.metrics, numbers.num_labels) == (("pearson", "spearman"), 1)


def test_arguments_are_taken_as_they_are_meant(tmp_path):
    path = _write(tmp_path / "mine.jsonl", 60, text="review")
    first = load_task(str(path), text_columns=("review",), train_examples=10, seed=1)
    for columns in ("review", ["review"], np.array(["review"])):
        same = load_task(path, text_columns=columns, train_examples=np.int64(10), seed=np.int32(1))
        assert same.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 3}, "name=3 is an int; it must be a text"),
        ({"folder": 3}, "folder=3 is an int; it must be a text or None"),
        ({"text_columns": 3}, "text_columns=3 is an int; it must be a text or a list of texts"),
        ({"label_column": 3}, "label_column=3 is an int; it must be a text or None"),
        ({"group_column": ["g"]}, r"group_column=\['g'\] is a list"),
        ({"text_columns": ""}, r"text_columns=\('',\) names nothing; leave it out, or write a name"),
        ({"label_column": " "}, "label_column=' ' names nothing"),
        ({"label_kind": "regression"}, "label_kind='regression' is unknown; choose classes or numbers"),
        ({"train_examples": "10"}, "train_examples='10' is a text; .* write train_examples=10"),
        ({"train_examples": 1.5}, "train_examples=1.5 is a float; it must be a whole number or None"),
        ({"train_examples": True}, "train_examples=True is a bool"),
        ({"seed": -1}, r"seed=-1 is not a whole number from 0 to 2\*\*32 - 1"),
        ({"seed": 2**32}, "seed=4294967296 is not a whole number from 0"),
        ({"seed": None}, "seed=None is a NoneType; it must be a whole number"),
        ({"name": "x" * 300}, "unknown task 'xxx"),
        ({"name": "~no-such-user/mine.csv"}, "there is no such user's home folder"),
    ],
)
def test_a_bad_argument_is_named(tmp_path, arguments, message):
    path = _write(tmp_path / "mine.jsonl", 60)
    with pytest.raises(VxlabError, match=message):
        load_task(**{"name": str(path)} | arguments)


@pytest.mark.parametrize(
    ("label", "arguments", "fingerprint"),
    [
        (lambda row: row % 3, {}, "828a3d34c8e0d32d"),
        (lambda row: row % 3, {"group_column": "film"}, "86dd1cbd07698204"),
        (lambda row: row / 8, {}, "a5c70bc83f5eb101"),
        (lambda row: "ab"[row % 2], {"train_examples": 20}, "8432b0e4080287fb"),
    ],
)
def test_data_without_copies_is_carved_as_it_always_was(tmp_path, label, arguments, fingerprint):
    # A change here changes the key of every run on a data set of one's own: it must be deliberate.
    rows = [{"text": f"{row}", "label": label(row), "film": row // 4} for row in range(100)]
    assert load_task(_lines(tmp_path / "mine.jsonl", rows), **arguments).fingerprint[:16] == fingerprint


def test_a_folder_with_a_known_tasks_name_is_told_not_to_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VXLAB_SETS", str(tmp_path / "sets"))
    told = "'math' is a known task's name, and math that lies here is not read; write ./math for that"
    (tmp_path / "math").mkdir()
    with pytest.raises(VxlabError, match=f"no such folder.*\n{told}"):
        load_task("math")
    (tmp_path / "sets").mkdir()
    problems = [json.dumps({"problem": f"{n} + 1?", "solution": rf"\boxed{{{n + 1}}}"}) for n in range(60)]
    (tmp_path / "sets" / "math.train.jsonl").write_text("\n".join(problems), encoding="utf-8")
    with pytest.warns(DataWarning, match=told):
        load_task("math")
