"""What the atlas is made of: what comes with vxlab, the user's own files, and those named."""

from pathlib import Path

import pytest
from toy_atlas import fill_store

import vxlab
from vxlab.experiments.atlas import shipped
from vxlab.experiments.atlas.packing import pack
from vxlab.experiments.atlas.shipped import atlas_files


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VXLAB_ATLAS", str(tmp_path / "own"))
    monkeypatch.setattr(shipped, "shipped_path", lambda *parts: tmp_path.joinpath("installation", *parts))


def test_without_any_file_there_is_none(tmp_path: Path) -> None:
    assert atlas_files() == []
    with pytest.raises(vxlab.VxlabError, match=r"there is no atlas: no \.parquet in .*; train a fair sweep and add it"):
        vxlab.atlas()


def test_what_comes_with_vxlab_goes_first_and_what_is_named_last(tmp_path: Path) -> None:
    places = [tmp_path / "installation" / "data" / "atlas", tmp_path / "own", tmp_path / "named"]
    files = []
    for seed, place in enumerate(places):
        place.mkdir(parents=True)
        with fill_store(tmp_path / f"{seed}.db", seed) as store:
            files.append(pack(store, place / "runs.parquet"))
    assert atlas_files(files[2]) == files
    with vxlab.atlas() as store:
        assert sorted(store.table()["seed"]) == [0, 1]
    with vxlab.atlas(str(files[2])) as store:
        assert sorted(store.table()["seed"]) == [0, 1, 2]
        assert store.read_only
    with pytest.raises(vxlab.VxlabError, match=r"nothing\.parquet' cannot be read"):
        vxlab.atlas(tmp_path / "nothing.parquet")
    with pytest.raises(vxlab.VxlabError, match="more holds 5; give paths of files of the atlas"):
        vxlab.atlas(5)  # type: ignore[arg-type]
