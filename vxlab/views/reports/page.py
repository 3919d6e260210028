"""One self-contained page of an executed notebook: figures live, no network, code folded."""

import re
import secrets
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vxlab.views.reports import provenance
from vxlab.views.reports.headline import PLOTLY
from vxlab.views.style import plotly_config, theme_css

if TYPE_CHECKING:
    from nbformat import NotebookNode

_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGET_NOTE = '<p class="vx-note">An interactive control: open the notebook in JupyterLab to use it.</p>'
_REMOTE_SCRIPT = re.compile(r"<script\b[^>]*\bsrc\s*=\s*[\"']?(?:https?:)?//[^>]*>\s*</script\s*>", re.IGNORECASE)
_REMOTE_TAG = re.compile(
    r"<(?:link|img|iframe|source|video|audio|embed|object|input|track)\b[^>]*\b(?:src|href|srcset|data|poster)\s*=\s*"
    r"[\"']?(?:https?:)?//[^>]*>",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_STYLE_BLOCK = re.compile(r"<style\b.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_PLACE = re.compile(r"<!-- (contents|plotly\.js|figure \d+) -->")
_HEADING = re.compile(r"<h([1-6]) id=\"[^\"]*\"[^>]*>(.*?)</h\1>", re.DOTALL)
_PARTS = ("data", "layout", "frames")  # of a figure
_NOTEBOOK_LINK = re.compile(r"(<a\b[^>]*\bhref=\"[^\":/]+)\.ipynb\"")
_DEEPEST = 3  # level of heading among the contents
_REMOTE_RULE = re.compile(r"@import[^;{}<]*//[^;{}<]*;|url\(\s*[\"']?(?:https?:)?//[^)]*\)", re.IGNORECASE)


def to_html(notebook: "NotebookNode", title: str, *, failure: str = "", index: str = "") -> str:
    """Render an executed notebook as one HTML page that asks the network for nothing.

    Plotly figures stay interactive: plotly.js (5 MB) is put into the page once, and only where there is a figure.
    Remote scripts, styles, fonts and images are taken out; links that a reader follows stay, and one to a notebook
    beside this one leads to its page. Contents stand at the side of a wide page, folded above a narrow one; parameters
    and environment, as far as they were noted, at the end.

    Args:
        notebook: executed, format 4; not changed.
        title: the page's ``<title>``.
        failure: what went wrong, shown at the top of the page; empty for a run that succeeded.
        index: address of the page that the links back lead to; empty for none.
    """
    page, figures = _with_places_for_figures(notebook)
    page.metadata["title"] = title
    rows, facts = provenance.parameter_rows(notebook), provenance.describe_environment(notebook)
    # Scripts of the notebook's own outputs run; a handler or a javascript: address that slipped into one does not.
    nonce = secrets.token_urlsafe(16)
    shown = {"failure": failure, "index": index, "parameters": rows, "environment": facts, "theme": theme_css("page")}
    shown |= {"nonce": nonce}
    body, headings = _with_own_anchors(_without_remote(_export(page, shown)))
    body = _SCRIPT.sub(f'<script nonce="{nonce}"', _NOTEBOOK_LINK.sub(r'\1.html"', body))
    # nbconvert would send the figures' data through two parsers, so they are put in place at the end.
    fillings = {"contents": _contents(headings), "plotly.js": _plotly_script(nonce) if figures else ""}
    fillings |= {f"figure {number}": _figure(drawing, number, nonce) for number, drawing in enumerate(figures, start=1)}
    return _PLACE.sub(lambda place: fillings.get(place[1], place[0]), body)


def _with_places_for_figures(notebook: "NotebookNode") -> tuple["NotebookNode", list[dict[str, Any]]]:
    """Return a copy with a place for every figure, without widgets or the runner's error markers; and the figures."""
    page = deepcopy(notebook)
    page.metadata.pop("widgets", None)
    page.cells = [cell for cell in page.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    outputs = [output for cell in page.cells for output in cell.get("outputs", []) if "data" in output]
    figures = []
    for output in outputs:
        if PLOTLY in output.data:
            figures.append(output.data[PLOTLY])
            output.data = {"text/html": f"<!-- figure {len(figures)} -->"}
        elif _WIDGET in output.data:
            output.data = {"text/html": _WIDGET_NOTE}
    return page, figures


def _figure(drawing: dict[str, Any], number: int, nonce: str) -> str:
    import plotly.io as pio

    figure: dict[str, Any] = {key: drawing[key] for key in _PARTS if key in drawing}
    # The kernel's plotly has validated it; validating again costs a second a figure.
    page = pio.to_html(
        figure,
        config=plotly_config(figure),
        auto_play=False,
        include_plotlyjs=False,
        include_mathjax=False,
        full_html=False,
        default_height="450px",
        validate=False,
        div_id=f"figure-{number}",
    )
    return _SCRIPT.sub(f'<script nonce="{nonce}"', page)


def _export(page: "NotebookNode", shown: dict[str, Any]) -> str:
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
    body, _ = exporter.from_notebook_node(page, resources={"vxlab": shown})
    return str(body)


def _with_own_anchors(body: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Return the page with an anchor of its own for every heading, and level, anchor and words of each."""
    headings: list[tuple[int, str, str]] = []

    def anchored(heading: "re.Match[str]") -> str:
        level, inside = int(heading[1]), re.sub(r'<a class="anchor-link".*?</a>', "", heading[2], flags=re.DOTALL)
        words = re.sub(r"<[^>]*>", "", inside).strip()
        anchor = f"part-{len(headings) + 1}"
        headings.append((level, anchor, words))
        return f'<h{level} id="{anchor}">{inside}</h{level}>'

    return _HEADING.sub(anchored, body), headings


def _contents(headings: list[tuple[int, str, str]]) -> str:
    """Return the table of contents; the first heading is the page's own title."""
    items = [
        f'<li class="level-{level}"><a href="#{anchor}">{words}</a></li>'
        for level, anchor, words in headings[1:]
        if words and level <= _DEEPEST
    ]
    return f"<ol>{''.join(items)}</ol>" if items else ""


def _without_remote(page: str) -> str:
    # Before plotly.js goes in: its own source holds addresses that it never asks for.
    tags = _REMOTE_TAG.sub("", _REMOTE_SCRIPT.sub("", page))
    return _STYLE_BLOCK.sub(lambda block: _REMOTE_RULE.sub("", block[0]), tags)


def _plotly_script(nonce: str) -> str:
    from plotly.offline import get_plotlyjs

    begin = f'<script nonce="{nonce}">'
    return f"{begin}window.PlotlyConfig = {{MathJaxConfig: 'local'}};</script>\n{begin}{get_plotlyjs()}</script>"
