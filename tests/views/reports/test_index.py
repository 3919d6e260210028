"""The index of a folder of reports: what a card says, what it must not let out, and how a browser shows it."""

import base64
from pathlib import Path

import nbformat
import pytest
import toy_notebooks as toy
from nbformat.v4 import new_code_cell, new_output
from pages import shown, weakest_contrast

from vxlab.views.reports import headline, index
from vxlab.views.reports.index import cards, write_index

PLOTLY = "application/vnd.plotly.v1+json"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PARAMETERS = [
    {"name": "rank", "value": "64", "default": "8", "help": ""},
    {"name": "seed", "value": "none", "default": "none", "help": ""},
]
TABLE = "<table><tr><td>0.75</td></tr></table>"


def _output(**data: object) -> nbformat.NotebookNode:
    return new_output("display_data", data={name.replace("_", "/"): value for name, value in data.items()})


def _drawn(name: str, **more: str) -> nbformat.NotebookNode:
    data = {PLOTLY: {"data": [{"y": [1, 2]}], "layout": {"meta": {"name": name}}}, **more}
    return new_output("display_data", data=data)


def _cell(*outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    return new_code_cell("run()", outputs=list(outputs), metadata={"tags": list(tags)})


def _write(folder: Path, stem: str, *cells: nbformat.NotebookNode, **note: object) -> Path:
    """Write an executed notebook and its page into a folder, as a report leaves them."""
    path = toy.write(folder / f"{stem}.ipynb", *cells)
    executed = nbformat.read(path, as_version=4)
    executed.metadata["papermill"] = {"end_time": "2026-01-31T12:00:01.5+00:00", "duration": 187.0}
    executed.metadata["vxlab"] = {"parameters": PARAMETERS, "versions": {"vxlab": "0.1"}, "failure": "", **note}
    nbformat.write(executed, path)
    path.with_suffix(".html").write_text("<p>page</p>")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Reports: a good one, and one that failed."""
    conclusion = _output(text_markdown="- **VeRA** wins\n- by *little*")
    verdict = _cell(_output(text_html=TABLE), conclusion, new_output("stream", name="stdout", text="a < b"))
    cells = [_cell(_drawn("first", **{"image/png": PIXEL})), toy.text("## Conclusion"), verdict]
    _write(tmp_path, "01_good", *cells, toy.text("## How to read on"), _cell(_output(text_markdown="not this")))
    _write(tmp_path, "02_bad.failed", failure="cell 3 of 4 (Conclusion): ValueError: <no>")
    return tmp_path


def test_a_card_says_what_was_asked_found_given_and_when(folder: Path) -> None:
    good, bad = cards(folder)
    assert (good.page, good.title) == ("01_good.html", "What does rank buy?")
    assert good.question == "Does more rank help, and by how much?"
    assert good.changed == {"rank": "64"}
    assert good.made == "2026-01-31 12:00 UTC · 3 min 7 s · vxlab 0.1"
    assert good.picture == PIXEL
    assert "<strong>VeRA</strong> wins" in good.conclusion
    assert "<pre>a &lt; b</pre>" in good.conclusion
    assert "not this" not in good.conclusion + good.more + good.tables
    assert good.tables == TABLE
    assert (good.failure, bad.failure) == ("", "cell 3 of 4 (Conclusion): ValueError: <no>")


def test_the_index_links_pages_counts_failures_and_escapes(folder: Path) -> None:
    html = write_index(folder).read_text()
    assert "2 reports, 1 of them failed." in html
    assert 'href="02_bad.failed.html"' in html
    assert "<strong>This run failed.</strong> cell 3 of 4 (Conclusion): ValueError: &lt;no&gt;" in html
    assert "<code>rank = 64</code>" in html
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith((".", "index"))) == ["index.html"]


def test_only_reports_are_listed(tmp_path: Path) -> None:
    toy.write(tmp_path / "mine.ipynb")
    (tmp_path / "mine.html").touch()
    _write(tmp_path, "no_page").with_suffix(".html").unlink()
    _write(tmp_path, "damaged").write_text("{")
    assert cards(tmp_path) == []
    assert "vxlab report all" in write_index(tmp_path).read_text()


def test_a_report_that_noted_nothing_has_a_card(tmp_path: Path) -> None:
    path = _write(tmp_path, "old")
    executed = nbformat.read(path, as_version=4)
    del executed.metadata["vxlab"]
    executed.metadata["papermill"] = {}
    nbformat.write(executed, path)
    (card,) = cards(tmp_path)
    assert (card.made, card.changed, card.conclusion, card.picture) == ("", {}, "", "")


def test_a_cards_html_stays_in_its_card(tmp_path: Path) -> None:
    wild = _output(text_html="<div><table><tr><td>open<script>alert(1)</script><iframe src='//cdn.invalid'>")
    _write(tmp_path, "wild", toy.text("## Conclusion"), _cell(wild, _output(text_markdown="</article><b>bold")))
    html = write_index(tmp_path).read_text()
    assert html.count("<article") == html.count("</article>") == 1
    assert html.count("<table") == html.count("</table>") == 1
    assert not any(word in html for word in ("<script", "<iframe", "cdn.invalid", "alert"))


def test_a_long_conclusion_is_folded_after_its_first_blocks(tmp_path: Path) -> None:
    paragraphs = "\n\n".join(f"{number} " + "word " * 60 for number in range(5))
    _write(tmp_path, "long", toy.text("## Conclusion"), _cell(_output(text_markdown=paragraphs)))
    _write(tmp_path, "one", toy.text("## conclusion"), _cell(_output(text_markdown="word " * 400)))
    long, one = cards(tmp_path)
    assert [long.conclusion.count("<p>"), long.more.count("<p>")] == [2, 3]
    assert (one.conclusion.count("word"), one.more) == (400, "")


def test_pictures_that_would_make_the_index_too_large_are_left_out_and_said_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_ROOM", len(PIXEL) + 10)
    _write(folder, "03_more", _cell(_drawn("more", **{"image/png": PIXEL})))
    assert [bool(card.picture) for card in cards(folder)] == [True, False, False]
    assert write_index(folder).read_text().count("Its figure is on its page") == 1


def test_the_headline_is_the_tagged_figure_or_the_last_before_the_conclusion(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        headline, "draw_image", lambda figure, *_: seen.append(figure["layout"]["meta"]["name"]) or b"png"
    )
    plain = [_cell(_drawn("a")), _cell(_drawn("b")), toy.text("## Conclusion"), _cell(_drawn("c"))]
    tagged = [_cell(_drawn("d"), _drawn("e"), tags=("headline",)), *plain]
    only_later = [toy.text("## Conclusion"), _cell(_drawn("f"))]
    for cells in (plain, tagged, only_later, [toy.text("no figure")]):
        notebook = nbformat.v4.new_notebook(cells=cells)
        headline.add_picture(notebook)
        assert headline.picture(notebook) == (
            base64.b64encode(b"png").decode() if cells[0].source != "no figure" else ""
        )
    assert seen == ["b", "d", "f"]


def test_without_a_browser_the_picture_is_skipped_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    notebook = nbformat.v4.new_notebook(cells=[_cell(_drawn("a"))])
    headline.add_picture(notebook)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "no picture of the headline figure: drawing a PNG needs a Chromium or Chrome on this machine: "
    )
    assert headline.picture(notebook) == ""


@pytest.mark.parametrize(("width", "scheme"), [(900, "light"), (500, "dark")])
def test_a_browser_shows_it_offline_and_readable(browser, folder: Path, width: int, scheme: str) -> None:  # type: ignore[no-untyped-def]
    with shown(browser, write_index(folder), width, scheme) as tab:
        weakest = weakest_contrast(tab)
        assert weakest["ratio"] >= 4.5, weakest
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate("document.querySelector('img').naturalWidth") == 1
        links = tab.locator("h2 a").evaluate_all("links => links.map(link => link.href)")
        assert links == [(folder / name).as_uri() for name in ("01_good.html", "02_bad.failed.html")]
