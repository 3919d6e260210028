"""What is made to try a page is written once, whole, and is the same everywhere."""

from pathlib import Path

import pytest

from vxlab.studies import write_once
from vxlab.studies.smoke_model import smoke_pairs


def test_a_folder_is_written_once_and_not_at_all_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vxlab.studies.smoke_model.cache_folder", lambda: tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_once("toy", fail)
    assert not (tmp_path / "toy").exists()
    made = write_once("toy", lambda folder: (folder / "a").write_text("1"))
    assert (made / "a").read_text() == "1"
    assert write_once("toy", fail) == made


def test_pairs_are_different_and_the_same_each_time() -> None:
    assert smoke_pairs(50) == smoke_pairs(50)
    assert len(set(smoke_pairs(50))) == 50
