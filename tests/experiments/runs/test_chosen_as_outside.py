"""Answers chosen by runs against lm-eval's own tasks, on published rows: item by item the same choice."""

from pathlib import Path

import numpy as np
import outside
import pytest
from places import ROOT

import vxlab
from vxlab.experiments.scoring.text_formulas import COLUMNS

SETS = ROOT.parent / "shared" / "data" / "commonsense"
FILES = {
    "arc_easy": ("arc_easy.test.jsonl", "test"),
    "hellaswag": ("hellaswag.validation_sample.jsonl", "validation"),
    "piqa": ("piqa.validation.jsonl", "validation"),
}
"""By set: a file of published rows, and the name that lm-eval's template has for the split that it tests on."""
ITEMS = 100
here = pytest.mark.skipif(not SETS.is_dir(), reason="no commonsense sets in ../shared/data/commonsense")


def hits(model: str, name: str, folder: Path, items: int = ITEMS) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return which of a set's first items are right by this project's own kind and by lm-eval, by metric."""
    file, split = FILES[name]
    lines = (SETS / file).read_text(encoding="utf-8").splitlines(keepends=True)
    home = folder / name
    home.mkdir()
    for part, own in (("test", lines[:items]), ("train", lines[items : items + 50])):
        (home / f"{part}.jsonl").write_text("".join(own), encoding="utf-8")
    spec = vxlab.RunSpec(
        method=vxlab.Base(), model=model, task=name, task_folder=str(home), max_length=512, device="cpu",
        precision="float32",
    )  # fmt: skip
    statistics = vxlab.run(spec, store=folder / "store", progress=False).predictions()[0].numpy()
    outside_task = vxlab.LocalTask(name, {split: home / "test.jsonl"})
    settings = {"store": folder / "store", "device": "cpu", "precision": "float32", "progress": False}
    (found,) = vxlab.evaluate(model, outside_task, **settings).evaluations  # type: ignore[arg-type]
    return {
        metric: (statistics[:, COLUMNS[metric].start], found.items[f"{metric},none"]) for metric in ("acc", "acc_norm")
    }


@here
@outside.here
@pytest.mark.filterwarnings("ignore::vxlab.errors.DataWarning")  # a set's own doubles are not this test's matter
@pytest.mark.parametrize("name", FILES)
def test_every_item_is_chosen_as_by_lm_eval(name: str, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    for metric, (ours, theirs) in hits(str(outside.STORIES), name, tmp_path).items():
        assert len(ours) == ITEMS
        assert 0 < ours.sum() < ITEMS
        np.testing.assert_array_equal(ours, theirs, err_msg=metric)
