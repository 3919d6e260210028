"""A member is read out of an archive, and nothing else of it: no link is followed, nothing is unpacked."""

import tarfile
from pathlib import Path

import pytest
from toy_assets import CONFIG, WEIGHTS, make_source, make_wheel

from vxlab.errors import VxlabError
from vxlab.experiments.assets.archive import open_member

MEMBERS = {"deep/config.json": CONFIG, "deep/weights.bin": WEIGHTS}


def read(archive: Path, name: str) -> bytes:
    with open_member(archive, name) as member:
        return member.read()


@pytest.mark.parametrize("make", [make_wheel, make_source])
def test_members_are_read_by_their_whole_names(tmp_path: Path, make) -> None:
    archive = tmp_path / make(tmp_path, "toy", MEMBERS).filename
    assert {name: read(archive, name) for name in MEMBERS} == MEMBERS
    for other in ("config.json", "deep", "../deep/config.json"):
        with pytest.raises(VxlabError, match=rf"{archive.name} has no member '{other}', which the manifest lists"):
            read(archive, other)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_link_is_no_member(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    links = {"deep/link": "../secret", "deep/absolute": str(tmp_path / "secret"), "deep/inner": "deep/config.json"}
    archive = tmp_path / make_source(tmp_path, "toy", MEMBERS, links).filename
    for name in links:
        with pytest.raises(VxlabError, match=rf"cannot be unpacked: {name} is no plain file"):
            read(archive, name)


@pytest.mark.parametrize("make", [make_wheel, make_source])
@pytest.mark.parametrize("kept", [0, 20, 5000])
def test_an_archive_cut_short_is_said_to_be_broken(tmp_path: Path, make, kept: int) -> None:
    archive = tmp_path / make(tmp_path, "toy", MEMBERS).filename
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(VxlabError, match=rf"{archive.name} cannot be unpacked: "):
        read(archive, "deep/weights.bin")


def test_what_is_no_archive_is_said_to_be_broken(tmp_path: Path) -> None:
    archive = tmp_path / "toy.tar.gz"
    archive.write_bytes(b"<html>please log in</html>")
    with pytest.raises(VxlabError, match=r"toy\.tar\.gz cannot be unpacked: "):
        read(archive, "deep/weights.bin")


def test_no_more_is_read_than_lies_before_a_member(tmp_path: Path) -> None:
    package = make_source(tmp_path, "toy", {"first": CONFIG, "last": WEIGHTS})
    archive = tmp_path / package.filename
    with tarfile.open(archive) as packed:
        assert packed.getnames()[-1] == "last"
    archive.write_bytes(archive.read_bytes()[:-100_000])
    assert read(archive, "first") == CONFIG
