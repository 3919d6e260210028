"""The packaged images: their classes and splits, and that nobody takes a score on them for one on CIFAR-10."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from vxlab.errors import VxlabError
from vxlab.experiments.images import decode_image
from vxlab.experiments.tasks.task import load_task

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write(folder, rows, names=NAMES):
    def example(number):
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (number, number // 2, 9)).save(file, "PNG")
        scores = {name: int(place == number % len(names)) for place, name in enumerate(names)}
        return {"input": base64.b64encode(file.getvalue()).decode(), "target_scores": scores}

    content = {"canary": "canary GUID 42", "examples": [example(number) for number in range(rows)]}
    (folder / "task.json").write_text(json.dumps(content))


def test_images_are_split_by_class_and_no_score_is_one_on_cifar10(tmp_path):
    write(tmp_path, 100)
    task = load_task("cifar10_test", folder=tmp_path)
    assert (task.label_names, task.metrics) == (NAMES, ("accuracy", "f1_macro"))
    assert {split: np.bincount(rows["label"]).tolist() for split, rows in task.splits.items()} == {
        "train": [7] * 10,
        "validation": [1] * 10,
        "test": [2] * 10,
    }
    (note,) = task.notes
    assert "scores are not scores on CIFAR-10" in note
    assert "its official test images alone, split here" in task.source
    assert task.citation.endswith("canary GUID 42")
    row = task.splits["test"][0]
    image = decode_image(task.images[row["image"]])
    assert (image.size, image.getpixel((0, 0))[0] % 10) == ((32, 32), row["label"])


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"canary": "a", "examples": [{"input": "?", "target_scores": {"a": 1}}]}',
     '{"canary": "a", "examples": [{"input": "YQ==", "target_scores": {"a": 1, "b": 1}}]}'],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(VxlabError, match=r"task.json: not readable \(.*remove it, and it is fetched anew"):
        load_task("cifar10_test", folder=tmp_path)


@pytest.mark.slow
def test_the_packaged_images_are_split_8000_to_2000():
    task = load_task("cifar10_test")
    assert {split: len(rows) for split, rows in task.splits.items()} == {
        "train": 7000,
        "validation": 1000,
        "test": 2000,
    }
    assert np.bincount(task.splits["test"]["label"]).tolist() == [200] * 10
    assert len(task.images) == 10_000
    assert "GUID" in task.citation
