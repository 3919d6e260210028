import re
from pathlib import Path

import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_notebooks as toy
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pages import shown, weakest_contrast

from vxlab.views.reports.page import to_html

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


NOTE = {
    "parameters": [
        {"name": "rank", "value": "64", "default": "8", "help": "of the <update>"},
        {"name": "seed", "value": "none", "default": "none", "help": "none: drawn"},
    ],
    "versions": {"vxlab": "0.1", "torch": "2.13"},
    "hardware": {"device": "cuda", "processor": "A & B (2 cores)", "threads": 2, "gpu": "H100"},
    "store": "runs.db, beside this page",
}
TIMES = {"end_time": "2026-01-31T12:00:01.5+00:00", "duration": 187.0}


def _section(html: str) -> str:
    """Return the words of the last section, a space for each tag."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition('<section class="vx-made">')[2]).split())


def test_parameters_and_environment_stand_at_the_end(notebook: nbformat.NotebookNode) -> None:
    noted = new_notebook(cells=notebook.cells[:2], metadata={"vxlab": NOTE, "papermill": TIMES})
    section = _section(to_html(noted, "a"))
    assert "rank 64 (default: 8) of the &lt;update&gt; seed none none: drawn" in section
    assert (
        "executed 2026-01-31 12:00 UTC this execution took 3 min 7 s processor A &amp; B (2 cores) GPU H100" in section
    )
    assert "store of runs runs.db, beside this page versions vxlab 0.1 · torch 2.13" in section


def test_a_notebook_without_notes_has_no_such_section(page: Path) -> None:
    assert _section(page.read_text()) == ""


def test_the_index_is_linked_where_there_is_one(notebook: nbformat.NotebookNode) -> None:
    assert "All reports" not in to_html(notebook, "a")
    assert to_html(notebook, "a", index="index.html").count('<a href="index.html">← All reports</a>') == 3


def test_links_to_notebooks_lead_to_their_pages() -> None:
    text = "# Map\n\n[sweep](02_rank_sweep.ipynb), [far](https://example.org/a.ipynb)"
    html = to_html(new_notebook(cells=[toy.text(text)]), "a")
    assert 'href="02_rank_sweep.html"' in html
    assert 'href="https://example.org/a.ipynb"' in html


def test_contents_lead_to_every_heading_even_of_one_name() -> None:
    text = "# Title\n\n## Loss & *score*\n\ntext\n\n### By <sub>x</sub>\n\n#### Too deep\n\n## Loss & *score*"
    html = to_html(new_notebook(cells=[toy.text(text)]), "a")
    (first, second) = re.findall(r"<ol>.*?</ol>", html)
    assert first == second
    assert re.findall(r">([^<]+)<", first) == ["Loss &amp; score", "By x", "Loss &amp; score"]
    anchors = re.findall(r'href="#([^"]*)"', first)
    assert len(set(anchors)) == 3
    assert all(html.count(f' id="{anchor}"') == 1 for anchor in anchors)
    assert "<h2 id=" in html


def test_a_failure_is_told_at_the_top_and_its_code_is_open() -> None:
    failed = _code("bad()", papermill={"exception": True})
    marker = toy.text("An Exception was encountered")
    marker.metadata["tags"] = ["papermill-error-cell-tag"]
    html = to_html(new_notebook(cells=[marker, _code("good()"), failed]), "a", failure="cell 2 of 2: E: <no>")
    assert re.search(r'</nav></details>\s*<div class="vx-failure" role="alert"><strong>This run failed.</strong>', html)
    assert "cell 2 of 2: E: &lt;no&gt;" in html
    assert "An Exception was encountered" not in html
    assert html.count('<details class="vx-code"') == 2
    assert html.count('<details class="vx-code" open="">') == 1


@pytest.mark.parametrize("width", [500, 900, 1400])
def test_a_browser_draws_every_figure_and_asks_the_network_for_nothing(browser, page: Path, width: int) -> None:  # type: ignore[no-untyped-def]
    with shown(browser, page, width) as tab:
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
        assert tab.locator("details[open]").count() == 1
        # The contents: at the side, or folded.
        assert tab.locator("nav.vx-side").is_visible() == (width >= 1200)
        assert tab.locator("details.vx-contents").is_visible() == (width < 1200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, notebook, tmp_path: Path, scheme: str) -> None:  # type: ignore[no-untyped-def]
    noted = nbformat.from_dict(dict(notebook, metadata={"vxlab": NOTE, "papermill": TIMES}))
    page = tmp_path / "page.html"
    page.write_text(to_html(noted, "a", failure="cell 1", index="index.html"), encoding="utf-8")
    with shown(browser, page, 1300, scheme) as tab:
        weakest = weakest_contrast(tab)
        assert weakest["ratio"] >= 4.5, weakest
        (red, *_) = map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor")))
        assert (red < 60) == (scheme == "dark")
