"""What the tests of assets share: a folder as pip's only source, an empty cache, and a manifest of one asset."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_assets import Server

from vxlab.experiments.assets import cache, manifest
from vxlab.experiments.assets.manifest import Asset


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is pip's only source, and an empty vxlab cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("VXLAB_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def server(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give pip's only source a server, on this machine."""
    with Server(wheels) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_FIND_LINKS", running.address)
        yield running
        running.shutdown()


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Asset], Asset]:
    def make_the_only_one(asset: Asset) -> Asset:
        for module in (manifest, cache):
            monkeypatch.setattr(module, "list_assets", lambda: {asset.name: asset})
        return asset

    return make_the_only_one
