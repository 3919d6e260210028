"""A packaged model that is converted: whole or not there, verified like any other, and its GGUF file not kept."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_assets import finish, left_in_cache, start_child, write_manifest
from toy_gguf import make_gguf_asset

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets import conversion
from vxlab.experiments.assets.manifest import Asset

WRITTEN = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
ARCHIVE = ".downloads/toy/archives/toy_wheel-1.0-py3-none-any.whl"


@pytest.fixture
def asset(wheels: Path, tmp_path: Path) -> Asset:
    (tmp_path / "scratch").mkdir()
    return make_gguf_asset(wheels, tmp_path / "scratch")


def check_in_place() -> None:
    assert assets.verify("toy") == []
    assert left_in_cache() == [f"toy/{name}" for name in WRITTEN]


def test_fetch_keeps_what_the_conversion_writes_and_nothing_else(
    asset: Asset, listed: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    listed(asset)
    assert assets.fetch("toy") == assets.cache_folder() / "toy"
    check_in_place()
    assert "toy: de-quantise to bfloat16: 100%" in capsys.readouterr().out
    assert assets.status()[0]["here"]


def test_a_damaged_file_is_named_and_deleting_it_repairs(asset: Asset, listed: Callable) -> None:
    listed(asset)
    weights = assets.fetch("toy") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert assets.verify("toy") == ["model.safetensors"]
    weights.unlink()
    assets.fetch("toy")
    check_in_place()


@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_a_conversion_that_gives_something_else_is_refused(asset: Asset, listed: Callable, number: int) -> None:
    files = list(asset.files)
    files[number] = replace(files[number], sha256="0" * 64)
    listed(replace(asset, files=tuple(files)))
    match = rf"{files[number].path} came out of the conversion with sha256 [0-9a-f]{{64}}, the manifest lists 0{{64}}"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")
    assert left_in_cache() == [ARCHIVE]


def test_another_gguf_file_than_the_listed_is_not_converted(
    asset: Asset, listed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asset.original is not None
    listed(replace(asset, original=replace(asset.original, sha256="0" * 64)))
    monkeypatch.setattr("vxlab.experiments.assets.gguf_model.convert_gguf", None)
    with pytest.raises(VxlabError, match=r"deep/toy\.gguf came out of its archive with sha256 [0-9a-f]{64}"):
        assets.fetch("toy")
    assert left_in_cache() == [ARCHIVE]


def test_a_fetch_killed_while_it_converts_goes_on_with_the_archive(
    asset: Asset, listed: Callable, wheels: Path, tmp_path: Path
) -> None:
    hold = """
from vxlab.experiments.assets import model_folder
save = model_folder.save
model_folder.save = lambda *given: (print("converting", flush=True), __import__("time").sleep(60), save(*given))
assets.fetch('toy')
"""
    child = start_child(write_manifest(tmp_path / "assets.toml", listed(asset)), hold)
    assert child.stdout is not None
    assert any("converting" in line for line in iter(child.stdout.readline, ""))
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert not (assets.cache_folder() / "toy").exists()
    assert ".downloads/toy/toy.gguf" in left_in_cache()
    (wheels / asset.packages[0].filename).unlink()  # what is there must do
    assets.fetch("toy")
    check_in_place()


def test_a_disk_that_is_full_leaves_nothing_half_converted(asset: Asset, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    sizes = {file.path: file.bytes for file in asset.files}
    assert asset.original is not None
    limit = sizes["model.safetensors"] - 1000
    assert max(asset.original.bytes, asset.packages[0].bytes) < limit
    code = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\nassets.fetch('toy')"
    output = finish(start_child(write_manifest(tmp_path / "assets.toml", asset), code))
    assert f"the cache folder {assets.cache_folder()} cannot be written: File too large" in output
    assert f"needs {asset.fetch_bytes / 1e6:,.1f} MB there" in output
    assert left_in_cache() == [ARCHIVE]


def test_without_the_package_that_reads_gguf_nothing_is_downloaded(
    asset: Asset, listed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(asset)
    monkeypatch.setattr(conversion, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "Popen", None)
    match = r"toy is made from the file toy\.gguf, and the package gguf, .* pip install 'vxlab\[experiments\]'"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")


def test_a_converted_asset_is_returned_at_once(asset: Asset, listed: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(asset)
    folder = assets.fetch("toy")
    monkeypatch.setattr(conversion, "find_spec", lambda name: None)  # what is here needs no package
    start = time.perf_counter()
    assert assets.fetch("toy") == folder
    assert time.perf_counter() - start < 0.05
