"""Files that are written whole or not at all."""

import re
import stat
from pathlib import Path

import pytest

from vxlab.files import write_whole, written_as


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


def test_what_a_killed_process_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    with write_whole(tmp_path / "a.json") as new:
        new.write_text("")
        left = new.name
    of = re.compile(written_as("a.json"))
    assert all(of.fullmatch(name) for name in ("a.json", left, ".a.json"))
    assert not any(of.fullmatch(name) for name in ("a_json", "a.json.0123abcd", ".a.json.mine", "b.json"))
