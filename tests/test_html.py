import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_notebooks as toy
from nbformat.v4 import new_code_cell, new_notebook, new_output

from vxlab.views.html import to_html

REMOTE = """<b>kept</b>
<script src="https://cdn.invalid/a.js"></script><script type='text/javascript' src='//cdn.invalid/b.js'></script>
<link rel="stylesheet" href="https://cdn.invalid/a.css"><img src='https://cdn.invalid/a.png' alt="">
<iframe src=https://cdn.invalid/></iframe>
<style>@import url("https://cdn.invalid/b.css");
.own { color: red; background: url(https://cdn.invalid/c.png) }</style>"""

_EVERY_COLOUR = '''import torch as t  # a comment
@property
def name(self, *args: int) -> "str | None":
    """A docstring."""
    return f"{self.x:.2f}\\n" if args[0] != 0xFF + 1.5e-3 and True is not None else print(b"", lambda: None)
class Error(ValueError):
    pass
%matplotlib inline
!ls'''
_TRACEBACK = "".join(f"\x1b[{bold}{code}mtext\x1b[0m " for code in range(31, 37) for bold in ("", "1;"))


def _figure(**layout: object) -> nbformat.NotebookNode:
    figure = go.Figure([go.Scatter(y=[1.0, 3.0, 2.0]), go.Scattergl(y=[2, 1, 3])], layout=layout)
    return new_output("display_data", data={"application/vnd.plotly.v1+json": figure.to_plotly_json()})


def _shown(html: str) -> nbformat.NotebookNode:
    return new_output("display_data", data={"text/html": html, "text/plain": "plain"})


def _code(source: str, *outputs: nbformat.NotebookNode, **metadata: object) -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    table = pd.DataFrame({f"a column named {number}": [1.5, 2.5] for number in range(30)})
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "IntSlider(value=0)"}
    cells = [
        toy.text(
            "# What does *rank* buy?\n\nSee [the paper](https://example.org).\n\n![far](https://cdn.invalid/x.png)"
        ),
        _code("rank = 8", tags=["parameters"]),
        _code("rank = 64", tags=["injected-parameters"]),
        _code("draw()", _figure(title="Loss by step")),
        _code("draw(2)", _figure(height=300), _shown(table.to_html())),
        _code(_EVERY_COLOUR),
        _code(
            "speak()", new_output("stream", name="stdout", text="url(https://said.invalid) " + _TRACEBACK + "x" * 3000)
        ),
        _code("remote()", _shown(REMOTE), new_output("display_data", data=widget)),
    ]
    return new_notebook(cells=cells, metadata={"widgets": {"state": {"big": "x" * 100}}})


@pytest.fixture(scope="module")
def page(notebook: nbformat.NotebookNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "page.html"
    path.write_text(to_html(notebook, "What does rank buy? <2>"), encoding="utf-8")
    return path


def test_plotly_is_inlined_once_and_only_for_figures(page: Path, notebook: nbformat.NotebookNode) -> None:
    assert page.read_text().count("plotly.js v") == 1
    without = new_notebook(cells=[cell for cell in notebook.cells if "draw" not in cell.source])
    assert len(to_html(without, "a")) < 600_000
    assert "Plotly" not in to_html(without, "a")


def test_the_notebook_given_is_left_as_it_was(notebook: nbformat.NotebookNode) -> None:
    before = nbformat.from_dict(notebook).copy()
    to_html(notebook, "a")
    assert notebook == before
    assert "application/vnd.plotly.v1+json" in notebook.cells[3].outputs[0].data


def test_nothing_remote_is_left_but_links_and_text(page: Path) -> None:
    html = page.read_text()
    assert "cdn.invalid" not in html
    assert "<b>kept</b>" in html
    assert ".own { color: red;" in html
    assert 'href="https://example.org"' in html
    assert "url(https://said.invalid)" in html


def test_a_widget_leaves_a_note(page: Path) -> None:
    html = page.read_text()
    assert "IntSlider" not in html
    assert "open the notebook in JupyterLab" in html


def test_the_footer_names_versions_and_date(page: Path) -> None:
    footer = re.search(r"<footer>(.*)</footer>", page.read_text())
    assert footer
    assert re.search(r"torch \d+\.\d+.* · transformers \d.* · \d{4}-\d\d-\d\d \d\d:\d\d UTC", footer[1])


def test_a_failure_is_told_at_the_top_and_its_code_is_open() -> None:
    failed = _code("bad()", papermill={"exception": True})
    marker = toy.text("An Exception was encountered")
    marker.metadata["tags"] = ["papermill-error-cell-tag"]
    html = to_html(new_notebook(cells=[marker, _code("good()"), failed]), "a", failure="cell 2 of 2: E: <no>")
    assert re.search(r'<main>\s*<div class="vx-failure" role="alert"><strong>This run failed.</strong>', html)
    assert "cell 2 of 2: E: &lt;no&gt;" in html
    assert "An Exception was encountered" not in html
    assert html.count("<details") == 2
    assert html.count('<details class="vx-code" open="">') == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [500, 900, 1400])
def test_a_browser_draws_every_figure_and_asks_the_network_for_nothing(browser, page: Path, width: int) -> None:  # type: ignore[no-untyped-def]
    tab = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length === 2")
    boxes = tab.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(figure => {"
        "const box = figure.querySelector('.main-svg').getBoundingClientRect(); return [box.width, box.height]})"
    )
    assert [height for _, height in boxes] == [450, 300]
    room = min(width, 1040)
    assert all(room - 60 < drawn <= room for drawn, _ in boxes)
    # Tables and long lines stay within the page: nothing makes it scroll sideways.
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.title() == "What does rank buy? <2>"
    assert tab.locator("details[open]").count() == 2
    assert asked == [page.as_uri()]
    assert errors == []
    tab.close()


def test_text_has_enough_contrast(browser, page: Path) -> None:  # type: ignore[no-untyped-def]
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    weakest = tab.evaluate(_WEAKEST_CONTRAST)
    assert weakest["ratio"] >= 4.5, weakest
    tab.close()


# WCAG 2.2's contrast ratio of every text outside figures, against the nearest background that is not transparent.
_WEAKEST_CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = node => { for (; node; node = node.parentElement) {
    const rgb = parse(getComputedStyle(node).backgroundColor);
    if (rgb.length < 4 || rgb[3] > 0) return rgb; } return [255, 255, 255]; };
  let weakest = {ratio: 21};
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest('.js-plotly-plot, script, style')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(background(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < weakest.ratio) weakest = {ratio, text: walker.currentNode.data.slice(0, 40), tag: node.className};
  }
  return weakest; }"""
