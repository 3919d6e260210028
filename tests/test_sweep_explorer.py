"""The rank slider: both faces show the same of every candidate, and their controls work."""

import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_tables as toy

from vxlab.views.sweep_explorer import beside_neighbours, choices, explore_sweep
from vxlab.views.sweep_widget import SweepWidget

SUMMARY, PAIRS, RUNS = toy.summary(), toy.pairs(), toy.runs()


@pytest.fixture
def live():
    return explore_sweep(SUMMARY, PAIRS, RUNS, metric="accuracy", interactive=True)


@pytest.fixture(scope="module")
def still():
    return explore_sweep(SUMMARY, PAIRS, RUNS, metric="accuracy", interactive=False)


def _tables(figure):
    return {trace.cells["values"][1][0][3:-4]: trace for trace in figure.data if trace.type == "table"}


def test_every_candidate_can_be_chosen_by_method_and_rank():
    offered = choices(SUMMARY)
    assert [said for said, _ in offered["VeRA"]] == ["r=1", "r=16", "r=256", "r=1024"]
    assert {name for ranks in offered.values() for _, name in ranks} == set(SUMMARY["candidate"])


def test_candidates_of_one_rank_are_told_apart_by_their_names():
    twice = SUMMARY.query("candidate == 'VeRA r=16'")
    both = twice.assign(candidate="VeRA r=16, mlp")
    offered = choices(pd.concat([SUMMARY, both]))["VeRA"]
    assert ("VeRA r=16, mlp", "VeRA r=16, mlp") in offered
    assert ("VeRA r=16", "VeRA r=16") in offered
    assert ("r=256", "VeRA r=256") in offered


def test_a_choice_shows_score_price_and_verdicts_in_words():
    rows = beside_neighbours(SUMMARY, PAIRS, "VeRA r=256", "accuracy").set_index("candidate")
    own = rows.loc["VeRA r=256"]
    assert own["test accuracy (quartiles)"] == "0.801 (0.796–0.804)"
    assert (own["parameters"], own["bytes"], own["step, ms"], own["peak, MiB"]) == ("7,680", "35,000", "237", "896")
    assert own["verdict"] == ""
    assert rows.loc["head only", "verdict"] == "this one is better"
    assert rows.loc["full fine-tuning", "verdict"] == "this one is worse"
    assert rows.loc["LoRA r=1", "verdict"] == "no difference seen"
    assert rows.loc["full fine-tuning", "this − that, points (95 %)"].startswith("−")
    assert rows.loc["VeRA r=1024", "test accuracy (quartiles)"].endswith(", 1 not finished")


def test_a_correlations_differences_are_not_in_points():
    rows = beside_neighbours(SUMMARY, PAIRS, "VeRA r=256", "matthews").set_index("candidate")
    assert rows.loc["full fine-tuning", "this − that (95 %)"].startswith("−0.0")


def test_moving_the_slider_shows_that_rank(live):
    assert isinstance(live, SweepWidget)
    live.method.value = "VeRA"
    assert live.rank.value == "VeRA r=1"
    live.rank.value = "VeRA r=256"
    assert "35,000" in live.table.value
    ring = live.figure.data[-1]
    assert (ring.x[0], ring.y[0]) == (7_680, SUMMARY.set_index("candidate").loc["VeRA r=256", "median"])
    assert ring.marker.size[0] > ring.marker.size[1]


def test_every_choice_of_the_widgets_shows_its_own_candidate(live):
    for method, ranks in choices(SUMMARY).items():
        live.method.value = method
        for _, name in ranks:
            live.rank.value = name
            assert f"<td>{name}</td>" in live.table.value.split("</tr>")[1]


def test_changing_the_method_starts_at_its_lowest_rank_and_offers_only_its_own(live):
    live.rank.value = "LoRA r=64"
    live.method.value = "LoRA-XS"
    assert live.rank.value == "LoRA-XS r=4"
    assert [said for said, _ in live.rank.options] == ["r=4", "r=8", "r=16", "r=32"]


def test_without_a_kernel_every_step_shows_its_candidate_and_hides_the_others(still):
    tables = _tables(still)
    assert set(tables) == set(SUMMARY["candidate"])
    for slider, ranks in zip(still.layout.sliders, choices(SUMMARY).values(), strict=True):
        for step, (said, name) in zip(slider.steps, ranks, strict=True):
            visible, _, places = step.args
            shown = [still.data[place] for place, on in zip(places, visible["visible"], strict=True) if on]
            assert step.label == said
            assert [trace.type for trace in shown] == ["scatter", "table"]
            assert shown[1] == tables[name]


def test_both_faces_say_the_same(still, live):
    tables = _tables(still)
    for name in ("LoRA r=16", "head only"):
        rows = beside_neighbours(SUMMARY, PAIRS, name, "accuracy")
        assert [list(column)[1:] for column in tables[name].cells["values"]] == [list(rows[c])[1:] for c in rows]


def test_the_menu_brings_the_slider_of_its_method(still):
    (menu,) = still.layout.updatemenus
    assert [button.label for button in menu.buttons] == list(choices(SUMMARY))
    assert [slider.visible for slider in still.layout.sliders] == [True] + [False] * 5
    relayout = menu.buttons[1].args[1]
    assert [relayout[f"sliders[{i}].visible"] for i in range(6)] == [False, True, False, False, False, False]
    assert relayout["sliders[1].active"] == 0


def test_nobody_watching_gets_the_figure_and_it_stays_small(still):
    assert type(explore_sweep(SUMMARY, PAIRS, metric="accuracy")) is go.Figure
    assert len(json.dumps(still.to_dict(), default=list)) < 200_000


def test_it_works_in_a_page_without_a_kernel(still, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)
    if chromium is None:
        pytest.skip("there is no chromium to draw with")
    page_file = tmp_path / "explorer.html"
    still.write_html(page_file, include_plotlyjs="directory", include_mathjax=False)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1100})
        page.goto(page_file.as_uri())
        assert _chosen(page) == "LoRA r=1"
        page.locator(".slider-label", has_text="r=16").click(force=True)
        assert _chosen(page) == "LoRA r=16"
        page.locator(".updatemenu-header").first.click()
        page.locator(".updatemenu-dropdown-button", has_text="VeRA").click()
        assert _chosen(page) == "VeRA r=1"
        page.locator(".slider-label", has_text="r=1024").click(force=True)
        assert _chosen(page) == "VeRA r=1024"
        assert page.locator(".table").count() == 1
        browser.close()


def _chosen(page):
    """Return the candidate in the first row of the table that is shown."""
    page.wait_for_timeout(600)
    return page.locator("g.y-column").nth(1).locator("g.column-cell text.cell-text").first.text_content()
