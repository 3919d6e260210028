"""The images that were taken for others: shown are those very ones."""

import base64
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import vxlab
from vxlab.experiments.images import decode_image
from vxlab.studies import find_tested_task, reported_runs
from vxlab.studies.images import class_confusions, confused_pairs, image_sweeps, mistaken_images, smoke_images

Results = dict[int, vxlab.Comparison]


def _worst(result: vxlab.Comparison) -> str:
    return str(result.summary.sort_values("mean").iloc[0]["candidate"])


def test_an_image_is_that_of_the_test_row_that_was_answered_wrong(drawn: Results) -> None:
    result = drawn[4]
    name, task, runs = _worst(result), find_tested_task(result), reported_runs(result)
    assert task is not None
    assert list(task.splits["test"]["label"]) == runs.labels.tolist()  # rows and answers are in one order
    pairs = confused_pairs(class_confusions(result), name)
    table = mistaken_images(result, name, pairs, each=2)
    assert len(table)
    assert table.groupby(["true", "predicted"]).size().max() <= 2
    names = task.splits["test"]["image"]
    answers = [logits.argmax(1) for logits in runs.predictions[name].values()]
    for row in table.to_dict("records"):
        item, predicted = row["item"], task.label_names.index(row["predicted"])
        assert task.label_names[runs.labels[item]] == row["true"] != row["predicted"]
        assert sum(own[item] == predicted for own in answers) == row["wrong"] >= 1
        shown = Image.open(io.BytesIO(base64.b64decode(row["image"].partition(",")[2])))
        assert np.array_equal(np.asarray(shown), np.asarray(decode_image(task.images[names[item]])))


def test_where_the_images_have_changed_none_is_shown(drawn: Results, tmp_path: Path) -> None:
    _, images = smoke_images()
    folder = tmp_path / "colours"
    shutil.copytree(images, folder)
    (fair,) = image_sweeps("smoke", [2], {"head": None}, {"task": str(folder)}).values()
    result = drawn[2]
    moved = {
        key: replace(each, spec=each.spec | {"task": fair.settings["task"]}) for key, each in result.records.items()
    }
    there = replace(result, records=moved)
    assert find_tested_task(there) is not None
    Image.new("RGB", (32, 32), "red").save(next((folder / "test" / "jade").iterdir()))
    pairs = confused_pairs(class_confusions(result), _worst(result))
    assert mistaken_images(there, _worst(result), pairs).empty
