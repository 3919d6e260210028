import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import toy_notebooks as toy
from places import ROOT

from vxlab.views.reports import jupyterlab as lab


def test_a_checkouts_notebooks_are_used_where_they_lie() -> None:
    assert lab.working_notebooks() == ROOT / "notebooks"


def test_an_installed_packages_notebooks_are_copied_and_yours_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "vxlab"
    (package / "shipped" / "notebooks").mkdir(parents=True)
    for name in ("01_fine_tune", "02_spectra"):
        toy.write(package / "shipped" / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(lab, "shipped_path", lambda *parts: package.joinpath("shipped", *parts))
    monkeypatch.setattr(lab, "__file__", str(package / "views" / "lab.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_fine_tune.ipynb").write_text("mine")
    assert lab.working_notebooks() == tmp_path / "notebooks"
    assert (tmp_path / "notebooks" / "01_fine_tune.ipynb").read_text() == "mine"
    assert (tmp_path / "notebooks" / "02_spectra.ipynb").is_file()


def test_the_index_is_opened_where_it_exists(tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    rooted = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={tmp_path}", "--no-browser"]
    assert lab.lab_arguments(folder, ["--no-browser"]) == rooted
    toy.write(folder / "00_start.ipynb")
    assert lab.lab_arguments(folder, ["--no-browser"]) == [*rooted, str(folder / "00_start.ipynb")]
    assert (lab.working_notebooks() / "00_start.ipynb").is_file()


def test_jupyterlab_answers_on_loopback_and_only_with_its_token(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    command = [sys.executable, "-m", "vxlab", "lab", "--no-browser", "--allow-root", f"--port={port}"]
    environment = os.environ | {name: str(tmp_path / name) for name in places}
    checkout = ROOT
    log = tmp_path / "log"
    with log.open("w") as written:
        server = subprocess.Popen(command, cwd=checkout, env=environment, stderr=written, stdout=written)
    try:
        found = _wait_for(rf"http://127\.0\.0\.1:{port}/\S*\?token=(\w+)", log, server)
        names = {entry["name"] for entry in _asked(f"http://127.0.0.1:{port}/api/contents?token={found}")["content"]}
        assert "notebooks" in names
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=20)
        refused.value.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def _asked(url: str) -> Any:
    """Ask a server that has told its address: it listens a moment later, on a busy machine many moments."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:  # it listens, and refuses
            raise
        except urllib.error.URLError:
            time.sleep(0.25)
    raise AssertionError(f"nothing listens at {url}")


def _wait_for(pattern: str, log: Path, server: "subprocess.Popen[bytes]") -> str:
    for _ in range(240):
        if found := re.search(pattern, log.read_text()):
            return found[1]
        assert server.poll() is None, log.read_text()
        time.sleep(0.25)
    raise AssertionError(log.read_text())
