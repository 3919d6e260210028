"""Runs come to the user's own part of the atlas, and to another machine's store, once and unchanged."""

from pathlib import Path

import numpy as np
import pytest
from toy_atlas import fill_store, keep_atlas_within

import vxlab
from vxlab.experiments.atlas.additions import add_to_atlas, import_atlas
from vxlab.experiments.atlas.packing import pack
from vxlab.experiments.store.store import Store

OTHER = np.eye(2, dtype=np.float32)[np.zeros(60, dtype=int)]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_atlas_within(tmp_path, monkeypatch)


def _keys(store: Store) -> list[str]:
    return list(store.table()["key"])


def test_what_is_added_is_in_the_atlas_from_then_on(tmp_path: Path) -> None:
    with fill_store(tmp_path / "a.db", 0, 1) as store:
        own = str(tmp_path / "own" / "own.parquet")
        assert add_to_atlas(store, _keys(store)) == (own, 2, 0)
        assert add_to_atlas(store, _keys(store)) == (own, 0, 2)
    with fill_store(tmp_path / "b.db", 1, 2) as store:
        assert add_to_atlas(store, _keys(store)) == (own, 1, 1)
    with vxlab.atlas() as store:
        assert sorted(store.table()["seed"]) == [0, 1, 2]


def test_a_run_of_the_atlas_with_other_results_is_refused_and_nothing_added(tmp_path: Path) -> None:
    place = tmp_path / "installation" / "data" / "atlas"
    place.mkdir(parents=True)
    with fill_store(tmp_path / "a.db", 0) as store:
        pack(store, place / "runs.parquet")
    with (
        fill_store(tmp_path / "b.db", 0, 1, logits=OTHER) as store,
        pytest.raises(vxlab.VxlabError, match=r"seed 0\) is in the atlas and in .*b\.db with other results"),
    ):
        add_to_atlas(store, _keys(store))
    assert not list((tmp_path / "own").glob("*.parquet"))


def test_what_comes_with_vxlab_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXLAB_ATLAS", str(tmp_path / "installation" / "data" / "atlas"))
    with fill_store(tmp_path / "a.db", 0) as store:
        with pytest.raises(vxlab.VxlabError, match="is the atlas that comes with vxlab; name a folder of your own"):
            add_to_atlas(store, _keys(store))
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("VXLAB_ATLAS", str(tmp_path / "file"))
        with pytest.raises(vxlab.VxlabError, match=r"cannot be made: .*; set VXLAB_ATLAS to a folder"):
            add_to_atlas(store, _keys(store))


def test_a_store_takes_in_what_it_lacks(tmp_path: Path) -> None:
    with fill_store(tmp_path / "a.db", 0, 1, diverged=2) as store:
        file = pack(store, tmp_path / "a.parquet")
        before = store.table()
        assert import_atlas(file, store) == (store.name, 0, 3)
    with fill_store(tmp_path / "b.db", 1, 5) as store:
        assert import_atlas(str(file), store) == (store.name, 2, 1)
        assert sorted(store.table()["seed"]) == [0, 1, 2, 5]
        kept = store.table(before["key"])
        assert kept["test"].equals(before["test"])
        assert kept["finished_at"].equals(before["finished_at"]) or kept["seed"].tolist() == before["seed"].tolist()
    with (
        fill_store(tmp_path / "c.db", 1, logits=OTHER) as store,
        pytest.raises(vxlab.VxlabError, match=r"is in .*c\.db and in .*a\.parquet with other results"),
    ):
        import_atlas(file, store)
    with fill_store(tmp_path / "c.db") as store:
        assert len(store.table()) == 1
    with vxlab.experiments.atlas.unpack(file) as atlas, pytest.raises(vxlab.VxlabError, match="is only read"):
        import_atlas(file, atlas)
