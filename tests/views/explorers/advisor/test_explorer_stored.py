"""The advice explorer beside a store: only runs of the advice's own ranks are scores to expect; and its other edges."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from toy_advice import GRID, toy_advice
from toy_records import IDENTITY, key_of, metric_rows, stored_record

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.models.files import model_fingerprint
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored_scores import MEASURED_COLUMNS, Measured
from vxlab.views.explorers.advisor.explorer import AdviceExplorer
from vxlab.views.explorers.faces import explore

NOTHING = Measured(pd.DataFrame(columns=MEASURED_COLUMNS), "", "", 0)
MAP, DASHES, ALLOCATED, UNIFORM, RING = range(5)
GAIN_RING, BY_ENERGY, ONE_RANK = 8, 10, 11


@pytest.fixture
def explorer():
    return AdviceExplorer(toy_advice(), NOTHING)


def _spec(model, **changed):
    return dataclasses.replace(toy_advice().spec, model=str(model), **changed)


def _allocated(advice, budget):
    own = advice.at(budget)
    own = own[own["allocated"] > 0]
    return dict(zip(own["layer"], own["allocated"].astype(int), strict=True))


@pytest.fixture
def store(tmp_path, tiny_model):
    """Runs of the advice's own ranks, and others that are not: another allocation, method, target set and protocol."""
    advice = toy_advice(spec=_spec(tiny_model))
    own, budget = _allocated(advice, GRID[2]), GRID[2]
    other = own | {next(iter(own)): 7}
    all_of = [
        (vxlab.LoRA(rank=2), "all-linear", budget, 0.70, {}),
        (vxlab.LoRA(rank=4), "all-linear", GRID[4], 0.75, {}),
        (vxlab.LoRA(rank=own), tuple(own), budget - 16, 0.72, {}),
        (vxlab.LoRA(rank=other), tuple(other), budget - 16, 0.91, {}),
        (vxlab.VeRA(rank=64), "all-linear", budget, 0.92, {}),
        (vxlab.LoRA(rank=2), "query", budget, 0.93, {}),
        (vxlab.LoRA(rank=2), "all-linear", budget, 0.94, {"epochs": 9}),
    ]
    with Store(tmp_path / "runs.db") as store:
        for number, (method, targets, size, score, changed) in enumerate(all_of):
            spec = _spec(tiny_model, method=method, targets=targets, **changed)
            record = dataclasses.replace(
                stored_record(store.folder, key_of(number)), spec=spec.settings(),
                parameters={"backbone": size, "head": 10, "total": 10_000},
                metrics=metric_rows({"accuracy": score, "f1": score - 0.1}),
                identity=IDENTITY | {"model": model_fingerprint(tiny_model)},
            )  # fmt: skip
            store.finish(record, "host:1:0.0:me")
        yield store


def test_where_no_energy_is_told_from_noise_no_share_is_shown():
    advice = toy_advice("unknown")
    bare = advice.budgets.assign(
        **dict.fromkeys(("kept", "kept_uniform", "gain", "low", "high"), np.nan), verdict="unknown"
    )
    explorer = AdviceExplorer(dataclasses.replace(advice, budgets=bare), NOTHING)
    view = explorer.view((), GRID[2])
    assert view.traces[RING]["y"] == [None, None]
    assert "nan" not in " ".join(view.words)
    assert "none is told from noise" in view.words[1]
    assert explore(explorer, interactive=False).to_json()


def test_every_view_changes_the_traces_that_the_canvas_has(explorer):
    canvas = explorer.canvas()
    for _, budget in next(iter(explorer.offered().values())):
        view = explorer.view((), budget)
        assert len(view.traces) == len(canvas.data)
        assert set(view.layout) == {"shapes[0].x0", "shapes[0].x1", "annotations[0].text"}
        assert view.layout["shapes[0].x0"] == budget


def test_the_colours_of_ranks_mean_the_same_at_every_budget(explorer):
    most = max(value for row in explorer.view((), GRID[4]).traces[MAP]["z"] for value in row)
    assert most < explorer.canvas().data[MAP].zmax == pytest.approx(np.log2(1 + 8), abs=1e-3)


def test_only_the_advices_own_ranks_under_its_own_protocol_are_scores_to_expect(store, tiny_model):
    live = vxlab.explore_advice(toy_advice(spec=_spec(tiny_model)), store=store, interactive=True)
    live.slider.value = GRID[2]
    assert "<b>Score to expect, as measured</b> on rotten_tomatoes" not in live.words.value  # the toy's task is its own
    assert "<b>Score to expect, as measured</b> on toy" in live.words.value
    assert "LoRA r=2, 576 parameters: accuracy 70.0 %" in live.words.value
    assert "LoRA by layer" not in live.words.value
    assert "560 parameters: accuracy 72.0 %" in live.words.value
    for strange in ("91.0", "92.0", "93.0", "94.0"):
        assert strange not in live.words.value
    assert list(live.figure.data[BY_ENERGY].y) == [0.72]
    assert list(live.figure.data[ONE_RANK].y) == [0.70, 0.75]
    live.slider.value = GRID[1]
    assert "<b>Score to expect: not measured</b> at this budget; the nearest is LoRA r=2–4 by layer" in live.words.value


def test_nothing_measured_is_said_and_no_score_is_predicted(tiny_model, tmp_path):
    live = vxlab.explore_advice(toy_advice(spec=_spec(tiny_model)), store=tmp_path / "none.db", interactive=True)
    assert "<b>Score to expect: not measured</b>" in live.words.value
    assert "energy is no prediction of a score" in live.words.value
    assert not (tmp_path / "none.db").exists()


def test_another_metric_can_be_shown_and_an_unscored_one_is_refused(store, tiny_model):
    advice = toy_advice(spec=_spec(tiny_model))
    live = vxlab.explore_advice(advice, store=store, metric="f1", interactive=True)
    assert list(live.figure.data[ONE_RANK].y) == pytest.approx([0.60, 0.65])
    with pytest.raises(VxlabError, match="metric='bleu' was not scored on toy"):
        vxlab.explore_advice(advice, store=store, metric="bleu", interactive=True)


def test_a_deep_model_has_a_map_without_numbers_that_fits_a_page():
    advice = toy_advice()
    blocks = 48
    names = [(f"encoder.layer.{block}.{role}", block, role) for block in range(blocks) for role in ("query", "up")]
    layers = pd.DataFrame(names, columns=["layer", "block", "role"]).assign(
        out=16, energy_all=0.1, low=0.05, high=0.2, **{"in": 16}
    )
    ranks = pd.concat([
        pd.DataFrame({"budget": budget, "layer": layers["layer"], "allocated": rank, "uniform": rank,
                      "energy": 0.1, "energy_uniform": 0.1, "stability": 1.0})
        for rank, budget in GRID.items()
    ])  # fmt: skip
    deep = dataclasses.replace(advice, layers=layers, allocations=ranks)
    still = explore(AdviceExplorer(deep, NOTHING), interactive=False)
    assert still.data[MAP].texttemplate is None
    assert len(still.data[MAP].z[0]) == blocks
    assert len(still.to_json()) < 300_000


def test_it_works_in_a_page_without_a_kernel(explorer, tmp_path, browser):
    still = explore(explorer, interactive=False)
    still.write_html(tmp_path / "explorer.html", include_plotlyjs="directory", include_mathjax=False)
    page = browser.new_page(viewport={"width": 900, "height": 1000})
    page.goto((tmp_path / "explorer.html").as_uri())
    page.locator(".slider-label", has_text="576").click(force=True)
    page.wait_for_timeout(600)
    assert "ranks 2 to 4 by layer" in page.locator(".annotation-text").last.text_content()
    assert sorted(page.locator(".heatmaplayer .heatmap-label").all_text_contents()) == ["2", "2", "4", "4", "4"]
    page.locator(".slider-label", has_text="1,152").click(force=True)
    page.wait_for_timeout(600)
    assert "one rank is as good" in page.locator(".annotation-text").last.text_content()
    assert page.locator(".heatmaplayer .heatmap-label").all_text_contents() == ["4"] * 6
    assert page.evaluate("document.querySelector('.js-plotly-plot').data[4].y") == [0.9, 0.8]
    page.screenshot(path=tmp_path / "advice.png", full_page=True)
    page.close()
