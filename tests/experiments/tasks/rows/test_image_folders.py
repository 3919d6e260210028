"""Folders of images: which are classes and splits, what is refused, and what is passed over or told of."""

import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from vxlab.errors import VxlabError
from vxlab.experiments.tasks.rows import Columns, holds_image_folders, read_image_folders


def put(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, len(path.name), 7)).save(path, "PNG")
    return path


@pytest.fixture
def pets(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        put(tmp_path / "pets" / name)
    return tmp_path / "pets"


def read(folder, **columns):
    return read_image_folders(folder, Columns(**columns))


def found(folder):
    splits = read(folder).splits
    return {split: [(source.place, label) for source, label in rows.frame.itertuples(index=False)]
            for split, rows in splits.items()}  # fmt: skip


def test_one_folder_a_class_is_a_training_split(pets):
    assert found(pets) == {"train": [("pets/cat/1.png", "cat"), ("pets/cat/2.png", "cat"), ("pets/dog/1.png", "dog")]}
    reading = read(pets)
    assert (reading.labels.names, reading.source, reading.notes) == (("cat", "dog"), "local files, pets", ())


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Train", "VAL", "Test"), ("train", "dev", "test"),
                                   ("TRAIN", "valid", "TEST")])  # fmt: skip
def test_folders_of_splits_are_named_in_any_capitals(tmp_path, names):
    for split in names:
        put(tmp_path / split / "a" / "1.png")
        put(tmp_path / split / "b" / "1.png")
    assert set(found(tmp_path)) == {"train", "validation", "test"}


def test_a_class_of_one_split_alone_is_a_class_of_all(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/c"):
        put(tmp_path / name / "1.png")
    assert read(tmp_path).labels.names == ("a", "b", "c")


def test_names_are_the_folders_own_and_numbers_stay_as_they_are_written(tmp_path):
    for name in ("007", "7", "cafe\u0301"):
        put(tmp_path / name / "1.png")
    assert read(tmp_path).labels.names == ("007", "7", "caf\u00e9")
    put(tmp_path / "CAF\u00c9" / "1.png")
    assert read(tmp_path).notes == ("classes 'CAF\u00c9' and 'caf\u00e9' differ in capitals or spaces alone",)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".Png", ".webp", ".bmp", ".GIF", ".tif", ".tiff", ".ppm", ".heic"])
def test_files_are_images_by_their_suffix_in_any_capitals(tmp_path, suffix):
    put(tmp_path / "a" / f"1{suffix}")
    put(tmp_path / "b" / "1.png")
    assert found(tmp_path)["train"][0][1] == "a"


def test_other_files_are_told_of_and_those_of_systems_passed_over(pets):
    for name in ("cat/notes.txt", "cat/list.TXT", "dog/1.xml"):
        (pets / name).write_text("x")
    for name in ("README.md", "LICENSE", ".DS_Store", "cat/.DS_Store", "cat/._1.png", "dog/Thumbs.db"):
        (pets / name).write_text("x")
    put(pets / "__MACOSX" / "cat" / "1.png")
    put(pets / ".cache" / "cat" / "1.png")
    (rows,) = read(pets).splits.values()
    assert rows.notes == ("pets: 3 files beside images, and not read (2 .txt, 1 .xml)",)
    assert len(rows.frame) == 3


def test_a_folder_that_is_neither_split_nor_class_is_told_of(pets, tmp_path):
    pets.rename(tmp_path / "train")
    put(tmp_path / "extra" / "cat" / "1.png")
    (tmp_path / "docs").mkdir()
    assert read(tmp_path).notes[0].endswith(": not used, being named neither train, validation nor test: extra")


def test_links_to_files_and_folders_are_followed(pets, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "cat").symlink_to(pets / "cat")
    (tmp_path / "linked" / "dog").mkdir()
    (tmp_path / "linked" / "dog" / "1.png").symlink_to(pets / "dog" / "1.png")
    assert holds_image_folders(tmp_path / "linked")
    assert len(found(tmp_path / "linked")["train"]) == 3


def test_a_test_split_in_no_folders_has_no_labels(pets, tmp_path):
    pets.rename(tmp_path / "train")
    put(tmp_path / "test" / "1.png")
    assert [label for _, label in found(tmp_path)["test"]] == [None]


@pytest.mark.parametrize(
    ("add", "message"),
    [
        ("bird/", "bird: no image of this class; add some, or take the folder away"),
        ("bird/a.txt", "bird: no image of this class"),
        ("cat/indoors/1.png", r"cat: a folder 'indoors' in that of a class.*put images straight into the folders of"),
        ("1.png", r"pets: 1 image beside the folders of classes, such as 1.png; put each image into a folder named by"),
        ("train/1.png", r"pets: is train the training split, or a class beside cat, dog\? As a split it needs folders"),
        ("test/cat/1.png", "pets: no folder train beside test; add one, or where these are classes rename them"),
    ],
)
def test_what_has_no_clear_class_is_refused(pets, add, message):
    (pets / add).mkdir(parents=True) if add.endswith("/") else put(pets / add)
    with pytest.raises(VxlabError, match=message):
        read(pets)


def test_one_class_alone_two_folders_of_a_split_and_images_without_folders_are_refused(tmp_path):
    put(tmp_path / "one" / "cat" / "1.png")
    with pytest.raises(VxlabError, match=r"one: one class alone, 'cat': nothing to tell apart"):
        read(tmp_path / "one")
    for split in ("train", "val", "Validation"):
        put(tmp_path / "two" / split / "cat" / "1.png")
    with pytest.raises(VxlabError, match=r"two: two folders for validation: Validation, val; keep one"):
        read(tmp_path / "two")
    put(tmp_path / "none" / "1.png")
    assert holds_image_folders(tmp_path / "none")
    with pytest.raises(VxlabError, match=r"none: 1 image in no folder of a class; put each image into a folder"):
        read(tmp_path / "none")
    put(tmp_path / "empty" / "train" / "cat" / "1.png")
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(VxlabError, match=r"test: no images"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("columns", [{"label_column": "label"}, {"image_column": "image"}, {"group_column": "film"},
                                     {"text_columns": ("text",)}, {"label_kind": "numbers"}])  # fmt: skip
def test_folders_have_no_columns(pets, columns):
    assert read(pets, label_kind="classes").labels.names == ("cat", "dog")
    with pytest.raises(VxlabError, match=f"{next(iter(columns))}=.*: folders of images have no columns, and name the"):
        read(pets, **columns)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_named(pets):
    (pets / "cat").chmod(0)
    with pytest.raises(VxlabError, match=r"cat: not readable"):
        read(pets)


def listed(folder, names, labels):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        put(folder / name)
    pd.DataFrame({"file_name": names, "label": labels}).to_csv(folder / "metadata.csv", index=False)


def test_a_metadata_file_lists_images_and_labels(tmp_path):
    listed(tmp_path / "train", ["1.png", "below/2.png"], ["cat", "dog"])
    listed(tmp_path / "test", ["1.png"], ["cat"])
    put(tmp_path / "train" / "3.png")
    assert holds_image_folders(tmp_path)
    reading = read(tmp_path)
    assert reading.columns.image_column == "file_name"
    assert {split: rows.frame["label"].tolist() for split, rows in reading.splits.items()} == {
        "train": ["cat", "dog"],
        "test": ["cat"],
    }
    assert reading.splits["train"].notes == (
        "train/metadata.csv: 1 image beside it that it does not list, and that are not read",
    )
    (tmp_path / "test" / "metadata.csv").unlink()
    with pytest.raises(VxlabError, match=r"test has no metadata file, as metadata.csv; add one"):
        read(tmp_path)
    (tmp_path / "test" / "metadata.csv").write_text("name\n1.png\n")
    with pytest.raises(VxlabError, match=r"no column 'file_name' among name; it names the images"):
        read(tmp_path)


def test_one_metadata_file_beside_its_images_is_a_training_split(tmp_path):
    listed(tmp_path / "pets", ["1.png", "2.png"], ["cat", "dog"])
    assert holds_image_folders(tmp_path / "pets")
    rows = read(tmp_path / "pets").splits["train"]
    assert (rows.frame["label"].tolist(), rows.notes) == (["cat", "dog"], ())


def test_folders_of_texts_hold_no_images(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\n")
    put(tmp_path / "figure.png")
    assert not holds_image_folders(tmp_path)
    assert not holds_image_folders(tmp_path / "train.csv")
