"""One real JupyterLab in one real, headless Chromium: for the tests that drive explorers as a reader does."""

import json
import os
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
from nbformat.v4 import new_code_cell, new_notebook

_PLACES = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
_OPEN = """async ([name, theme]) => {
  const app = window.jupyterapp;
  await app.restored;
  await app.commands.execute('apputils:change-theme', {theme});
  const notebook = await app.commands.execute('docmanager:open', {path: name});
  await notebook.context.ready;
  await notebook.context.sessionContext.ready;
  const session = notebook.context.sessionContext.session;
  for (let i = 0; i < 1200 && session.kernel.status !== 'idle'; i++) await new Promise(done => setTimeout(done, 50));
  return session.kernel.status;
}"""
_CLOSE = """async () => {
  const notebook = window.jupyterapp.shell.currentWidget;
  await notebook.context.sessionContext.shutdown();
  notebook.dispose();
}"""


class Lab:
    """JupyterLab in a page of a browser, in which one notebook after another is opened.

    Args:
        folder: of the notebooks.
        url: of the server.
        page: of the browser.
    """

    def __init__(self, folder: Path, url: str, page: Any) -> None:
        self._folder, self._page = folder, page
        self._errors: list[str] = []
        page.on("pageerror", lambda error: self._errors.append(str(error.stack or error)))
        page.goto(f"{url}/lab?reset")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)

    @contextmanager
    def opened(self, *sources: str, width: int, height: int, dark: bool = False) -> Iterator["Tab"]:
        """Open a new notebook of code cells with its own kernel; in the end no script of the page has failed.

        Args:
            sources: of the cells.
            width: of the page, in pixels.
            height: of the page, in pixels.
            dark: in JupyterLab's dark theme.
        """
        name = f"{len(list(self._folder.glob('*.ipynb')))}.ipynb"
        _write_notebook(self._folder / name, sources)
        self._page.set_viewport_size({"width": width, "height": height})
        status = self._page.evaluate(_OPEN, [name, f"JupyterLab {'Dark' if dark else 'Light'}"])
        assert status == "idle", status
        self._errors.clear()  # JupyterLab takes its splash screen away twice at times; what counts begins here
        try:
            yield Tab(self._page)
        finally:
            self._page.evaluate(_CLOSE)
        assert not self._errors, self._errors


class Tab:
    """A notebook, opened in JupyterLab with its kernel started."""

    def __init__(self, page: Any) -> None:
        self.page = page

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


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder of notebooks with JupyterLab on a free port, its settings in a folder beside; yield its URL."""
    own = folder.parent / f"{folder.name}-jupyter"
    _write_settings(own)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    variables = os.environ | {name: str(own / name) for name in _PLACES} | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
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


def _write_notebook(path: Path, sources: tuple[str, ...]) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def _write_settings(folder: Path) -> None:
    own = folder / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    own.mkdir(parents=True)
    settings = {"fetchNews": "false", "checkForUpdates": False}
    (own / "notification.jupyterlab-settings").write_text(json.dumps(settings))


def _wait_until_it_answers(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())
