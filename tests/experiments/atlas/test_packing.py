"""Which runs of a store are packed, and what of them is not."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import toy_runs
import toy_writers
from toy_atlas import fill_store, toy_run
from toy_records import IDENTITY, toy_spec

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.atlas.atlas_file import read_atlas
from vxlab.experiments.atlas.packing import pack
from vxlab.experiments.atlas.unpacking import read_runs
from vxlab.experiments.record import RunRecord
from vxlab.experiments.store.store import Store


def test_runs_that_ended_are_packed_and_no_others(tmp_path: Path) -> None:
    with fill_store(tmp_path / "runs.db", 0, 1, diverged=2) as store:
        store.lease("f" * 64, toy_spec(seed=9), IDENTITY, "you", failed_before=None)
        file = pack(store, tmp_path / "a.parquet")
        assert {run.key for run in read_runs(file)} == set(store.table()["key"]) - {"f" * 64}
        chosen = [toy_run(tmp_path / "again", seed).key for seed in (1, 2)]
        assert {run.key for run in read_runs(pack(store, str(tmp_path / "b.parquet"), chosen))} == set(chosen)
        with pytest.raises(VxlabError, match=r"1 of 2 runs have not ended in .*runs\.db: ffffffffffff$"):
            pack(store, tmp_path / "c.parquet", ["f" * 64, *chosen[:1]])
        with pytest.raises(VxlabError, match="has no run that ended, of those wanted"):
            pack(store, tmp_path / "c.parquet", [])
        with pytest.raises(VxlabError, match=r"ends in '\.csv'; an atlas is \.parquet"):
            pack(store, tmp_path / "c.csv")
    assert not (tmp_path / "c.parquet").exists()


def test_runs_of_each_kind_come_back_with_their_scores_and_without_texts(
    tiny_model: str, tiny_writer: str, toy_prompts: str, tmp_path: Path
) -> None:
    numbers = toy_runs.write_task(tmp_path / "numbers", (-0.5, 0.75, 0.1))
    specs = [
        toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.Base()),
        toy_runs.spec(tiny_model, numbers, method=vxlab.Head(), epochs=1, label_kind="numbers"),
    ]
    with Store(tmp_path / "runs.db") as store:
        runs = [vxlab.run(spec, store=store, progress=False) for spec in specs]
        file = pack(store, tmp_path / "a.parquet")
    texts = [text for text in runs[0].texts() if len(text) > 8]
    content = json.dumps(read_atlas(file), default=str)
    assert texts
    assert not [text for text in [*texts, str(tmp_path), *_words(numbers)] if json.dumps(text)[1:-1] in content]
    found = {run.key: run for run in read_runs(file)}
    for run in runs:
        again = RunRecord.from_fields(found[run.key].record, tmp_path / "none", found[run.key].predictions)
        assert again.metrics == run.metrics
        for own, before in zip(again.predictions(), run.predictions(), strict=True):
            np.testing.assert_array_equal(own.numpy(), before.numpy(), strict=True)  # NaN where nothing is scored
        np.testing.assert_array_equal(again.constant(), run.constant())
        with pytest.raises(VxlabError, match="has no texts: it wrote none, or is of an atlas"):
            again.texts()


def _words(task: str) -> list[str]:
    with (Path(task) / "test.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file) if len(row["text"]) > 20]
