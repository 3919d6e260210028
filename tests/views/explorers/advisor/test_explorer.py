"""The advice explorer: a budget's ranks, energies and measured scores, in both faces and in JupyterLab."""

import dataclasses

import pandas as pd
import plotly.graph_objects as go
import pytest
from toy_advice import GRID, toy_advice
from toy_records import IDENTITY, key_of, metric_rows, stored_record

from vxlab.experiments.method_names import method_label
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored_scores import MEASURED_COLUMNS, Measured
from vxlab.views.explorers.advisor.explorer import AdviceExplorer, explore_advice
from vxlab.views.explorers.faces import explore

NOTHING = Measured(pd.DataFrame(columns=MEASURED_COLUMNS), "", "", 0)
MAP, DASHES, RING, GAIN_RING, BY_LAYER, ONE_RANK = 0, 1, 4, 8, 10, 11
"""Places of traces in the canvas."""
BY_ENERGY = method_label(toy_advice().method())


@pytest.fixture(scope="module")
def runs():
    rows = [
        ("LoRA", 2, "LoRA r=2", "all-linear", 576, 0.80),
        ("LoRA by layer", None, BY_ENERGY, "x", 560, 0.82), ("LoRA by layer", None, "LoRA r=9 (up)", "x", 560, 0.99),
        ("LoRA", 4, "LoRA r=4", "query-value", 570, 0.99), ("VeRA", 4, "VeRA r=4", "all-linear", 570, 0.99),
    ]  # fmt: skip
    table = pd.DataFrame(
        {
            "family": family, "rank": rank, "label": label, "targets": targets, "backbone": size,
            "bytes_stored": 4 * size, "n": 3, "diverged": 0, "mean": mean, "scores": (mean,) * 3, "draws": 0,
            "low": mean, "high": mean, "learning_rate": 1e-3, "edge": "", "front": True,
        }
        for family, rank, label, targets, size, mean in rows
    )  # fmt: skip
    return Measured(table.astype({"rank": "Int64"}), "accuracy", "toy (all training examples, 1 epoch)", 0)


@pytest.fixture
def explorer(runs):
    return AdviceExplorer(toy_advice(), runs)


def test_every_budget_of_the_grid_can_be_chosen_and_the_asked_one_is_named(explorer):
    assert explorer.offered() == {(): [("288", 288), ("576, as asked", 576), ("1,152", 1152)]}


def test_a_budget_shows_its_ranks_energies_and_gain(explorer):
    view = explorer.view((), 576)
    assert len(view.traces) == len(explorer.canvas().data)
    assert view.traces[MAP]["text"] == [["2", "4"], ["2", "4"], ["", "4"]]
    assert view.traces[DASHES] == {"x": [0], "y": [2], "text": ["–"]}
    assert view.traces[RING] == {"x": [576, 576], "y": [0.75, 0.6]}
    assert view.traces[GAIN_RING] == {"x": [576], "y": [0.12]}
    assert view.layout["shapes[0].x0"] == 576
    assert "<b>ranks 2 to 4 by layer, 1 layer left out</b>, in place of LoRA r=2 on every layer" in view.words[0]
    assert (
        "the allocation captures 75 %, one rank 60 %; on held-out batches +12.0 (+5.0 to +18.0) points" in view.words[1]
    )


@pytest.mark.parametrize(
    ("verdict", "told"), [("uniform", "one rank is as good"), ("unknown", "the batches do not tell")]
)
def test_an_advice_that_abstains_says_so_and_shows_one_rank(verdict, told):
    view = AdviceExplorer(toy_advice(verdict), NOTHING).view((), 576)
    assert view.traces[MAP]["text"] == [["2", "2"]] * 3
    assert f"<b>{told}" in view.words[0]
    assert "ne rank for all" in view.layout["annotations[0].text"].lower()


def test_scores_are_those_of_the_same_method_and_layers_near_the_budget(explorer):
    canvas, told = explorer.canvas(), explorer.view((), 576).words[2]
    assert (list(canvas.data[BY_LAYER].x), list(canvas.data[ONE_RANK].x)) == ([560], [576])
    assert f"as measured</b> on toy (all training examples, 1 epoch): {BY_ENERGY}, 560" in told
    assert "LoRA r=2, 576 parameters: accuracy 80.0 % (3 seeds: 80.0, 80.0, 80.0)" in told
    assert "VeRA" not in told
    assert "99" not in told


def test_what_was_not_measured_is_not_predicted(explorer):
    told = explorer.view((), 1152).words[2]
    assert "not measured</b> at this budget; the nearest is LoRA r=2, 576 parameters" in told
    nothing = AdviceExplorer(toy_advice(), NOTHING)
    assert "not measured</b>, at this budget or another" in nothing.view((), 288).words[2]
    assert not nothing.canvas().layout.yaxis4.showticklabels


def test_both_faces_show_the_same_of_every_budget(runs):
    live = explore(AdviceExplorer(toy_advice(), runs), interactive=True)
    still = explore(AdviceExplorer(toy_advice(), runs), interactive=False)
    assert type(still) is go.Figure
    assert len(still.layout.sliders) == 1
    for step in still.layout.sliders[0].steps:
        live.slider.label = step.label
        traces, layout = step.args
        for i, trace in enumerate(live.figure.data):
            if i != MAP:
                assert _listed(traces["x"][i]) == _listed(trace.x)
        assert [list(row) for row in traces["text"][MAP]] == [list(row) for row in live.figure.data[MAP].text]
        words = next(value for name, value in layout.items() if name.endswith(".text") and "parameters" in value)
        assert words.replace("<br>", " ").startswith(live.words.value.replace("<br>", " "))


def _listed(values):
    return [] if values is None else list(values)


def test_runs_under_another_protocol_or_on_other_weights_are_not_the_score_to_expect(tiny_model, tmp_path):
    spec = dataclasses.replace(toy_advice().spec, model=tiny_model, epochs=2)
    now = IDENTITY | {"model": model_fingerprint(tiny_model)}
    with Store(tmp_path) as store:
        for number, (epochs, identity, accuracy) in enumerate(((2, now, 0.7), (3, now, 0.9), (2, IDENTITY, 0.8))):
            settings = dataclasses.replace(spec, epochs=epochs).settings()
            record = stored_record(store.folder, key_of(number), spec=settings, identity=identity)
            rows = metric_rows({"accuracy": accuracy, "f1": accuracy}, (0.1, accuracy, 0.2))
            sizes = {"backbone": 576, "head": 10, "total": 10_000}
            store.finish(dataclasses.replace(record, metrics=rows, parameters=sizes), "host:1:0.0:me")
        live = explore_advice(toy_advice(spec=spec), store=store, interactive=True)
    live.slider.index = 1
    assert "LoRA r=2, 576 parameters: accuracy 70.0 % (1 seed)" in live.words.value
    assert "90" not in live.words.value


NOTEBOOK = """import sys
sys.path.insert(0, {support!r})
from toy_advice import toy_advice
import dataclasses, vxlab
spec = dataclasses.replace(toy_advice().spec, model={model!r})
vxlab.explore_advice(toy_advice(spec=spec), store={store!r})"""


@pytest.mark.parametrize("dark", [False, True])
def test_in_jupyterlab_the_slider_moves_the_map_and_the_words(dark, tiny_model, tmp_path, lab, support):
    cell = NOTEBOOK.format(support=support, model=tiny_model, store=str(tmp_path / "none.db"))
    with lab.opened(cell, width=1000, height=1150, dark=dark) as tab:
        tab.run_all()
        tab.until("document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length > 1", timeout=60)
        for presses, (rank, budget) in enumerate(list(GRID.items())[:2]):
            tab.move_slider(presses=presses)
            tab.until(f"document.querySelector('.js-plotly-plot').data[4].x[0] === {budget}")
            shown = tab.page.evaluate("() => document.querySelector('.js-plotly-plot').data[0].text")
            assert shown == [[str(rank), str(2 * rank)]] * 2 + [["", str(2 * rank)]]
            assert f"ranks {rank} to {2 * rank} by layer, 1 layer left out" in tab.outputs()
        assert "not measured" in tab.outputs()
        tab.page.screenshot(path=tmp_path / "advice.png")
        width = "e => [e.offsetWidth, e._fullLayout.width]"
        page, drawn = tab.page.locator(".js-plotly-plot").first.evaluate(width)
        assert drawn <= page  # nothing is cut off


@pytest.fixture(scope="module")
def support():
    from places import SUPPORT

    return str(SUPPORT)
