"""A plotly figure as the bytes of a PNG or an SVG, drawn by a Chromium of this machine and by nothing beyond it."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from vxlab.errors import VxlabError

_PROGRAM = Path(__file__).with_name("image_process.py")
_LONGEST = 90.0
"""Seconds until a browser that does not answer is given up."""


def draw_image(figure: dict[str, Any], kind: Literal["png", "svg"], width: int, scale: float) -> bytes:
    """Return the image of a figure; takes three seconds or so, most of them the browser's start.

    Args:
        figure: plotly's ``data`` and ``layout``; the layout's height holds, 450 pixels where it has none.
        kind: the format.
        width: pixels the figure is laid out for.
        scale: pixels of the image for each of them.

    Raises:
        VxlabError: there is no Chromium or Chrome here, or it did not draw.
    """
    from plotly.io.json import to_json_plotly

    options = {"format": kind, "width": width, "height": figure["layout"].get("height") or 450, "scale": scale}
    code, output = _asked(to_json_plotly({"figure": figure, "options": options}).encode())
    if code == 0:
        return output
    reason = output.decode(errors="replace").strip() or f"drawing ended with {code}"
    raise VxlabError(
        f"drawing a {kind.upper()} needs a Chromium or Chrome on this machine: {reason}; BROWSER_PATH may name one"
    )


def _asked(question: bytes) -> tuple[int, bytes]:
    """Return how the drawing process ended, and its answer.

    In a process, because kaleido logs tracebacks of a browser that does not draw, and may wait for it for ever.
    """
    command = [sys.executable, "-P", str(_PROGRAM)]  # -P: its neighbours' names are the standard library's, too
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            output, _ = process.communicate(question, timeout=_LONGEST)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            return 1, f"the browser has not answered for {_LONGEST:g} s".encode()
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and its browser, where anything of them is left."""
    import psutil

    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
