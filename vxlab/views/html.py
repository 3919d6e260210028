"""One self-contained page of an executed notebook: figures live, no network, code folded."""

import re
from copy import deepcopy
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGET_NOTE = '<p class="vx-note">An interactive control: open the notebook in JupyterLab to use it.</p>'
_REMOTE_SCRIPT = re.compile(r"<script\b[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>\s*</script\s*>", re.IGNORECASE)
_REMOTE_TAG = re.compile(
    r"<(?:link|img|iframe|source|video|audio|embed|object|input|track)\b[^>]*\b(?:src|href|srcset|data|poster)\s*=\s*"
    r"[\"']?(?:https?:)?//[^>]*>",
    re.IGNORECASE,
)
_STYLE_BLOCK = re.compile(r"<style\b.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_REMOTE_RULE = re.compile(r"@import[^;{}<]*//[^;{}<]*;|url\(\s*[\"']?(?:https?:)?//[^)]*\)", re.IGNORECASE)


def to_html(notebook: "NotebookNode", title: str, *, failure: str = "") -> str:
    """Render an executed notebook as one HTML page that asks the network for nothing.

    Plotly figures stay interactive: plotly.js (5 MB) is put into the page once, and only where there is a figure.
    Remote scripts, styles, fonts and images are taken out; links that a reader follows stay.

    Args:
        notebook: executed, format 4; not changed.
        title: the page's ``<title>``.
        failure: what went wrong, shown at the top of the page; empty for a run that succeeded.
    """
    page, figures = _with_drawn_outputs(notebook)
    page.metadata["title"] = title
    body = _without_remote(_export(page, failure))
    return body.replace("<!-- plotly.js -->", _plotly_script() if figures else "", 1)


def _with_drawn_outputs(notebook: "NotebookNode") -> tuple["NotebookNode", int]:
    """Return a copy whose figures are HTML, without widgets or the runner's error markers; and the count of figures."""
    page = deepcopy(notebook)
    page.metadata.pop("widgets", None)
    page.cells = [cell for cell in page.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    outputs = [output for cell in page.cells for output in cell.get("outputs", []) if "data" in output]
    figures = [output for output in outputs if _PLOTLY in output.data]
    for number, output in enumerate(figures, start=1):
        output.data = {"text/html": _figure(output.data[_PLOTLY], f"figure-{number}")}
    for output in outputs:
        if output.data.pop(_WIDGET, None) is not None:
            output.data = {"text/html": _WIDGET_NOTE}
    return page, len(figures)


def _figure(drawing: dict[str, Any], name: str) -> str:
    import plotly.io as pio

    figure = {key: drawing[key] for key in ("data", "layout", "frames") if key in drawing}
    # The kernel's plotly has validated it; validating again costs a second a figure.
    return str(
        pio.to_html(
            figure,
            config={"responsive": True, "displaylogo": False},
            auto_play=False,
            include_plotlyjs=False,
            include_mathjax=False,
            full_html=False,
            default_height="450px",
            validate=False,
            div_id=name,
        )
    )


def _export(page: "NotebookNode", failure: str) -> str:
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="lab",
        template_file="report.html.j2",
        extra_loaders=[FileSystemLoader(Path(__file__).parent)],
        extra_template_basedirs=[],  # nbconvert would look for templates in the working directory first
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(page, resources={"failure": failure, "footer": _footer()})
    return str(body)


def _without_remote(page: str) -> str:
    # Before plotly.js goes in: its own source holds addresses that it never asks for.
    tags = _REMOTE_TAG.sub("", _REMOTE_SCRIPT.sub("", page))
    return _STYLE_BLOCK.sub(lambda block: _REMOTE_RULE.sub("", block[0]), tags)


def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return f"<script>window.PlotlyConfig = {{MathJaxConfig: 'local'}};</script>\n<script>{get_plotlyjs()}</script>"


def _footer() -> str:
    made_with = [f"{package} {found}" for package in ("vxlab", "torch", "transformers") if (found := _version(package))]
    return " · ".join([*made_with, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
