"""A notebook's headline figure as a static picture, for places where plotly does not run."""

import base64
import sys
from typing import TYPE_CHECKING, Any

from vxlab.errors import VxlabError
from vxlab.views.export import draw_image
from vxlab.views.reports.notebooks import section_start

if TYPE_CHECKING:
    from nbformat import NotebookNode

PLOTLY = "application/vnd.plotly.v1+json"
_PICTURE = "image/png"
_TAG = "headline"
_WIDTH, _SCALE = 900, 0.8  # pixels a figure is drawn for, and how much of them the picture keeps


def add_picture(notebook: "NotebookNode") -> None:
    """Put a PNG beside the headline figure's data, in the same output; say in a line on stderr where that fails.

    The picture is 720 pixels wide. Without a browser on this machine there is none.
    """
    output = _headline(notebook)
    if output is None:
        return
    drawing = output.data[PLOTLY]
    try:
        png = draw_image({"data": drawing["data"], "layout": drawing.get("layout", {})}, "png", _WIDTH, _SCALE)
    except VxlabError as error:
        print(f"no picture of the headline figure: {error}", file=sys.stderr)
        return
    output.data[_PICTURE] = base64.b64encode(png).decode("ascii")


def picture(notebook: "NotebookNode") -> str:
    """Return the headline figure's PNG in base64; empty where it has none."""
    output = _headline(notebook)
    return "" if output is None else str(output.data.get(_PICTURE, "")).replace("\n", "")


def _headline(notebook: "NotebookNode") -> "NotebookNode | None":
    """Return the output with the figure: the first of a cell tagged ``headline``, or the last before the conclusion."""
    tagged = [cell for cell in notebook.cells if _TAG in cell.metadata.get("tags", [])]
    found = _figures(tagged)
    before = notebook.cells[: section_start(notebook, "Conclusion")]
    others = _figures(before) or _figures(notebook.cells)
    return found[0] if found else others[-1] if others else None


def _figures(cells: list[Any]) -> list[Any]:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output for output in outputs if PLOTLY in output.get("data", {})]
