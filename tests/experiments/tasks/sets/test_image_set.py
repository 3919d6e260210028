"""The four sets of images by name: in the layouts in which people have them, made small."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import vxlab
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.tasks.sets import IMAGE_SETS, read_image_set
from vxlab.experiments.tasks.task import load_task

FOODS = ("apple_pie", "pizza", "sushi")


def picture(number):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (10, 10, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def put(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))


def write_food101(home):
    """Write torchvision's food-101: 20 training and 5 test images a class."""
    (home / "meta").mkdir(parents=True)
    for split, numbers in (("train", range(20)), ("test", range(20, 25))):
        lines = [f"{name}/{number}" for name in FOODS for number in numbers]
        (home / "meta" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for place, line in enumerate(lines):
            put(home / "images" / f"{line}.jpg", 1000 * numbers.start + place)


def write_flowers102(home):
    """Write torchvision's flowers-102: 10 training, 10 validation and 16 test images of 2 classes, mixed."""
    home.mkdir(parents=True)
    numbers = np.random.default_rng(0).permutation(36) + 1
    for number in numbers:
        put(home / "jpg" / f"image_{number:05d}.jpg", number)
    savemat(home / "imagelabels.mat", {"labels": [1 + np.arange(36) % 2]})
    savemat(home / "setid.mat", {"trnid": [numbers[:10]], "valid": [numbers[10:20]], "tstid": [numbers[20:]]})
    return numbers


def write_parquet(folder, label="label", image="image", tests=("test",), extra=()):
    """Write the hub's snapshot: 20 training images a class of 2, and 6 in each other split."""
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=["b", "a"]),
                                  **{name: datasets.ClassLabel(names=["x"]) for name in extra}})  # fmt: skip
    folder.mkdir(parents=True)
    for start, split, rows in ((0, "train", 40), *((100 * place, name, 6) for place, name in enumerate(tests, 1))):
        columns = {image: [{"bytes": picture(start + row), "path": None} for row in range(rows)],
                   label: [row % 2 for row in range(rows)], **{name: [0] * rows for name in extra}}  # fmt: skip
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def load(name, folder, **arguments):
    with pytest.warns(DataWarning) as told:
        task = load_task(name, folder=folder, **arguments)
    assert len(told) == 1
    return task


def sizes(task):
    return {split: len(rows) for split, rows in task.splits.items()}


@pytest.mark.parametrize("home", ["food-101", "food101/food-101", "."])
def test_food101_is_read_as_torchvision_unpacks_it(tmp_path, home):
    write_food101(tmp_path / home)
    task = load("food101", tmp_path)
    assert task.label_names == FOODS
    assert sizes(task) == {"train": 54, "validation": 6, "test": 15}
    assert {FOODS[label] for label in task.splits["test"]["label"]} == set(FOODS)
    places = {task.images[sha256].place: FOODS[label] for rows in task.splits.values()
              for sha256, label in zip(rows["image"], rows["label"], strict=True)}  # fmt: skip
    assert all(f"/images/{name}/" in place for place, name in places.items())
    assert all(int(task.images[sha256].path.stem) >= 20 for sha256 in task.splits["test"]["image"])
    assert "Bossard" in task.citation
    assert task.metrics[0] == "accuracy"
    assert task.notes == (
        "food101: not the official splits (train has 60 images and officially 75,750, test has 15 images and "
        "officially 25,250), so that scores do not compare with published ones",
    )


def test_flowers102_keeps_its_small_training_split_and_its_classes_by_number(tmp_path):
    numbers = write_flowers102(tmp_path / "flowers-102")
    task = load("flowers-102", tmp_path, shots=2)
    assert sizes(task) == {"train": 4, "validation": 10, "test": 16}
    assert task.label_names == ("1", "2")
    for split, places in (("validation", numbers[10:20]), ("test", numbers[20:])):
        read = [int(task.images[sha256].path.stem[-5:]) for sha256 in task.splits[split]["image"]]
        assert read == places.tolist()
        assert task.splits[split]["label"] == [(number - 1) % 2 for number in read]


@pytest.mark.parametrize(
    ("name", "home", "arguments"),
    [
        ("cifar100", "cifar100/cifar100", {"label": "fine_label", "image": "img", "extra": ("coarse_label",)}),
        ("cifar100", "CIFAR-100/data", {"label": "label"}),
        ("food101", "food101/data", {"tests": ("validation",)}),
        ("flowers102", "oxford_flowers102/data", {"tests": ("validation", "test")}),
        ("resisc45", "resisc45/data", {"tests": ("validation", "test")}),
    ],
)
def test_parquet_of_the_hub_is_read_with_its_names(tmp_path, name, home, arguments):
    write_parquet(tmp_path / home, **arguments)
    task = load(name, tmp_path)
    assert task.label_names == ("b", "a")
    both = len(arguments.get("tests", ("test",))) == 2
    assert sizes(task) == {"train": 40 if both else 36, "validation": 6 if both else 4, "test": 6}
    told = "resisc45 has no official split" if name == "resisc45" else f"{name}: not the official splits"
    assert task.notes[0].startswith(told)


@pytest.mark.parametrize("home", ["NWPU-RESISC45", "resisc45", "."])
def test_one_folder_a_class_is_carved_and_said(tmp_path, home):
    for number in range(40):
        put(tmp_path / home / ("airport", "beach")[number % 2] / f"{number:03d}.jpg", number)
    task = load("resisc45", tmp_path)
    assert sizes(task) == {"train": 28, "validation": 4, "test": 8}
    assert task.label_names == ("airport", "beach")
    assert task.notes == (IMAGE_SETS["resisc45"].note,)


def test_sets_lie_beside_each_other_and_the_folder_has_a_default(tmp_path, monkeypatch):
    write_food101(tmp_path / "food-101")
    write_flowers102(tmp_path / "flowers-102")
    monkeypatch.setenv("VXLAB_SETS", str(tmp_path))
    assert sizes(load("food101", None))["test"] == 15
    assert sizes(load("flowers102", None))["test"] == 16
    with pytest.raises(
        VxlabError, match=r"no file of cifar100.*\nOr put its images into one folder a class, in cifar100"
    ):
        load_task("cifar100")
    with pytest.raises(VxlabError, match=r"nowhere: no such folder \(VXLAB_SETS"):
        load_task("cifar100", folder=tmp_path / "nowhere")


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_without_a_folder_the_hub_is_asked_for_the_columns_of_the_set(monkeypatch, tmp_path, name):
    described = IMAGE_SETS[name]
    tests = ("validation",) if described.test_is_validation else ("test",)
    image = "img" if name == "cifar100" else "image"
    extra = ("coarse_label",) if name == "cifar100" else ()
    write_parquet(tmp_path / "a", label=described.label, image=image, tests=tests, extra=extra)
    files = {file.name.partition("-")[0]: str(file) for file in (tmp_path / "a").iterdir()}
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    asked = []
    monkeypatch.delenv("VXLAB_SETS", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, configuration: asked.append(path) or found)
    task = load(name, None)
    assert asked == list(described.hub)
    assert sizes(task)["test"] == 6
    assert task.source == f"Hugging Face hub, {described.hub[0]}"


def test_the_splits_are_official_where_their_sizes_are(monkeypatch, tmp_path):
    write_food101(tmp_path)
    small = IMAGE_SETS["food101"].__class__(citation="x", sizes={"train": 60, "test": 15}, official="test")
    monkeypatch.setitem(IMAGE_SETS, "food101", small)
    assert read_image_set("food101", tmp_path).notes == ()


def test_pickles_are_refused(tmp_path):
    home = tmp_path / "cifar-100-python"
    home.mkdir()
    for file in ("train", "test", "meta"):
        (home / file).write_bytes(b"cos\nsystem\n")
    with pytest.raises(
        VxlabError, match=r"pickles, which may run any program when they are read, and so are not; take"
    ):
        load_task("cifar100", folder=tmp_path)


def test_a_set_has_its_own_columns():
    for columns in ({"label_column": "coarse_label"}, {"image_column": "img"}, {"prompt_template": "{img}"}):
        with pytest.raises(VxlabError, match=f"cifar100 has its own columns: leave out {next(iter(columns))}"):
            load_task("cifar100", **columns)


def test_damaged_lists_and_lacking_images_are_named(tmp_path):
    write_food101(tmp_path / "food")
    (tmp_path / "food" / "images" / "pizza" / "3.jpg").unlink()
    with pytest.raises(VxlabError, match=r"food/images/pizza/3.jpg: not readable"):
        load_task("food101", folder=tmp_path / "food")
    (tmp_path / "food" / "meta" / "test.txt").write_text("pizza\n")
    with pytest.raises(VxlabError, match=r"food/meta/test.txt, line 1: 'pizza' is no class/number"):
        load_task("food101", folder=tmp_path / "food")
    (tmp_path / "food" / "meta" / "test.txt").unlink()
    with pytest.raises(VxlabError, match=r"test.txt: not readable"):
        load_task("food101", folder=tmp_path / "food")
    write_flowers102(tmp_path / "flowers")
    savemat(tmp_path / "flowers" / "setid.mat", {"trnid": [[1, 99]], "valid": [[2]], "tstid": [[3]]})
    with pytest.raises(VxlabError, match=r"setid.mat: trnid names images that imagelabels.mat has no class for"):
        load_task("flowers102", folder=tmp_path / "flowers")
    (tmp_path / "flowers" / "imagelabels.mat").write_bytes(b"nothing")
    with pytest.raises(VxlabError, match=r"imagelabels.mat: no MATLAB file with 'labels'"):
        load_task("flowers102", folder=tmp_path / "flowers")


@pytest.mark.parametrize("name", IMAGE_SETS)
@pytest.mark.filterwarnings("ignore::vxlab.errors.DataWarning")
def test_a_model_trains_on_shots_of_every_set(name, tiny_vit, tmp_path):
    {
        "cifar100": lambda home: write_parquet(home, "fine_label", "img", extra=("coarse_label",)),
        "food101": write_food101,
        "flowers102": write_flowers102,
        "resisc45": lambda home: write_parquet(home / "data", tests=("validation", "test")),
    }[name](tmp_path / name)
    spec = vxlab.RunSpec(method=vxlab.LoRA(rank=2), model=tiny_vit, task=name, task_folder=str(tmp_path), shots=2,
                         learning_rate=1e-3, head_learning_rate=1e-2, epochs=1, batch_size=4, device="cpu")  # fmt: skip
    record = vxlab.run(spec, store=tmp_path / "runs", progress=False)
    assert record.status == "finished"
    assert record.task["rows"]["train"] == 2 * record.task["num_labels"]
    assert len(record.predictions()[1]) == record.task["rows"]["test"]
    assert record.task["citation"] == IMAGE_SETS[name].citation
