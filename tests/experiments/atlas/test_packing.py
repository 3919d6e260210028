"""Which runs of a store are packed, and what of them is not."""

from pathlib import Path

import pytest
from toy_atlas import fill_store, toy_run
from toy_records import IDENTITY, toy_spec

from vxlab.errors import VxlabError
from vxlab.experiments.atlas.packing import pack
from vxlab.experiments.atlas.unpacking import read_runs


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
