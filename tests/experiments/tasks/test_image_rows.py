"""Tasks of images: from folders, Parquet, tables of paths and the hub; what is refused, left out and told."""

import io
import warnings

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from places import ROOT

from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.images import decode_image
from vxlab.experiments.tasks.task import load_task

NAMES = ("cat", "dog")
GROCERY = ROOT.parent / "shared" / "data" / "grocery_81"


def picture(number, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def pets(tmp_path):
    """20 images a class, in one folder each."""
    for number in range(40):
        put(tmp_path / "pets" / NAMES[number % 2] / f"{number:02d}.png", picture(number))
    return tmp_path / "pets"


def hub_split(numbers, labels=None, names=NAMES, image="image", label="label"):
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=list(names))})
    rows = {image: [{"bytes": picture(number), "path": None} for number in numbers],
            label: [number % 2 for number in numbers] if labels is None else labels}  # fmt: skip
    return datasets.Dataset.from_dict(rows, features=features)


def sizes(task):
    return {split: len(rows) for split, rows in task.splits.items()}


def classes(task, split):
    """Return the class of each image of a split by what is in the image."""
    contents = {picture(number): NAMES[number % 2] for number in range(60)}
    return [contents[task.images[sha256].read()] for sha256 in task.splits[split]["image"]]


def labels(task, split):
    return [task.label_names[label] for label in task.splits[split]["label"]]


def test_a_folder_is_carved_in_three_and_every_row_leads_to_its_image(pets):
    task = load_task(pets)
    assert (task.kind.name, task.label_names, task.metrics) == ("image_classification", NAMES, ("accuracy", "f1"))
    assert sizes(task) == {"train": 28, "validation": 4, "test": 8}
    assert task.splits["train"].column_names == ["image", "label"]
    for split in task.splits:
        assert classes(task, split) == labels(task, split)
        assert set(labels(task, split)) == set(NAMES)
    assert decode_image(task.images[task.splits["test"]["image"][0]]).size == (12, 12)
    assert (task.notes, task.unit, task.units()) == ((), "groups with a shared image", None)


def test_the_fingerprint_follows_the_images_and_labels_and_not_where_they_lie(pets, tmp_path):
    before = load_task(pets)
    pets.rename(tmp_path / "moved")
    after = load_task(tmp_path / "moved")
    assert after.fingerprint == before.fingerprint
    put(tmp_path / "moved" / "cat" / "00.png", picture(100))
    assert load_task(tmp_path / "moved").fingerprint != before.fingerprint


@pytest.mark.parametrize("layout", ["hub", "bytes", "paths", "csv"])
def test_tables_hold_images_in_the_hubs_layout_as_bytes_or_by_their_paths(tmp_path, layout):
    for split, numbers in (("train", range(40)), ("test", range(40, 50))):
        named = [NAMES[number % 2] for number in numbers]
        if layout == "hub":
            (tmp_path / "data").mkdir(exist_ok=True)
            hub_split(numbers).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
        elif layout == "bytes":
            frame = pd.DataFrame({"photo": [picture(number) for number in numbers], "label": named})
            frame.to_parquet(tmp_path / f"{split}.parquet")
        else:
            for number in numbers:
                put(tmp_path / "images" / f"{number}.png", picture(number))
            frame = pd.DataFrame({"image": [f"images/{number}.png" for number in numbers], "label": named})
            if layout == "paths":
                frame.to_parquet(tmp_path / f"{split}.parquet")
            else:
                frame.to_csv(tmp_path / f"{split}.csv", index=False)
    task = load_task(tmp_path)
    assert (task.label_names, task.notes) == (NAMES, ())
    assert sizes(task) == {"train": 36, "validation": 4, "test": 10}
    for split in task.splits:
        assert classes(task, split) == labels(task, split)


def test_parquet_names_its_classes_and_pieces_and_groups_of_rows_are_read_in_any_order(tmp_path):
    for piece in range(2):
        numbers = range(20 * piece, 20 * piece + 20)
        hub_split(numbers).to_parquet(tmp_path / f"train-0000{piece}-of-00002.parquet", batch_size=7)
    task = load_task(tmp_path, train_examples=9)
    assert task.label_names == NAMES
    assert classes(task, "train") == labels(task, "train")
    numbered = pd.DataFrame({"image": [picture(number) for number in range(20)], "label": [0, 1] * 10})
    (tmp_path / "numbers").mkdir()
    numbered.to_parquet(tmp_path / "numbers" / "train.parquet")
    assert load_task(tmp_path / "numbers").label_names == ("0", "1")


def test_a_hub_set_is_read_as_it_is_encoded(monkeypatch):
    found = datasets.DatasetDict(
        {"train": hub_split(range(40), image="img"), "test": hub_split(range(40, 50), image="img")}
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda path, configuration: found)
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *_: pytest.fail("decoded"))
    task = load_task("org/pets")
    assert task.source == "Hugging Face hub, org/pets"
    for split in task.splits:
        assert classes(task, split) == labels(task, split)
    assert task.images[task.splits["test"]["image"][0]].place.startswith("org/pets test, row ")


def test_the_class_is_found_by_its_name_or_by_names_of_classes_and_else_to_be_named(tmp_path):
    features = datasets.Features({
        "image": datasets.Image(), "fine_label": datasets.ClassLabel(names=["tabby", "husky"]),
        "coarse_label": datasets.ClassLabel(names=["cats", "dogs"]),
    })  # fmt: skip
    rows = {"image": [{"bytes": picture(number), "path": None} for number in range(20)],
            "fine_label": [0, 1] * 10, "coarse_label": [1, 0] * 10}  # fmt: skip
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        VxlabError, match=r"several columns of classes among fine_label, coarse_label. Name the columns"
    ):
        load_task(tmp_path)
    task = load_task(tmp_path, label_column="fine_label")
    assert task.label_names == ("tabby", "husky")
    hub_split(range(20), label="species").to_parquet(tmp_path / "train.parquet")
    assert load_task(tmp_path).label_names == NAMES
    frame = pd.DataFrame({"image": [picture(number) for number in range(20)], "species": ["a", "b"] * 10})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        VxlabError, match=r"no column known to hold the label among image, species|among species, image"
    ):
        load_task(tmp_path)
    assert load_task(tmp_path, label_column="species").label_names == ("a", "b")


def test_the_column_of_images_is_named_where_it_is_not_clear(tmp_path):
    content = [picture(number) for number in range(20)]
    frame = pd.DataFrame({"left": content, "right": content[::-1], "label": ["a", "b"] * 10})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        VxlabError, match=r"several columns hold images: left, right. Name the columns to use with image"
    ):
        load_task(tmp_path)
    assert load_task(tmp_path, image_column="left").kind.reads == "images"
    frame.assign(image=content).to_parquet(tmp_path / "train.parquet")
    assert load_task(tmp_path).kind.reads == "images"
    frame = pd.DataFrame({"image": content, "text": [f"text {n}" for n in range(20)], "label": ["a", "b"] * 10})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(VxlabError, match=r"images in the column 'image' and texts in 'text': say which are to be read"):
        load_task(tmp_path)
    assert load_task(tmp_path, image_column="image").kind.reads == "images"
    assert load_task(tmp_path, text_columns="text").kind.reads == "texts"
    with pytest.raises(VxlabError, match=r"image_column='image' is of images, text_columns of texts; leave one out"):
        load_task(tmp_path, image_column="image", text_columns="text")
    with pytest.raises(VxlabError, match=r"no column 'picture' among .*Name the columns to use with image_column="):
        load_task(tmp_path, image_column="picture")


def test_a_first_row_without_an_image_does_not_hide_the_others(tmp_path):
    frame = pd.DataFrame({"photo": [None, *(picture(n) for n in range(1, 20))], "label": list(NAMES) * 10})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(VxlabError, match=r"train.parquet, row 1: no image, but 0 bytes"):
        load_task(tmp_path)
    with pytest.warns(DataWarning, match=r"1 image cannot be read, and is left out: .*train.parquet, row 1: no image"):
        assert len(load_task(tmp_path, skip_unreadable=True).images) == 19


def test_bytes_that_are_no_images_stay_what_they_are(tmp_path):
    frame = pd.DataFrame({"text": [f"text {n}" for n in range(20)], "code": [b"abc"] * 20, "label": ["a", "b"] * 10})
    frame.to_parquet(tmp_path / "train.parquet")
    assert load_task(tmp_path).kind.reads == "texts"


def test_numbers_to_come_close_to_are_refused(tmp_path):
    frame = pd.DataFrame({"image": [picture(number) for number in range(20)], "label": np.linspace(0, 1, 20)})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        VxlabError, match=r"are numbers with decimals, and images are told apart by classes; pass label_"
    ):
        load_task(tmp_path)
    with pytest.raises(VxlabError, match=r"label_kind='numbers': images are told apart by classes, and not measured"):
        load_task(tmp_path, label_kind="numbers")


@pytest.mark.parametrize(
    ("cell", "message"),
    [(None, "train.csv, line 3: None is no image and no path of one"), ("no.png", "line 3, no.png: not readable"),
     ("https://a.b/c.jpg", "line 3, https://a.b/c.jpg: not readable")],
)  # fmt: skip
def test_a_cell_without_an_image_is_named(pets, cell, message):
    files = sorted(pets.glob("*/*.png"))
    frame = pd.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})
    frame.loc[1, "image"] = cell
    frame.to_csv(pets / "train.csv", index=False)
    with pytest.raises(VxlabError, match=message):
        load_task(pets)


def damage(pets):
    (pets / "cat" / "00.png").write_bytes(picture(0)[:-40])
    (pets / "cat" / "02.png").write_bytes(b"")
    (pets / "dog" / "01.png").write_text("no image")


def test_the_first_unreadable_image_is_named_and_the_others_counted(pets):
    damage(pets)
    with pytest.raises(VxlabError, match=r"pets/cat/00.png: no image that can be read .*; 2 more images cannot be read "
                       r"either\nMend or remove what cannot be read, or pass skip_unreadable=True"):  # fmt: skip
        load_task(pets)


def test_unreadable_images_are_left_out_before_anything_is_carved_or_drawn(pets):
    damage(pets)
    with pytest.warns(DataWarning, match=r"3 images cannot be read, and are left out: pets/cat/00.png: no image"):
        skipped = load_task(pets, skip_unreadable=True, shots=3)
    for name in ("cat/00.png", "cat/02.png", "dog/01.png"):
        (pets / name).unlink()
    whole = load_task(pets, shots=3)
    assert whole.fingerprint == skipped.fingerprint
    assert whole.splits["train"]["image"] == skipped.splits["train"]["image"]
    assert len(skipped.images) == 37


def test_a_class_or_split_of_which_no_image_can_be_read_is_named(pets):
    for file in (pets / "cat").iterdir():
        file.write_text("no image")
    with pytest.raises(VxlabError, match=r"pets: no image that can be read of cat; add some, or take the class out"):
        load_task(pets, skip_unreadable=True)
    for file in (pets / "dog").iterdir():
        file.write_text("no image")
    with pytest.raises(VxlabError, match=r"pets: not one of its 40 images can be read"):
        load_task(pets, skip_unreadable=True)


def test_mixed_sizes_modes_and_formats_are_one_task_and_animations_are_told_of(pets):
    grey = Image.new("L", (30, 5), 9)
    grey.save(pets / "cat" / "50.jpg")
    Image.new("RGBA", (3, 50), (1, 2, 3, 4)).save(pets / "cat" / "51.png")
    Image.fromarray(np.ones((4, 4), dtype=np.uint16)).save(pets / "dog" / "52.tif")
    grey.save(pets / "dog" / "53.png", "JPEG")
    grey.save(pets / "dog" / "54.gif", save_all=True, append_images=[Image.new("L", (30, 5), 99)])
    with pytest.warns(DataWarning, match=r"1 file with several images each, of which the first is read, such as "
                                         "pets/dog/54.gif with 2"):  # fmt: skip
        task = load_task(pets)
    assert sum(sizes(task).values()) == 45
    assert {decode_image(source).mode for source in task.images.values()} == {"RGB"}


def test_copies_stay_in_one_carved_split_and_are_one_unit(tmp_path):
    for number in range(40):
        for copy in "ab":
            put(tmp_path / NAMES[number % 2] / f"{number}{copy}.png", picture(number))
    task = load_task(tmp_path)
    assert task.notes == ()
    assert sum(sizes(task).values()) == 80
    assert len(np.unique(task.units())) == len(task.splits["test"]) // 2


def test_an_image_in_two_splits_or_classes_is_told_of(pets, tmp_path):
    pets.rename(tmp_path / "train")
    put(tmp_path / "test" / "cat" / "1.png", picture(0))
    put(tmp_path / "test" / "dog" / "1.png", picture(100))
    put(tmp_path / "test" / "dog" / "2.png", picture(2))
    with pytest.warns(DataWarning) as told:
        load_task(tmp_path)
    assert "images stand in two splits: 2 of the 3 rows of test (66.7 %) are in train too" in str(told[0].message)
    assert "different labels on the same image: 1 image(s), 2 rows" in str(told[0].message)


def test_a_class_without_training_images_and_a_split_without_labels_are_told_of(pets, tmp_path):
    pets.rename(tmp_path / "train")
    put(tmp_path / "validation" / "cat" / "1.png", picture(100))
    put(tmp_path / "validation" / "emu" / "1.png", picture(101))
    put(tmp_path / "test" / "1.png", b"not even read")
    with pytest.warns(DataWarning) as told:
        task = load_task(tmp_path)
    assert "none of its 1 rows has a label; the split is left out" in str(told[0].message)
    assert "classes in test without a row in train, which cannot be learnt: emu" in str(told[0].message)
    assert task.label_names == ("cat", "dog", "emu")


def test_groups_stay_in_one_split(tmp_path):
    frame = pd.DataFrame({"image": [picture(number) for number in range(40)], "label": list(NAMES) * 20,
                          "patient": [f"patient {number // 4}" for number in range(40)]})  # fmt: skip
    frame.to_parquet(tmp_path / "train.parquet")
    task = load_task(tmp_path, group_column="patient")
    groups = [set(rows["group"]) for rows in task.splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10
    assert task.unit == "groups (patient)"


def test_a_table_beside_folders_of_images_is_read_and_told_of(pets):
    pd.DataFrame({"text": [f"text {n}" for n in range(20)], "label": ["a", "b"] * 10}).to_csv(pets / "train.csv")
    with pytest.warns(DataWarning, match=r"pets: pets/train.csv is read, and the folders of images beside it are not"):
        assert load_task(pets).kind.reads == "texts"


def test_too_few_images_are_said_in_their_words(tmp_path):
    put(tmp_path / "cat" / "1.png", picture(0))
    put(tmp_path / "dog" / "1.png", picture(1))
    with pytest.raises(VxlabError, match=r"cannot be carved out of 2 row.s.: at least 3 images are needed"):
        load_task(tmp_path)


def test_pillows_own_warnings_do_not_reach_the_user(pets):
    broken = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0"
    Image.new("RGB", (5, 5)).save(pets / "cat" / "99.jpg", exif=broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_task(pets).images) == 41


@pytest.mark.skipif(not GROCERY.is_dir(), reason="no grocery_81 in ../shared/data")
def test_real_photographs_are_read():
    task = load_task(GROCERY)
    assert sizes(task) == {"train": 729, "validation": 81, "test": 810}
