"""Files that are written whole or not at all."""

import os
import re
import stat
from pathlib import Path

import pytest

from vxlab.files import write_folder_whole, write_whole, written_as


def test_a_file_and_its_folder_are_made_and_nothing_else(tmp_path: Path) -> None:
    with write_whole(tmp_path / "deep" / "a.txt") as new:
        new.write_text("one")
    assert (tmp_path / "deep" / "a.txt").read_text() == "one"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_writing_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    with pytest.raises(UnicodeEncodeError), write_whole(path) as new:
        new.write_text("two \udc80", encoding="utf-8")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_two_may_write_one_file_at_the_same_time_and_the_last_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with write_whole(path) as slow:
        slow.write_text("slow")
        with write_whole(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_read_by_whom_the_users_other_files_may(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with write_whole(tmp_path / "whole") as new:
        new.write_text("")
    plain, whole = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole"))
    assert whole == plain


def test_a_folder_takes_the_place_of_another_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "a"
    for name in ("one", "two"):
        with write_folder_whole(folder) as new:
            (new / name).write_text(name)
            assert not folder.exists() or [path.name for path in folder.iterdir()] == ["one"]
    assert [path.name for path in folder.iterdir()] == ["two"]
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_written_whole_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "one").write_text("one")
    with pytest.raises(FileNotFoundError), write_folder_whole(folder) as new:
        (new / "none" / "two").write_text("two")
    replace = os.replace

    def fails_once(source: Path, target: Path) -> None:
        if target == folder and "old" not in source.name:
            raise OSError("no space")
        replace(source, target)

    monkeypatch.setattr("os.replace", fails_once)
    with pytest.raises(OSError, match="no space"), write_folder_whole(folder) as new:
        (new / "two").write_text("two")
    assert (folder / "one").read_text() == "one"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with write_whole(tmp_path / "a.json") as new:
        new.write_text("")
        left = new.name
    of = re.compile(written_as("a.json"))
    assert all(of.fullmatch(name) for name in ("a.json", left, ".a.json"))
    assert not any(of.fullmatch(name) for name in ("a_json", "a.json.0123abcd", ".a.json.mine", "b.json"))
