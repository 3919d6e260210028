"""An exported folder replaces what an export wrote and nobody touched, and nothing else."""

import json
from pathlib import Path

import pytest

from vxlab.errors import VxlabError
from vxlab.experiments.exchange.export_folder import MARK_FILE, new_export, read_mark, require_free
from vxlab.files import sha256_of


def write(folder: Path, **files: str) -> Path:
    with new_export(folder) as (new, mark):
        mark["kind"] = "lora"
        for name, text in files.items():
            (new / name).write_text(text)
    return folder


def test_an_export_is_marked_by_what_it_is_and_by_its_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one="1")
    mark = read_mark(folder)
    assert mark == {"format": 1, "kind": "lora", "files": {"one": sha256_of(folder / "one")}}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_earlier_export_that_nobody_touched_is_replaced(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one="1", two="2")
    write(folder, three="3")
    assert sorted(path.name for path in folder.iterdir()) == ["three", MARK_FILE]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", one="1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "mine").write_text(""), "holds mine, which no export wrote"),
        (lambda folder: (folder / "one").write_text("2"), "holds one, altered since, which no export wrote"),
        (lambda folder: (folder / MARK_FILE).unlink(), "holds one, which no export wrote"),
        (lambda folder: (folder / MARK_FILE).write_text("{"), "holds one, which no export wrote"),
        (lambda folder: (folder / MARK_FILE).write_text(json.dumps({"files": [1]})), "holds one, which no export"),
        (lambda folder: (folder / "link").symlink_to(folder), "holds link, which no export wrote"),
    ],
)
def test_what_no_export_wrote_stays(change, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one="1")
    change(folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(VxlabError, match=message):
        write(folder, two="2")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_and_a_place_below_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(VxlabError, match="is a file; give a folder that is not there yet"):
        require_free(tmp_path / "a")
    with pytest.raises(VxlabError, match="cannot be written"):
        write(tmp_path / "a" / "b", one="1")


def test_what_comes_meanwhile_stays(tmp_path: Path) -> None:
    folder = tmp_path / "a"

    def another_writes() -> None:
        folder.mkdir()
        (folder / "mine").write_text("mine")

    with pytest.raises(VxlabError, match="holds mine, which no export wrote"), new_export(folder):
        another_writes()
    assert (folder / "mine").read_text() == "mine"


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", one="1")
    with pytest.raises(RuntimeError), new_export(folder):
        raise RuntimeError
    assert (folder / "one").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
