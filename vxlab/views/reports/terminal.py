"""What a terminal shows while a notebook runs: a line for each cell, and the running cell's last words."""

import re
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

from vxlab.redact import redact
from vxlab.views.reports.notebooks import cell_heading
from vxlab.words import duration_in_words

if TYPE_CHECKING:
    from nbformat import NotebookNode

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_KEPT = 4000  # characters of the running cell's output: enough to hold its last line


class CellLines:
    """Follow a run on a stream; nbclient's hooks and the cells' own output drive it.

    On a terminal the running cell has one line, rewritten every second: number, heading, seconds, the last line it
    printed. Elsewhere, as in a log, a running cell speaks every 30 seconds. A finished cell leaves one line.

    Args:
        stream: where to write, usually ``sys.stderr``.
        pause: seconds between two signs of life; None chooses 1 on a terminal and 30 elsewhere.
    """

    def __init__(self, stream: TextIO, pause: float | None = None) -> None:
        self.number = self.total = 0
        self.heading = ""
        self.notebook: NotebookNode
        """as far as it has been executed; there once the kernel has started"""
        self._stream = stream
        self._live = stream.isatty()
        self._pause = pause or (1.0 if self._live else 30.0)
        self._printed = ""
        self._started: float | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._ticker.join()
        if self._live:
            self._show("")

    def hooks(self) -> dict[str, Any]:
        """Return the keyword arguments that connect this to ``papermill.execute_notebook``."""
        hooks = {"on_notebook_start": self._count, "on_cell_start": self._start, "on_cell_executed": self._finish}
        return {**hooks, "stdout_file": self, "stderr_file": self}

    def where(self) -> str:
        """Return the running cell in words, such as ``cell 3 of 9 (Learning curves)``."""
        return f"cell {self.number} of {self.total}" + (f" ({self.heading})" if self.heading else "")

    def write(self, text: str) -> None:
        """Take what the running cell printed; only its last line is shown."""
        with self._lock:
            self._printed = (self._printed + text)[-_KEPT:]

    def flush(self) -> None:
        """Do nothing: the ticker shows what was printed."""

    def _count(self, notebook: "NotebookNode") -> None:
        self.notebook = notebook
        self.total = sum(_runs(cell) for cell in notebook.cells)

    def _start(self, cell: "NotebookNode", cell_index: int) -> None:
        self.heading = cell_heading(cell) or self.heading
        if _runs(cell):
            with self._lock:
                self.number, self._printed, self._started = self.number + 1, "", time.monotonic()
            if self._live:
                self._show(self._line())

    def _finish(self, cell: "NotebookNode", cell_index: int, execute_reply: dict[str, Any]) -> None:
        with self._lock:
            self._printed = ""
            line, self._started = self._line(), None
            failed = execute_reply["content"]["status"] == "error"
            self._show(line + (" · failed" if failed else ""), end="\n")

    def _tick(self) -> None:
        while not self._closed.wait(self._pause):
            with self._lock:
                if self._started is not None:
                    self._show(self._line(), end="" if self._live else "\n")

    def _line(self) -> str:
        seconds = time.monotonic() - (self._started or 0.0)
        last = redact(last_line(self._printed))
        parts = (f"{self.number:>2}/{self.total}", self.heading, duration_in_words(seconds), last)
        return " · ".join(part for part in parts if part)

    def _show(self, line: str, end: str = "") -> None:
        if self._live:
            # One column is left free: a full line would wrap, and could then not be rewritten.
            line = "\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1]
        self._stream.write(line + end)
        self._stream.flush()


def last_line(printed: str) -> str:
    r"""Return the last line with something on it, as a terminal would show it.

    >>> last_line("loading\n\r 50 %|##  |\r\x1b[32m100 %|####|\n")
    '100 %|####|'
    """
    lines = [line.strip() for line in re.split(r"[\r\n]+", _ANSI.sub("", printed)) if line.strip()]
    return lines[-1] if lines else ""


def _runs(cell: "NotebookNode") -> bool:
    return bool(cell.cell_type == "code" and cell.source.strip())
