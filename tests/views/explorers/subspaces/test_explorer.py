"""The subspace explorer: both faces show what the tables hold, of a band, a role and a block."""

import json
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from toy_updates import moved_run

import vxlab
from vxlab.analysis.update import FullUpdate
from vxlab.studies.subspaces.bands import SIZES, Whereabouts, whereabouts
from vxlab.studies.subspaces.tables import band_angles, band_energies, decompose_weights, spectra_table
from vxlab.views.explorers.subspaces.explorer import MEAN, explore_bands, explore_subspaces
from vxlab.views.explorers.widget import ExplorerWidget

ROLES = {"query": ("attention.self.query", 16), "down": ("output.dense", 40)}
FULL = "full fine-tuning"
W, OUTPUT, BOTH, MAP = 8, 9, 11, 15
"""Places of traces in the canvas."""


def _normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def _tables(blocks, far=1.0, fractions=SIZES):
    layers = {f"encoder.layer.{i}.{name}": (16, n) for i in range(blocks) for name, n in ROLES.values()}
    triplets = decompose_weights({layer: _normal(*shape) for layer, shape in layers.items()})
    matrices = {layer: far * (_normal(*shape[::-1]).T + i) for i, (layer, shape) in enumerate(layers.items())}
    dense = {layer: FullUpdate(matrix) for layer, matrix in matrices.items()}
    energies = band_energies(triplets, {FULL: dense}, fractions=fractions)
    angles = band_angles(triplets, {FULL: decompose_weights(matrices)}, fractions=fractions, directions=4)
    return Whereabouts(spectra_table({"W": triplets, FULL: dense}), energies, angles)


TABLES = _tables(3)


@pytest.fixture
def live():
    return explore_bands(TABLES, update=FULL, interactive=True)


@pytest.fixture(scope="module")
def still():
    return explore_bands(TABLES, update=FULL, interactive=False)


def _choose(live, role, band, block, rank):
    for menu, value in zip(live.menus, (role, band, block), strict=True):
        menu.value = value
    live.slider.label = f"r={rank}"


def _rows(role, band, fraction):
    return TABLES.energies.query("role == @role and band == @band and fraction == @fraction").sort_values("block")


def test_every_role_band_block_and_rank_can_be_chosen(live, still):
    assert isinstance(live, ExplorerWidget)
    assert live.menus[0].options == tuple(ROLES)
    assert live.menus[1].options == ("top", "middle", "bottom")
    assert live.menus[2].options == (MEAN, "0", "1", "2")
    assert [said for said, _ in live.slider.options] == ["r=1", "r=2", "r=4", "r=8", "r=12", "r=16"]
    assert len(still.layout.sliders) == len(ROLES) * 3


def test_a_choice_shows_where_the_band_lies_and_what_it_holds(live):
    _choose(live, "query", "middle", MEAN, 8)
    rows, shade = _rows("query", "middle", 0.5), live.figure.layout.shapes[0]
    assert (shade.x0, shade.x1) == (0.25, 0.75)
    for place, column in ((W, "weight"), (OUTPUT, "output"), (BOTH, "both")):
        assert live.figure.data[place].y == pytest.approx(rows[column], abs=1e-4)
    told = live.words.value
    assert "query, mean of 3 blocks: middle 50 % of the singular triplets (r=8)" in told
    held = (
        f"The band holds {rows['weight'].mean():.1%} of W's energy ‖W‖² and {rows['both'].mean():.1%} of the update's"
    )
    assert held in told
    assert f"{rows['both'].mean() / rows['chance_both'].mean():.2g} times what chance puts into it" in told


def test_a_block_shows_its_own_spectra_angles_and_words_and_is_marked(live):
    _choose(live, "down", "top", "2", 4)
    (row,) = _rows("down", "top", 0.25).query("block == 2").itertuples()
    assert "down, block 2: top 25 % of the singular triplets (r=4)" in live.words.value
    assert (
        f"{row.output:.1%} of the update's outputs lie in the band (chance {row.chance_output:.1%})" in live.words.value
    )
    own = TABLES.spectra.query("of == 'W' and role == 'down' and block == 2")
    assert live.figure.data[0].y[1:] == pytest.approx(own["energy"], abs=1e-4)
    angles = TABLES.angles.query(
        "role == 'down' and block == 2 and band == 'top' and fraction == 0.25 and side == 'output'"
    )
    assert live.figure.data[4].y == pytest.approx(angles["degrees"], abs=1e-4)
    assert live.figure.data[3].y == pytest.approx(angles["chance"], abs=1e-4)
    assert f"{angles['degrees'].min():.0f}° at the outputs (chance {angles['chance'].iloc[0]:.0f}°)" in live.words.value
    line, ring = live.figure.layout.shapes[1:]
    assert (line.visible, line.x0) == (True, 2)
    assert (ring.x0, ring.x1, ring.y0, ring.y1) == (1.5, 2.5, 0.5, 1.5)


def test_the_map_shows_multiples_of_chance_in_its_own_cell(live):
    _choose(live, "query", "bottom", MEAN, 4)
    row = _rows("down", "bottom", 0.25).query("block == 1").iloc[0]
    ratio = row["both"] / row["chance_both"]
    assert live.figure.data[MAP].z[1][1] == pytest.approx(np.clip(math.log2(ratio), -4, 4), abs=0.01)
    assert live.figure.data[MAP].text[1][1] == f"{ratio:.2g}"
    ring = live.figure.layout.shapes[2]
    assert (ring.x0, ring.x1) == (-0.5, 2.5)


def test_both_faces_show_the_same_of_a_choice(still, live):
    choices = [(role, band) for role in ROLES for band in ("top", "middle", "bottom")]
    for slider, (role, band) in zip(still.layout.sliders, choices, strict=True):
        for step in (slider.steps[0], slider.steps[3]):
            _choose(live, role, band, MEAN, step.label[2:])
            traces, layout = step.args
            for drawn, trace in zip(live.figure.data[:MAP], traces["y"][:MAP], strict=True):
                assert list(drawn.y) == list(trace)
            assert [list(row) for row in live.figure.data[MAP].z] == [list(row) for row in traces["z"][MAP]]
            assert layout["shapes[0].x1"] == live.figure.layout.shapes[0].x1
            told = layout["annotations[4].text"].replace("<br>", " ")  # long lines are broken there
            assert told.startswith(live.words.value.replace("<br>", " "))
            assert told.endswith("A live notebook also shows every block by itself.")


def test_an_update_of_zero_is_said_in_words():
    zero = _tables(2, far=0.0)
    for live in (True, False):
        face = explore_bands(zero, update=FULL, interactive=live)
        told = face.words.value if live else face.layout.annotations[-1].text
        assert "The update of full fine-tuning is zero here" in told
        assert "angle" not in told


def test_a_model_of_one_block_and_one_of_a_thousand_fit():
    alone = _tables(1, fractions=(0.125, 0.5))
    one = explore_bands(alone, update=FULL, interactive=True)
    assert "query, its only block" in one.words.value
    many = Whereabouts(*(pd.concat([table.assign(block=i) for i in range(1000)]) for table in alone))
    live = explore_bands(many, update=FULL, interactive=True)
    assert len(live.menus[2].options) == 1001
    _choose(live, "query", "top", "999", 2)
    assert len(live.figure.data[W].x) == len(live.figure.data[MAP].z[0]) == 1000
    still = explore_bands(many, update=FULL, interactive=False)
    assert "Here are 48 of 1000 blocks" in still.layout.annotations[-1].text
    assert len(still.to_json()) < 1_500_000


def test_nobody_watching_gets_a_small_figure_and_an_unknown_update_is_refused(still):
    assert type(explore_bands(TABLES, update=FULL)) is go.Figure
    assert len(json.dumps(still.to_dict(), default=list)) < 500_000
    with pytest.raises(vxlab.VxlabError, match="update='LoRA' is not in the tables; they hold full fine-tuning"):
        explore_bands(TABLES, update="LoRA")


@pytest.fixture(scope="module")
def lora(tiny_model, tmp_path_factory):
    return moved_run(tmp_path_factory.mktemp("runs") / "lora", tiny_model, vxlab.LoRA(rank=3))


def test_a_run_is_shown_by_its_own_tables(lora, tmp_path):
    live = explore_subspaces(lora, store=tmp_path, interactive=True)
    tables = whereabouts({"LoRA r=3": lora}, store=tmp_path)
    row = tables.energies.query("role == 'query' and band == 'top' and fraction == 0.0625")
    assert live.figure.data[BOTH].y == pytest.approx(row["both"], abs=1e-4)
    assert "ΔW is LoRA r=3's" in live.words.value
    with pytest.raises(vxlab.VxlabError, match="run is None"):
        explore_subspaces(None, store=tmp_path)


def test_it_works_in_a_page_without_a_kernel(still, tmp_path, browser):
    still.write_html(tmp_path / "explorer.html", include_plotlyjs="directory", include_mathjax=False)
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.goto((tmp_path / "explorer.html").as_uri())
    assert "query, mean of 3 blocks: top 6.25 %" in _told(page)
    page.locator(".slider-label", has_text="r=8").click(force=True)
    assert "query, mean of 3 blocks: top 50 %" in _told(page)
    page.locator(".updatemenu-header").first.click()
    page.locator(".updatemenu-dropdown-button", has_text="down, bottom").click()
    assert "down, mean of 3 blocks: bottom 6.25 %" in _told(page)
    page.close()


def _told(page):
    page.wait_for_timeout(600)
    return page.locator(".annotation-text").last.text_content()


def test_in_jupyterlab_the_slider_moves_figure_and_numbers(lora, tmp_path, lab):
    notebook = f"""
from pathlib import Path
import vxlab
run = vxlab.RunRecord.load(Path({str(lora.folder)!r}))
shown = vxlab.explore_subspaces(run, store={str(tmp_path / "store")!r})
shown
"""
    rows = whereabouts({"LoRA r=3": lora}, store=tmp_path / "store").energies.query("role == 'query' and band == 'top'")
    expected = rows[rows["fraction"] == 0.25]
    last = "print('drawn:', list(shown.figure.data[11].y))"
    with lab.opened(notebook, last, width=1000, height=1200) as tab:
        tab.run_all()
        tab.until("document.body.innerText.includes('top 6.25 % of the singular triplets')", timeout=60)
        path = "document.querySelectorAll('.js-plotly-plot .xy3 path.js-line, .js-plotly-plot .x3y3 path.js-line')[3]"
        tab.until(f"{path} != null", timeout=60)
        before = tab.page.evaluate(f"{path}.getAttribute('d')")
        tab.move_slider(presses=2)
        tab.until(f"document.body.innerText.includes('and {expected['both'].mean():.1%} of the update')")
        tab.until(f"{path}.getAttribute('d') !== {before!r}")
        tab.run_last()
        tab.until("document.body.innerText.includes('drawn:')")
        drawn = [round(float(value), 4) for value in expected.sort_values("block")["both"]]
        tab.until(f"document.body.innerText.includes({f'drawn: {drawn}'!r})")
        tab.page.screenshot(path=tmp_path / "subspaces.png")
