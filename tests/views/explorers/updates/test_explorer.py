"""The update explorer: both faces show what the tables hold, of one run or of two."""

import dataclasses
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from toy_updates import moved_run

import vxlab
from vxlab.studies.updates.pairs import pair_table
from vxlab.studies.updates.table import update_tables
from vxlab.views.explorers.updates.explorer import explore_updates
from vxlab.views.explorers.widget import ExplorerWidget

METHODS = {
    "lora": vxlab.LoRA(rank=3), "vera": vxlab.VeRA(rank=5), "xs": vxlab.LoRAXS(rank=4),
    "lidb": vxlab.LiDB(rank=2, aux_out=20, aux_in=10), "d": vxlab.VeRA(rank=6, vectors="d"), "full": vxlab.Full(),
}  # fmt: skip
DETAIL = 4
"""Place of a run's own traces in the canvas of one run with two roles."""


@pytest.fixture(scope="module")
def runs(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: moved_run(folder / name, tiny_model, method, seed=i) for i, (name, method) in enumerate(METHODS.items())
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def _row(run, store, layer):
    return update_tables(run, store=store).layers.set_index("layer").loc[layer]


def _line(run, store, layer, what):
    points = update_tables(run, store=store).points
    return points[(points["layer"] == layer) & (points["what"] == what)]["value"].tolist()


@pytest.mark.parametrize("name", METHODS)
def test_a_layer_shows_its_own_numbers_in_figure_and_words(runs, store, name):
    live = explore_updates(runs[name], store=store, interactive=True)
    assert isinstance(live, ExplorerWidget)
    live.menus[0].value = "value"
    live.slider.label = "1"
    layer = live.slider.value
    assert layer == "bert.encoder.layer.1.attention.self.value"
    row = _row(runs[name], store, layer)
    roles = live.menus[0].options
    ring, spectrum = live.figure.data[len(roles) : len(roles) + 2]
    assert (ring.x[0], ring.y[0]) == (1, pytest.approx(row["relative_norm"], rel=1e-3))
    assert spectrum.y == pytest.approx(_line(runs[name], store, layer, "spectrum"), rel=1e-3)
    assert live.figure.data[-3].y == pytest.approx(_line(runs[name], store, layer, "similarity"), rel=1e-3)
    told = live.words.value
    assert f"<b>value, block 1</b> ({layer})" in told
    assert f"‖ΔW‖ is {row['relative_norm']:.2%} of ‖W‖; ΔW has rank {row['rank']}" in told
    assert "of the 10 leading left directions of W + ΔW" in told


@pytest.mark.parametrize(
    ("name", "whats", "names", "told"),
    [
        ("lora", ["outputs", "inputs"], ["rows (outputs)", "columns (inputs)"], "stable rank"),
        ("vera", ["d", "b"], ["|d|", "|b|"], "(0.224 before training), ‖b‖ = "),
        ("d", ["d"], ["|d|"], "(0 before training)."),
    ],
)
def test_each_family_shows_what_it_trained(runs, store, name, whats, names, told):
    live = explore_updates(runs[name], store=store, interactive=True)
    details = live.figure.data[DETAIL : DETAIL + len(whats)]
    assert [trace.name for trace in details] == names
    for trace, what in zip(details, whats, strict=True):
        assert trace.y == pytest.approx(_line(runs[name], store, live.slider.value, what), rel=1e-3)
    assert told in live.words.value


def test_a_layer_of_a_vera_with_ranks_by_layer_starts_from_its_own_rank(tiny_model, store, tmp_path):
    run = moved_run(tmp_path, tiny_model, vxlab.VeRA(rank={"query": 4, "value": 25}))
    live = explore_updates(run, store=store, interactive=True)
    for role, start in (("query", 0.2), ("value", 0.5)):
        live.menus[0].value = role
        assert f"({start} before training)" in live.words.value


def test_a_core_is_a_map_around_zero_with_its_scale_in_the_title(runs, store):
    live = explore_updates(runs["xs"], store=store, interactive=True)
    heat, row = live.figure.data[DETAIL], _row(runs["xs"], store, live.slider.value)
    assert (heat.type, heat.zmin, heat.zmax) == ("heatmap", -1, 1)
    assert np.ravel(heat.z) == pytest.approx(_line(runs["xs"], store, live.slider.value, "R"), abs=0.006)
    assert live.figure.layout.annotations[2].text == f"<b>R (±{row['core_largest']:.2g})</b>"
    assert f"R is 4 × 4: ‖R‖ = {row['core_norm']:.3g}" in live.words.value


def test_two_runs_stand_beside_each_other_with_cosine_and_overlap(runs, store):
    live = explore_updates(runs["xs"], runs["vera"], store=store, interactive=True)
    live.menus[0].value = "value"
    layer = live.slider.value
    pair = pair_table(runs["xs"], runs["vera"], store=store).set_index("layer").loc[layer]
    rings, spectra = live.figure.data[4:6], live.figure.data[6:8]
    for ring, spectrum, name in zip(rings, spectra, ("xs", "vera"), strict=True):
        assert ring.y[0] == pytest.approx(_row(runs[name], store, layer)["relative_norm"], rel=1e-3)
        assert spectrum.y == pytest.approx(_line(runs[name], store, layer, "spectrum"), rel=1e-3)
    assert [trace.name for trace in live.figure.data[8:]] == [None, "|d|", "|b|"]
    told = live.words.value
    assert f"cosine is {pair['cosine']:.3f}".replace("-", "−") in told
    assert f"(unrelated ones: 0 ± {pair['cosine_chance']:.2g})" in told
    assert f"overlap by {pair['columns']:.3f} (chance {pair['columns_chance']:.3f})" in told
    assert "Solid lines and filled marks: LoRA-XS r=4; dashed and hollow: VeRA r=5." in told


def test_runs_of_one_method_go_by_what_else_they_differ_in(runs, store, tiny_model, tmp_path):
    other = dataclasses.replace(runs["lora"], spec=runs["lora"].spec | {"seed": 7})
    live = explore_updates(runs["lora"], other, store=store, interactive=True)
    assert [trace.name for trace in live.figure.data[6:8]] == ["LoRA r=3, seed 0", "LoRA r=3, seed 7"]
    live = explore_updates(runs["lora"], runs["lora"], store=store, interactive=True)
    assert [trace.name for trace in live.figure.data[6:8]] == ["LoRA r=3 (first)", "LoRA r=3 (second)"]
    assert "cosine is 1.000" in live.words.value
    newer = dataclasses.replace(runs["lora"], identity=runs["lora"].identity | {"vxlab": "99"})
    live = explore_updates(runs["lora"], newer, store=store, interactive=True)
    assert live.figure.data[7].name == "LoRA r=3, versions vxlab 99"
    bottom = moved_run(tmp_path / "bottom", tiny_model, vxlab.LoRAXS(rank=4, basis="bottom"))
    live = explore_updates(runs["xs"], bottom, store=store, interactive=True)
    assert [trace.name for trace in live.figure.data[6:8]] == ["LoRA-XS r=4, basis top", "LoRA-XS r=4, basis bottom"]


def test_beside_full_fine_tuning_the_adapters_layers_are_shown(runs, store):
    live = explore_updates(runs["full"], runs["lora"], store=store, interactive=True)
    assert live.menus[0].options == ("query", "value")


@pytest.mark.parametrize("names", [("lora",), ("xs", "vera")])
def test_every_step_of_the_figure_shows_what_the_widgets_show(runs, store, names):
    chosen = [runs[name] for name in names]
    still = explore_updates(*chosen, store=store, interactive=False)
    live = explore_updates(*chosen, store=store, interactive=True)
    words = len(still.layout.annotations) - 1
    for slider, role in zip(still.layout.sliders, ("query", "value"), strict=True):
        live.menus[0].value = role
        for step in slider.steps:
            live.slider.label = step.label
            traces, layout = step.args
            for i, trace in enumerate(live.figure.data):
                if trace.type == "heatmap":
                    assert [list(row) for row in trace.z] == [list(row) for row in traces["z"][i]]
                else:
                    assert list(trace.y) == list(traces["y"][i])
            told = layout[f"annotations[{words}].text"]  # long lines are broken there
            assert told.replace("<br>", " ") == live.words.value.replace("<br>", " ")
            assert layout["annotations[2].text"] == live.figure.layout.annotations[2].text


def test_a_layer_that_did_not_move_is_said_in_words(runs, tiny_model, store, tmp_path):
    still = moved_run(tmp_path / "still", tiny_model, vxlab.LoRA(rank=3), far=0.0)
    assert "left this layer as it was: ΔW is zero" in explore_updates(still, store=store, interactive=True).words.value
    told = explore_updates(still, runs["lora"], store=store, interactive=True).words.value
    assert "an update of zero has no direction" in told
    page = explore_updates(still, store=store, interactive=False)
    assert "ΔW is zero" in page.layout.annotations[-1].text


def test_nobody_watching_gets_a_small_figure(runs, store):
    still = explore_updates(runs["xs"], store=store)
    assert type(still) is go.Figure
    assert len(json.dumps(still.to_dict(), default=list)) < 200_000


def test_a_figure_of_many_layers_offers_some_and_says_so(runs, store, monkeypatch):
    monkeypatch.setattr("vxlab.views.explorers.updates.explorer._VIEWS", 4)
    still = explore_updates(runs["full"], store=store, interactive=False)
    assert sum(len(slider.steps) for slider in still.layout.sliders) == 12  # two of each role at the least
    monkeypatch.setattr("vxlab.views.explorers.updates.explorer.update_tables", _many(runs["lora"], store))
    still = explore_updates(runs["lora"], store=store, interactive=False)
    assert "4 of 2000 layers can be chosen here, and all in a live notebook." in still.layout.annotations[-1].text
    assert [step.label for step in still.layout.sliders[0].steps] == ["0", "999"]
    live = explore_updates(runs["lora"], store=store, interactive=True)
    assert len(live.slider.options) == 1000


def _many(run, store):
    """Return what reads the tables of a model of a thousand blocks."""
    first = update_tables(run, store=store)
    query, value = first.layers["layer"][:2]

    def again(table):
        own = table[table["layer"].isin((query, value))]
        own = own.groupby(["layer", "what"]).head(5) if "what" in own else own
        return pd.concat(
            [own.assign(layer=own["layer"].str.replace(".0.", f".{i}."), **at(own, i)) for i in range(1000)]
        )

    def at(own, i):
        return {"block": i} if "block" in own else {}

    return lambda record, store: type(first)(*(again(table) for table in first))


def test_what_cannot_be_shown_is_refused_in_words(runs, store, tiny_model, tmp_path):
    with pytest.raises(vxlab.VxlabError, match="run is None, not a trained run; give what"):
        explore_updates(None, store=store)
    with pytest.raises(vxlab.VxlabError, match="other is of type str, not a trained run"):
        explore_updates(runs["lora"], "key", store=store)
    head = moved_run(tmp_path / "head", tiny_model, vxlab.Head())
    with pytest.raises(vxlab.VxlabError, match="trained no updates of weights that can be shown"):
        explore_updates(runs["lora"], head, store=store)
    diverged = dataclasses.replace(runs["lora"], status="diverged")
    with pytest.raises(vxlab.VxlabError, match="diverged, so its update says nothing; lower its learning rate"):
        explore_updates(diverged, store=store)


def test_in_jupyterlab_the_slider_moves_figure_and_numbers(runs, tmp_path, lab):
    folders = [str(runs[name].folder) for name in ("xs", "vera")]
    notebook = f"""
from pathlib import Path
import vxlab
first, second = (vxlab.RunRecord.load(Path(folder)) for folder in {folders!r})
shown = vxlab.explore_updates(first, second, store={str(tmp_path / "store")!r})
shown
"""
    layer = "bert.encoder.layer.1.attention.self.query"
    row = _row(runs["xs"], tmp_path / "store", layer)
    pair = pair_table(runs["xs"], runs["vera"], store=tmp_path / "store").set_index("layer").loc[layer]
    last = "print('ring:', shown.figure.data[4].y)"
    with lab.opened(notebook, last, width=1000, height=1250) as tab:
        tab.run_all()
        tab.until("document.body.innerText.includes('query, block 0')", timeout=60)
        line = "document.querySelectorAll('.js-plotly-plot .x2y2 path.js-line')[0]"
        tab.until(f"{line} != null", timeout=60)
        before = tab.page.evaluate(f"{line}.getAttribute('d')")
        tab.move_slider()
        tab.until("document.body.innerText.includes('query, block 1')")
        tab.until(f"{line}.getAttribute('d') !== {before!r}")
        shown = tab.page.locator("body").inner_text()
        assert f"‖ΔW‖ is {row['relative_norm']:.2%} of ‖W‖" in shown
        assert f"cosine is {pair['cosine']:.3f}".replace("-", "−") in shown
        tab.run_last()
        tab.until("document.body.innerText.includes('ring:')")
        assert f"ring: ({float(format(row['relative_norm'], '.4g'))},)" in tab.outputs()
        tab.page.screenshot(path=tmp_path / "updates.png")
