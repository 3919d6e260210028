"""The look: colours that everybody can see and tell apart, on light and on dark pages, and the sheet of both."""

import itertools
import re

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from gallery import every_figure
from plotly.colors import sample_colorscale

from vxlab.views.style import renderer as live_figures
from vxlab.views.style.theme import (
    AXIS,
    BLUE_ORANGE,
    COLOURS,
    DASHES,
    DIVERGING,
    GREY,
    INK,
    LABELS,
    ON_HEAT,
    PAPER,
    RANKS,
    SCORES,
    SHARES,
    SYMBOLS,
    apply_style,
    label_font,
    look,
    plotly_config,
    theme_css,
    theme_style,
)  # fmt: skip

WHITE, NIGHT = "#ffffff", "#111111"
# What full protanopia, deuteranopia and tritanopia leave of linear RGB (Machado, Oliveira & Fernandes 2009).
SEEN = {
    "by most": np.eye(3),
    "without red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "without green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "without blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def _linear(colour):
    value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Return WCAG 2.2's ratio."""
    low, high = sorted(float(_linear(colour) @ TO_XYZ[1]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def _lab(colour, seen):
    xyz = np.array(TO_XYZ) @ np.clip(np.array(seen) @ _linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def at_night():
    """Return the dark colour of each light one, as the sheet has it."""
    sheet = theme_css("page")
    found = re.findall(r"fill: rgb\((\d+), (\d+), (\d+)\)'\] \{ fill: (#\w+)", sheet)
    return {"#" + "".join(f"{int(v):02x}" for v in rgb): dark for *rgb, dark in found}


def test_the_ratio_is_wcags():
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#767676", WHITE) == pytest.approx(4.54, abs=0.01)


def test_lines_of_ranks_are_seen_on_light_and_on_dark_pages():
    shades = sample_colorscale([*RANKS], [each / 60 for each in range(61)])
    hexes = [f"#{''.join(f'{round(float(v)):02x}' for v in re.findall(r'[0-9.]+', shade))}" for shade in shades]
    assert min(contrast(each, ground) for each in hexes for ground in (WHITE, NIGHT)) >= 3
    assert not {*hexes} & {*at_night()}  # the sheet leaves them as they are


@pytest.mark.parametrize("colour", [*COLOURS, AXIS])
def test_marks_are_seen_on_light_and_on_dark_pages(colour):
    assert contrast(colour, WHITE) >= 3
    assert contrast(at_night().get(colour, colour), NIGHT) >= 3


@pytest.mark.parametrize("colour", [*LABELS, GREY])
def test_words_are_readable_on_light_and_on_dark_pages(colour):
    assert contrast(colour, WHITE) >= 4.5
    assert contrast(at_night()[colour], NIGHT) >= 4.5


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("page", ["light", "dark"])
def test_six_series_are_told_apart_by_colour_blind_readers(seen, page):
    night = at_night()
    colours = [_lab(night[colour] if page == "dark" else colour, SEEN[seen]) for colour in COLOURS[:6]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 10


@pytest.mark.parametrize("scale", [DIVERGING, BLUE_ORANGE])
def test_black_is_readable_on_the_whole_of_a_colour_scale(scale):
    for (_, a), (_, b) in itertools.pairwise(scale):
        for share in np.linspace(0, 1, 9):
            mixed = [round((1 - share) * int(a[i : i + 2], 16) + share * int(b[i : i + 2], 16)) for i in (1, 3, 5)]
            assert contrast("#" + "".join(f"{value:02x}" for value in mixed), ON_HEAT) >= 4.5


def test_a_series_words_have_its_look_s_place():
    assert (label_font(1)["color"], label_font(8)["color"]) == (LABELS[1], LABELS[1])
    assert look(7)["line"]["color"] == COLOURS[0]
    assert len({(look(i)["line"]["dash"], look(i)["marker"]["symbol"]) for i in range(12)}) == 12
    assert len({(look(i)["marker"]["color"], look(i)["marker"]["symbol"]) for i in range(12)}) == 12
    assert len(set(SYMBOLS)) == len(SYMBOLS) == len(COLOURS) + 1  # a hue comes back with another symbol
    assert len(set(DASHES)) == 6


def test_no_series_differ_by_colour_alone():
    for name, figure in every_figure().items():
        panels = {}
        for trace in figure.data:
            if trace.type == "scatter" and trace.x is not None and len(trace.x) and trace.fill is None:
                panels.setdefault((trace.xaxis, trace.yaxis), []).append(trace)
        for traces in panels.values():
            for a, b in itertools.combinations(traces, 2):
                assert _colour(a) == _colour(b) or _shape(a) != _shape(b), (name, a.name, b.name)
        bars = [trace.marker.pattern.shape for trace in figure.data if trace.type == "bar"]
        assert len(set(bars)) == len(bars), name


def _colour(trace):
    return trace.line.color if "lines" in trace.mode else str(trace.marker.color)


def _shape(trace):
    symbol = trace.marker.symbol if "markers" in trace.mode else None
    filled = {str(each).replace("-open", "") for each in symbol} if isinstance(symbol, (tuple, list)) else symbol
    return trace.line.dash if "lines" in trace.mode else None, str(filled), trace.marker.size


def test_a_sheet_for_jupyterlab_asks_its_theme_and_one_for_a_page_the_system():
    lab, page = theme_css("jupyter"), theme_css("page")
    assert 'body[data-jp-theme-light="false"] {' in lab
    assert "prefers-color-scheme" not in lab
    assert "@media screen and (prefers-color-scheme: dark) { body {" in page
    assert "data-jp-theme-light" not in page
    assert lab.count("{") == lab.count("}")
    assert page.count("{") == page.count("}")
    assert theme_style() == f'<style class="vx-theme">{lab}</style>'
    assert len(lab) < 8_000  # it comes with every figure of a live notebook


def test_a_figure_says_its_name_and_that_it_is_of_the_house():
    figure = apply_style(go.Figure(), 300, name="learning curves")
    assert figure.layout.paper_bgcolor == PAPER
    assert figure.layout.font.color == INK
    config = plotly_config(figure.to_plotly_json())
    assert config["toImageButtonOptions"] == {"format": "png", "scale": 2, "filename": "learning_curves"}
    assert plotly_config({"layout": {"meta": ["a list of one's own"]}})["toImageButtonOptions"]["filename"] == "figure"


@pytest.fixture
def shown(monkeypatch):
    """Return what a notebook is shown; plotly's renderers are put back."""
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    before = pio.renderers.default
    yield found
    pio.renderers.default = before


def test_a_live_notebook_is_shown_the_sheet_with_figures_of_the_house_alone(shown):
    pio.renderers.default = "plotly_mimetype"
    live_figures.show_themed()
    live_figures.show_themed()
    assert pio.renderers.default == "vxlab"
    own = go.Figure([go.Scatter(y=[1, 2])])
    renderer = live_figures.HouseRenderer()
    (drawing,) = renderer.to_mimebundle(own.to_dict()).values()
    assert shown == []
    assert drawing["data"][0]["y"] == [1, 2]
    (drawing,) = renderer.to_mimebundle(apply_style(own, 300, name="a b").to_dict()).values()
    assert [sheet.data for sheet in shown] == [theme_style()]
    assert drawing["config"]["toImageButtonOptions"]["filename"] == "a_b"


def test_a_renderer_of_your_own_is_kept(shown):
    pio.renderers.default = "png"
    live_figures.show_themed()
    assert pio.renderers.default == "png"


def test_nothing_is_changed_where_no_one_sits_at_a_notebook(shown):
    pio.renderers.default = "plotly_mimetype"
    apply_style(go.Figure(), 300)
    assert pio.renderers.default == "plotly_mimetype"


@pytest.mark.parametrize("step", [0.2, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001, 0.00005])
@pytest.mark.parametrize("axis", [SCORES, SHARES], ids=["scores", "shares"])
def test_an_axis_has_as_many_decimals_as_its_step_needs(axis, step):
    ends = [(stop, *stop["dtickrange"]) for stop in axis["tickformatstops"]]
    form = next(stop["value"] for stop, low, high in ends if (low or 0) <= step <= (high or 1))
    assert len({format(0.5 + i * step, form) for i in range(4)}) == 4


def test_no_axis_that_plotly_scales_has_a_fixed_number_of_decimals():
    fixed = [
        (name, axis.plotly_name, axis.tickformat)
        for name, figure in every_figure().items()
        for axis in (*figure.select_xaxes(), *figure.select_yaxes())
        if re.fullmatch(r"\.\d[f%]", axis.tickformat or "") and axis.range is None
    ]
    assert fixed == []
