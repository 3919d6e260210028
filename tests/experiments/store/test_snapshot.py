"""A store that is written once: whole, of one file, readable where nothing can be written."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_atlas import fill_store

from vxlab.experiments.store.ended_run import EndedRun
from vxlab.experiments.store.snapshot import write_snapshot
from vxlab.experiments.store.store import Store


def test_it_is_one_file_with_all_its_runs(tmp_path: Path) -> None:
    with fill_store(tmp_path / "runs.db", *range(3)) as store:
        runs = list(store.ended())
    place = tmp_path / "new"
    write_snapshot(place / "a.db", runs)
    place.chmod(0o555)
    try:
        with Store(place / "a.db", read_only=True) as store:
            assert list(store.ended()) == runs
    finally:
        place.chmod(0o755)
    assert os.listdir(place) == ["a.db"]


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with fill_store(tmp_path / "runs.db", 0) as store:
        run = next(store.ended())

    def failing() -> Iterator[EndedRun]:
        yield run
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_snapshot(tmp_path / "new" / "a.db", failing())
    assert os.listdir(tmp_path / "new") == []
