"""The figure's widget: its first message is complete, and its script starts at once however slow the page."""

import ipywidgets
import plotly.graph_objects as go

from vxlab.views.explorers.figure_widget import WholeFigure


def test_the_page_hears_of_it_once_and_of_all_of_it(monkeypatch):
    told = []
    monkeypatch.setattr(ipywidgets.Widget, "open", lambda widget: told.append(widget.get_state()))
    figure = go.Figure(go.Scatter(y=[1, 3, 2]), layout={"height": 300, "meta": {"name": "a curve"}})
    whole = WholeFigure(figure)
    (state,) = [each for each in told if "_widget_data" in each]
    assert list(state["_widget_data"][0]["y"]) == [1, 3, 2]
    assert state["_widget_layout"]["height"] == 300
    assert state["_config"]["toImageButtonOptions"]["filename"] == "a_curve"
    assert whole.data[0].type == "scatter"


def test_the_script_that_has_two_seconds_is_short_and_plotly_comes_with_it():
    state = WholeFigure(go.Figure()).get_state()
    assert len(state["_esm"]) < 1_000
    assert len(state["_plotly"]) > 1_000_000


def test_a_page_that_is_loaded_again_draws_the_figure_as_it_is():
    whole = WholeFigure(go.Figure(go.Scatter(y=[1, 3, 2]), layout={"height": 300}))
    with whole.batch_update():
        whole.data[0].y = [1, 3, 2, 4]
        whole.layout.height = 400
    whole.keep_for_reload()
    state = whole.get_state()
    assert list(state["_widget_data"][0]["y"]) == [1, 3, 2, 4]
    assert state["_widget_layout"]["height"] == 400
