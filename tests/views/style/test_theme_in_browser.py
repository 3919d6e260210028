"""Figures as a browser draws them: all text inside, none over another, and readable on light and on dark pages."""

import base64
from collections import defaultdict

import pytest
from gallery import every_figure, overlapping
from places import SUPPORT
from plotly.offline import get_plotlyjs

from vxlab.views.style.theme import theme_css

AT_ONCE = 8
WIDTH = 900
BACKGROUND = {"light": "#ffffff", "dark": "#111111"}
PAGE = """<!doctype html><meta charset="utf-8"><style>{css}
body {{ margin: 0; background: #ffffff }} @media (prefers-color-scheme: dark) {{ body {{ background: #111111 }} }}
.silent text {{ visibility: hidden }}</style><main></main><script>{plotly}</script>"""
DRAW = """async figures => {
  const main = document.querySelector('main');
  [...main.children].forEach(one => { Plotly.purge(one); one.remove(); });
  for (const json of figures) {
    const {data, layout} = JSON.parse(json);
    await Plotly.newPlot(main.appendChild(document.createElement('div')), data, layout, {displayModeBar: false});
  } }"""
TEXTS = """() => [...document.querySelector('main').children].flatMap((figure, number) => {
  const edge = figure.getBoundingClientRect();
  return [...figure.querySelectorAll('.main-svg text')].map(text => {
    const {left, right, top, bottom} = text.getBoundingClientRect();
    return {text: text.textContent.trim(), figure: number, left: left - edge.left, right: right - edge.left,
            axis: (/(?:^| )([xy]\\d*)tick( |$)/.exec(text.parentNode.getAttribute('class')) || [])[1],
            top, bottom, above: top - edge.top, below: edge.bottom - bottom, fill: getComputedStyle(text).fill};
  }).filter(text => text.text && text.right > text.left); })"""
# WCAG 2.2's contrast ratio of every text to the most frequent colour of the pixels where it stands.
CONTRAST = """async ([png, texts]) => {
  const image = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d', {willReadFrequently: true});
  canvas.drawImage(image, 0, 0);
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  return texts.map(({left, right, top, bottom, fill}) => {
    const [x, y] = [Math.max(0, left), Math.max(0, top)].map(Math.floor);
    const pixels = canvas.getImageData(x, y, Math.ceil(right - x), Math.ceil(bottom - y)).data, counts = {};
    for (let i = 0; i < pixels.length; i += 4) {
      const rgb = pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]; counts[rgb] = (counts[rgb] || 0) + 1; }
    const behind = Object.keys(counts).reduce((a, b) => counts[a] >= counts[b] ? a : b);
    const [a, b] = [fill.match(/[\\d.]+/g).map(Number).slice(0, 3), [behind >> 16, behind >> 8 & 255, behind & 255]]
      .map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }); }"""


@pytest.fixture(scope="module")
def figures():
    return every_figure()


@pytest.fixture(scope="module")
def drawn(figures, browser, tmp_path_factory):
    """Return every figure's texts with their places, and how readable each is in either theme."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGE.format(css=theme_css("page"), plotly=get_plotlyjs()), encoding="utf-8")
    names, found = list(figures), defaultdict(list)
    page = browser.new_page(viewport={"width": WIDTH, "height": 800})
    page.goto(path.as_uri())
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        page.evaluate(DRAW, [figures[name].to_json() for name in some])
        for scheme in BACKGROUND:
            page.emulate_media(color_scheme=scheme)
            for text in _measured(page):
                found[some[text["figure"]], scheme].append(text)
    page.close()
    return found


def _measured(page):
    texts = page.evaluate(TEXTS)
    page.evaluate("document.body.classList.add('silent')")
    png = base64.b64encode(page.screenshot(full_page=True)).decode()
    page.evaluate("document.body.classList.remove('silent')")
    ratios = page.evaluate(CONTRAST, [png, texts])
    return [text | {"ratio": ratio} for text, ratio in zip(texts, ratios, strict=True)]


def test_every_figure_is_drawn_with_all_its_text_inside_and_apart(figures, drawn):
    clipped, over = {}, {}
    for name in figures:
        texts = drawn[name, "light"]
        assert len(texts) > 4, name
        clipped[name] = [t["text"] for t in texts if min(t["left"], t["above"], t["below"], WIDTH - t["right"]) < 0]
        over[name] = list(overlapping(texts))
    assert {name: texts for name, texts in clipped.items() if texts} == {}
    assert {name: pairs for name, pairs in over.items() if pairs} == {}


def test_no_two_ticks_of_an_axis_say_the_same(figures, drawn):
    said = defaultdict(list)
    for name in figures:
        for text in drawn[name, "light"]:
            said[name, text["axis"]].append(text["text"])
    axes = {place: texts for place, texts in said.items() if place[1]}
    assert len(axes) > 2 * len(figures)
    assert {place: texts for place, texts in axes.items() if len(set(texts)) < len(texts)} == {}


@pytest.mark.parametrize("scheme", BACKGROUND)
def test_every_text_of_every_figure_can_be_read(figures, drawn, scheme):
    pale = [
        (name, text["text"], round(text["ratio"], 2), text["fill"])
        for name in figures
        for text in drawn[name, scheme]
        if text["ratio"] < 4.5
    ]
    assert not pale


HOUSE = """import pandas as pd
from vxlab.views.figures import runs as figures
table = pd.DataFrame([(0, "query", 1.7), (1, "query", 1.9)], columns=["block", "role", "d_norm"])
figures.layer_norms(table, "d_norm", "‖d‖₂", start=1.6)"""
OWN = """import plotly.graph_objects as go
go.Figure([go.Scatter(y=[1, 3, 2])], {"title": {"text": "my own"}})"""
EXPLORER = """import sys
sys.path.insert(0, {tests!r})
from toy_explorer import Toy
from vxlab.views.explorers.faces import explore
explore(Toy())"""


def test_in_a_dark_jupyterlab_figures_of_the_house_are_dark_and_your_own_are_left_alone(tmp_path, lab):
    cells = (HOUSE, OWN, EXPLORER.format(tests=str(SUPPORT)))
    with lab.opened(*cells, width=1000, height=1600, dark=True) as tab:
        tab.run_all()
        tab.until("document.querySelectorAll('.js-plotly-plot :is(.xtitle, .gtitle)').length > 1", timeout=60)
        tab.until("document.querySelector('.vx-table td')", timeout=60)
        house, own = tab.page.locator(".js-plotly-plot").nth(0), tab.page.locator(".js-plotly-plot").nth(1)
        assert [_style(house, part, "fill") for part in (".xtitle", ".legendtext")] == ["rgb(230, 230, 230)"] * 2
        assert _style(house, ".main-svg", "backgroundColor") == "rgba(0, 0, 0, 0)"
        assert _style(own, ".gtitle", "fill") == "rgb(42, 63, 95)"
        assert _style(own, ".main-svg", "backgroundColor") == "rgb(255, 255, 255)"
        sheet = tab.page.locator(".jp-OutputArea-child:has(> * > style.vx-theme)").first
        assert sheet.evaluate("e => e.offsetHeight") == 0
        table = tab.page.locator(".vx-table")
        assert _style(table, "tbody td", "color") == "rgb(230, 230, 230)"
        assert _style(table, "tbody td", "backgroundColor") == "rgb(34, 56, 76)"
        house.hover()
        with tab.page.expect_download() as download:
            house.locator(".modebar-btn[data-title*='Download']").click()
        assert download.value.suggested_filename == "d_norm_by_block.png"
        download.value.save_as(tmp_path / "downloaded.png")
        tab.page.screenshot(path=tmp_path / "dark.png")


def _style(place, selector, name):
    return place.locator(selector).first.evaluate(f"e => getComputedStyle(e).{name}")
