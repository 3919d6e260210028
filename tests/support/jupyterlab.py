"""A real JupyterLab in a real, headless Chromium: for the tests that drive explorers as a reader does."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

_PLACES = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
_OPENED = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  for (let i = 0; i < 400 && !app.shell.currentWidget?.context; i++) await new Promise(done => setTimeout(done, 50));
  const notebook = app.shell.currentWidget;
  await notebook.context.ready;
  await notebook.context.sessionContext.ready;
  const session = notebook.context.sessionContext.session;
  for (let i = 0; i < 1200 && session.kernel.status !== 'idle'; i++) await new Promise(done => setTimeout(done, 50));
  return session.kernel.status;
}"""


def chromium() -> str:
    """Return the browser's path, or skip the test with the reason."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no chromium on this machine")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser; skip the test where there is none."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def server(folder: Path, *, dark: bool = False, **environment: str) -> Iterator[str]:
    """Serve the notebooks of a folder with JupyterLab on a free port, its settings in a folder beside; yield its URL.

    Args:
        folder: of the notebooks.
        dark: in JupyterLab's dark theme.
        environment: variables that the kernels find.
    """
    own = folder.parent / f"{folder.name}-jupyter"
    _write_settings(own, dark)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    variables = os.environ | {name: str(own / name) for name in _PLACES} | environment
    variables |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with (own / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options], env=variables, stdout=log, stderr=log, cwd=folder
        )
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/api/status", process, own / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


class Tab:
    """A notebook, opened in JupyterLab with its kernel started.

    Args:
        tab: a page of the browser.
        url: of the server.
        name: of the notebook's file.
    """

    def __init__(self, tab: Any, url: str, name: str) -> None:
        self.page, self.errors = tab, []
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.goto(f"{url}/lab/tree/{name}?reset")
        tab.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        assert tab.evaluate(_OPENED) == "idle"

    def run_all(self) -> None:
        """Run every cell, and wait until all are done."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_last(self) -> None:
        """Run the last cell alone."""
        self.page.evaluate("""async () => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = notebook.widgets.length - 1;
          await window.jupyterapp.commands.execute('notebook:run-cell');
        }""")

    def outputs(self) -> str:
        """Return the texts of all outputs that take room."""
        return "\n".join(self.page.locator(".jp-OutputArea-output:visible").all_inner_texts())

    def move_slider(self, presses: int = 1, key: str = "ArrowRight", which: int = 0) -> None:
        """Move a slider by keyboard."""
        handle = self.page.locator(".noUi-handle").nth(which)
        handle.focus()
        for _ in range(presses):
            handle.press(key)

    def until(self, javascript: str, timeout: float = 20) -> None:
        """Wait until an expression is true in the page."""
        self.page.wait_for_function(javascript, timeout=1000 * timeout)


def write_notebook(path: Path, *sources: str) -> Path:
    """Write a notebook of code cells."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def _write_settings(folder: Path, dark: bool) -> None:
    settings = {"notification": {"fetchNews": "false", "checkForUpdates": False}}
    settings["themes"] = {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}
    own = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    own.mkdir(parents=True)
    for name, values in settings.items():
        (own / f"{name}.jupyterlab-settings").write_text(json.dumps(values))


def _wait_until_it_answers(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())
