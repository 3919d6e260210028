"""A packed store reads as the one it was packed from, and nothing is written into it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_atlas import change_row, fill_store, toy_run
from toy_records import IDENTITY, toy_spec

from vxlab.errors import VxlabError
from vxlab.experiments.atlas import unpacking
from vxlab.experiments.atlas.atlas_file import read_atlas, write_atlas
from vxlab.experiments.atlas.packed_run import pack_run
from vxlab.experiments.atlas.packing import pack
from vxlab.experiments.atlas.unpacking import unpack
from vxlab.experiments.spec import run_key
from vxlab.experiments.store.ended_run import EndedRun
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored import stored_sweeps


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    with fill_store(tmp_path / "runs.db", 0, 1, 2, diverged=3) as store:
        return pack(store, tmp_path / "a.parquet")


def test_the_tables_are_the_store_s(tmp_path: Path, packed: Path) -> None:
    with Store(tmp_path / "runs.db") as before, unpack(packed) as after:
        pd.testing.assert_frame_equal(after.table().drop(columns="folder"), before.table().drop(columns="folder"))
        for key in before.table()["key"]:
            assert after.record(key) == before.record(key)
        (own,), (same,) = stored_sweeps(after), stored_sweeps(before)
        for table in ("summary", "pairs", "tuning"):
            pd.testing.assert_frame_equal(getattr(own, table), getattr(same, table))
        assert own.notes == same.notes


def test_it_is_made_once(tmp_path: Path, packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(packed).close()
    (file,) = (cache / "atlas").iterdir()
    assert os.stat(file).st_mode & 0o222 == 0
    monkeypatch.setattr(unpacking, "merge_runs", None)  # would be called, and is not
    with unpack([packed]) as store:
        assert len(store.table()) == 4
        assert store.name == str(file)
    moved = packed.rename(tmp_path / "elsewhere.parquet")
    unpack(moved).close()
    assert list((cache / "atlas").iterdir()) == [file]


def test_a_row_that_is_refused_leaves_nothing(tmp_path: Path, packed: Path, cache: Path) -> None:
    rows = read_atlas(packed)
    rows[1]["key"] = "0" * 64
    write_atlas(tmp_path / "b.parquet", rows)
    with pytest.raises(VxlabError, match=r"atlas '.*b\.parquet': run 000000000000 \(LoRA r=8 on"):
        unpack(tmp_path / "b.parquet")
    assert not (cache / "atlas").exists()


def _train(store: Store, run: EndedRun) -> None:
    store.lease("f" * 64, toy_spec(seed=9), IDENTITY, "you", failed_before=None)


WRITES: dict[str, Callable[[Store, EndedRun], object]] = {
    "lease": _train,
    "finish": lambda store, run: store.finish(toy_run(store.folder, 8), "me"),
    "take in": lambda store, run: store.take_in([run]),
    "remove": lambda store, run: store.remove(run.key),
    "forget": lambda store, run: store.forget(run.key),
    "reply": lambda store, run: store.replies.keep("a", {}, {}),
}


@pytest.mark.parametrize("name", WRITES)
def test_whatever_would_write_is_refused_with_a_sentence(packed: Path, name: str) -> None:
    with unpack(packed) as store:
        run, before = next(store.ended()), store.table()
        with pytest.raises(
            VxlabError, match=r"is only read, as an atlas is: .* name another, such as store='runs\.db'"
        ):
            WRITES[name](store, run)
        pd.testing.assert_frame_equal(store.table(), before)
        assert not store.lease(run.key, run.spec, run.identity, "you", failed_before=None)  # it is there


def test_two_files_with_one_run_are_one_where_they_agree(tmp_path: Path, packed: Path) -> None:
    with fill_store(tmp_path / "other.db", 2, 7) as store:
        other = pack(store, tmp_path / "b.parquet")
    with unpack([packed, other]) as store:
        assert sorted(store.table()["seed"]) == [0, 1, 2, 3, 7]
    logits = np.eye(2, dtype=np.float32)[np.zeros(60, dtype=int)]
    with fill_store(tmp_path / "third.db", 2, logits=logits) as store:
        third = pack(store, tmp_path / "c.parquet")
    with pytest.raises(VxlabError, match=r"seed 2\) is in .*a\.parquet and in .*c\.parquet with other results"):
        unpack([packed, third])


def test_bad_paths_are_refused(tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for paths, told in (
        ([], "paths is empty; name one file"),
        (5, "paths=5 is no list; give files of the atlas"),
        (tmp_path / "none.parquet", r"none\.parquet' cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
    ):
        with pytest.raises(VxlabError, match=told):
            unpack(paths)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(VxlabError, match=r"cannot be unpacked into .*; set VXLAB_CACHE to a folder"):
        unpack(packed)


def test_fifteen_hundred_runs_take_two_seconds(tmp_path: Path) -> None:
    with fill_store(tmp_path / "runs.db", 0) as store:
        row = pack_run(next(store.ended()))
    record = {"curve": json.loads(row["record"])["curve"] * 8}
    rows = []
    for seed in range(1500):
        changed = change_row(change_row(row, "spec", seed=seed), "record", **record)
        rows.append({**changed, "key": run_key(json.loads(changed["spec"]), IDENTITY)})
    write_atlas(tmp_path / "a.parquet", rows)
    started = time.process_time()
    with unpack(tmp_path / "a.parquet") as store:
        assert time.process_time() - started < 2
        assert len(store.table()) == 1500
