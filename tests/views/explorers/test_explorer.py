"""Both faces of a small explorer: they show the same, and its controls work in JupyterLab and without a kernel."""

import plotly.graph_objects as go
import pytest
from places import SUPPORT
from toy_explorer import SIZES, Toy

from vxlab.views.explorers.faces import explore
from vxlab.views.explorers.widget import ExplorerWidget


@pytest.fixture
def live():
    return explore(Toy(), interactive=True)


@pytest.fixture
def still():
    return explore(Toy(), interactive=False)


def test_a_live_notebook_gets_widgets_and_a_report_the_figure(live):
    assert isinstance(live, ExplorerWidget)
    assert type(explore(Toy())) is go.Figure  # nobody watches a test


def test_menus_offer_what_those_before_them_leave(live):
    assert (live.choice, live.slider.value) == (("LoRA", "query"), 1)
    live.menus[1].value = "down"
    live.menus[0].value = "VeRA"
    assert live.menus[1].options == ("query",)
    assert (live.choice, live.slider.value) == (("VeRA", "query"), 4)


def test_the_slider_keeps_its_place_where_the_new_choice_has_it(live):
    live.slider.value = 4
    live.menus[0].value = "VeRA"
    assert live.slider.label == "r=4"
    live.slider.value = 16
    live.menus[0].value = "LoRA"
    assert live.slider.label == "r=1"


def test_a_move_shows_words_figure_table_and_layout(live):
    live.slider.value = 4
    assert live.words.value == "<b>LoRA, query</b> at 4"
    assert list(live.figure.data[0].y) == [1, 4, 16]
    assert list(live.figure.data[1].z[0]) == [4, -4]
    assert list(live.figure.data[1].x) == ["a", "b"]
    assert live.figure.layout.title.text == "4"
    assert "<td>4</td>" in live.table.value


def test_a_view_is_computed_once_a_choice():
    toy = Toy()
    live = explore(toy, interactive=True)
    for value in (2, 4, 2, 1, 4):
        live.slider.value = value
    assert toy.seen == [(("LoRA", "query"), rank) for rank in (1, 2, 4)]


def test_every_step_of_the_figure_shows_what_the_widgets_show(still, live):
    for slider, (choice, ranks) in zip(still.layout.sliders, SIZES.items(), strict=True):
        live.menus[0].value, live.menus[1].value = choice
        for step, rank in zip(slider.steps, ranks, strict=True):
            live.slider.value = rank
            traces, layout = step.args
            assert traces["y"][0] == list(live.figure.data[0].y)
            assert traces["z"][1] == [list(row) for row in live.figure.data[1].z]
            assert list(traces["y"][1]) == ["c"]  # the heat map keeps its own
            assert layout["annotations[0].text"] == live.words.value
            assert layout["title.text"] == live.figure.layout.title.text
            assert traces["cells.values"][2][1][0] == f"<b>{rank}</b>"


def test_long_words_are_broken_for_a_page_of_900_pixels(still, monkeypatch):
    long, shown = "<b>" + "of the layers " * 20 + "</b>end", Toy.view
    monkeypatch.setattr(Toy, "view", lambda *given: shown(*given)._replace(words=["short", long]))
    figure = explore(Toy(), interactive=False)
    first, *others = figure.layout.annotations[-1].text.split("<br>")
    assert (first, " ".join(others)) == ("short", long)
    assert max(map(len, others)) <= 112 + len("<b></b>")
    assert figure.layout.margin.t > still.layout.margin.t + 40


def test_the_menu_brings_the_slider_of_its_choice(still):
    (menu,) = still.layout.updatemenus
    assert [button.label for button in menu.buttons] == [", ".join(choice) for choice in SIZES]
    relayout = menu.buttons[2].args[1]
    assert [relayout[f"sliders[{i}].visible"] for i in range(3)] == [False, False, True]
    assert relayout["sliders[2].active"] == 0


def test_the_frame_keeps_its_size_above_a_table(still):
    bare = explore(Toy(table=False), interactive=False)
    pixels = [_pixels(figure, figure.layout.yaxis2.domain) for figure in (still, bare)]
    assert pixels[0] == pytest.approx(pixels[1])
    assert still.layout.height > bare.layout.height
    assert still.data[-1].domain.y[1] < still.layout.yaxis.domain[0]


def _pixels(figure, domain):
    inner = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    return inner * (domain[1] - domain[0])


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from toy_explorer import Toy
from vxlab.views.explorers.faces import explore
class Slow(Toy):
    def offered(self):
        return {{("LoRA", "query"): [(f"r={{rank}}", rank) for rank in range(1, 40)]}}
    def view(self, *chosen):
        time.sleep(0.5)
        return super().view(*chosen)
toy = Slow()
explore(toy)
"""


def test_in_jupyterlab_the_last_of_many_moves_wins_and_none_queue_up(lab):
    cells = (SLOW.format(tests=str(SUPPORT)), "print(len(toy.seen), 'views')")
    with lab.opened(*cells, width=900, height=900) as tab:
        tab.run_all()
        tab.move_slider(presses=12)
        tab.until("document.body.innerText.includes('LoRA, query at 13')")
        tab.run_last()
        tab.until("/\\d+ views/.test(document.body.innerText)")
        assert int(tab.outputs().split(" views")[0].split()[-1]) < 8
        overflow = "e => e.scrollWidth - e.clientWidth"
        assert tab.page.locator(".jp-OutputArea-output").first.evaluate(overflow) <= 1
