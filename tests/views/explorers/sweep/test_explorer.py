"""The sweep explorer: both faces show the same of every candidate; filters, curves, exports; stores of all kinds."""

import dataclasses
import json
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import toy_records
import toy_tables as toy
from pages import chromium

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.candidates.held_out import HeldOut
from vxlab.experiments.record import RunRecord
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored import SweepTables, stored_sweeps
from vxlab.views.explorers.faces import explore
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.explorers.sweep.faces import explore_sweep
from vxlab.views.explorers.sweep.widget import SweepWidget
from vxlab.views.explorers.sweep.words import choices

ME = "host:1:0.0:me"
TRUTH = np.arange(200) % 2


def test_ranks_by_layer_are_chosen_by_their_candidates_names():
    names = ["LoRA r=1–8 by layer (aaaaaa)", "LoRA r=8", "head only"]
    table = pd.DataFrame(
        {"candidate": names, "rank": [None, 8, None], "method": ["LoRA by layer", "LoRA", "head only"]}
    )
    assert choices(table.astype({"rank": "Int64"})) == {
        "LoRA by layer": [(names[0], names[0])], "LoRA": [("r=8", names[1])], "head only": [("no rank", names[2])],
    }  # fmt: skip


def record(row, folder=Path()):
    """Return the record that a row of the toy table was made from."""
    lost = row["status"] != "finished"
    losses = [0.7, 6.0, float("nan")] if lost else [0.7, 0.6, 0.5, 0.4]
    rows = [] if lost else toy_records.metric_rows({"accuracy": row["test"]}, (0.7, 0.8))
    fields = {name: 0 for name in RunRecord.__dataclass_fields__ if name != "folder"} | {
        "key": row["key"], "status": row["status"], "spec": {"seed": row["seed"], "epochs": 2}, "best_epoch": 2,
        "curve": toy_records.curve(losses), "metrics": rows, "task": {"metrics": ["accuracy"]},
    }  # fmt: skip
    return RunRecord(**fields, folder=folder)


def tables(**changed):
    runs = toy.runs()
    records = {row["key"]: record(row) for row in runs.to_dict("records")}
    whole = SweepTables(
        "rotten_tomatoes, minilm", "rotten_tomatoes", "accuracy", HeldOut(200, 0.58), runs, toy.tuning(), toy.summary(),
        toy.pairs(), records,
    )  # fmt: skip
    return whole._replace(**changed)


@pytest.fixture(scope="module")
def explorer():
    return SweepExplorer([tables()], {})


@pytest.fixture
def live(explorer):
    return SweepWidget(explorer)


@pytest.fixture(scope="module")
def few():
    """Return an explorer of six candidates, at every cost."""
    summary = toy.summary()
    few = summary[summary["rank"].isna() | summary["candidate"].isin(["LoRA r=1", "LoRA r=16", "VeRA r=1024"])]
    return SweepExplorer([tables(summary=few)], {}, most=160)


@pytest.fixture(scope="module")
def still(few):
    return explore(few, interactive=False)


def _named(figure, name):
    return next(trace for trace in figure.data if trace.name == name and (trace.mode or "").startswith("line"))


def _choose(live, method, said):
    live.menus[0].value = method
    live.slider.index = [label for label, _ in live.slider.options].index(said)


def put(store, number, logits, **changed):
    """Put a finished run with these predictions into a store."""
    key = toy_records.key_of(number)
    fields = {"identity": toy_records.IDENTITY, "task_metrics": ("accuracy",), **changed}
    done = toy_records.run_record(store.folder_of(key), logits, TRUTH, key=key, **fields)
    done.save()
    store.finish(done, ME)


def fill(folder, ranks=(1, 8), rates=(1e-3, 1e-2), seeds=(0, 1, 2)):
    """Return a store of LoRA and VeRA as a fair sweep leaves it: rates tried at seed 0, the better on the others."""
    random, number = np.random.RandomState(0), 0
    with Store(folder) as store:
        for cls, size, least in ((vxlab.LoRA, 1000, 0.75), (vxlab.VeRA, 100, 0.6)):
            for rank in ranks:
                for rate, seed in [(rate, 0) for rate in rates] + [(rates[-1], seed) for seed in seeds[1:]]:
                    good = least + 0.01 * rank + 0.05 * (rate == rates[-1])
                    logits = toy_records.logits_with(random.rand(len(TRUTH)) < good, TRUTH)
                    own = toy_records.metric_rows({"accuracy": float((logits.argmax(1) == TRUTH).mean())}, (0.7, good))
                    spec = toy_records.toy_spec(
                        method=cls(rank=rank), learning_rate=rate, seed=seed, model="minilm", task="rotten_tomatoes"
                    )
                    sizes = {"backbone": size * rank, "head": 770, "total": 22_500_000}
                    put(store, number, logits, spec=spec, metrics=own, parameters=sizes)
                    number += 1
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("kept"))


def test_menus_offer_every_candidate_by_method_and_cost(explorer):
    offered = explorer.offered()
    assert {cost for _, cost in offered} == {"parameters", "bytes", "step time", "peak memory"}
    assert [said for said, _ in offered["VeRA", "bytes"]] == ["r=1", "r=16", "r=256", "r=1024"]
    assert {name for stops in offered.values() for _, name in stops} == set(toy.summary()["candidate"])


def test_candidates_of_one_rank_are_told_apart_by_their_names():
    summary = toy.summary()
    both = summary.query("candidate == 'VeRA r=16'").assign(candidate="VeRA r=16, mlp")
    offered = choices(pd.concat([summary, both]))["VeRA"]
    assert ("VeRA r=16, mlp", "VeRA r=16, mlp") in offered
    assert ("VeRA r=16", "VeRA r=16") in offered
    assert ("r=256", "VeRA r=256") in offered


def test_a_choice_shows_score_price_and_verdicts_in_words(explorer):
    view = explorer.view(("VeRA", "parameters"), "VeRA r=256")
    rows = view.table.set_index("candidate")
    own = rows.loc["VeRA r=256"]
    assert own["test accuracy, mean"] == "0.800 (3 seeds: 0.808, 0.801, 0.791)"
    assert (own["parameters"], own["bytes"], own["step, ms"], own["peak, MiB"]) == ("7,680", "35,000", "237", "896")
    assert own["verdict"] == ""
    assert rows.loc["head only", "verdict"] == "this one is better"
    assert rows.loc["full fine-tuning", "verdict"] == "this one is worse"
    assert rows.loc["LoRA r=1", "verdict"] == "not told apart"
    assert rows.loc["full fine-tuning", "this − that, points (95 %)"].startswith("−")
    assert rows.loc["VeRA r=1024", "test accuracy, mean"].endswith(", 1 not finished")
    assert view.words[0] == "<b>VeRA r=256</b>: mean test accuracy 0.800 (3 seeds: 0.808, 0.801, 0.791)."
    assert view.words[1] == "On the front: nothing shown scores as high for less (parameters)."
    assert all(len(line) <= 120 for line in view.words)


def test_without_a_kernel_every_row_of_the_table_has_room_for_the_seeds_scores(explorer):
    figure = explore(explorer, interactive=False)
    layout, (bottom, top) = figure.layout, figure.data[-1].domain.y
    views = [explorer.view(choice, stop) for choice, stops in explorer.offered().items() for _, stop in stops]
    lines = max(len(textwrap.wrap(cell, 18)) for cell in views[0].table["test accuracy, mean"])
    assert lines == 3
    rows = max(len(view.table) for view in views)
    assert (top - bottom) * (layout.height - layout.margin.t - layout.margin.b) >= rows * 18 * lines


def test_a_correlations_differences_are_not_in_points():
    view = SweepExplorer([tables(metric="matthews")], {}).view(("VeRA", "bytes"), "VeRA r=256")
    assert view.table.set_index("candidate").loc["full fine-tuning", "this − that (95 %)"].startswith("−0.0")


def test_words_say_what_beats_a_candidate_and_how_its_rate_was_chosen(explorer):
    beaten = " ".join(explorer.view(("LoRA", "parameters"), "LoRA r=1").words)
    assert "Not on the front (parameters): VeRA r=256 has 0.800 for no more." in beaten
    assert "1 of the tuning runs did not finish" in beaten
    edge = " ".join(explorer.view(("LoRA-XS", "parameters"), "LoRA-XS r=4").words)
    assert "Learning rate 0.02, of 4 tried, the highest tried: a better one may be higher." in edge


def test_what_is_not_shown_to_beat_the_trivial_answer_says_so(explorer):
    said = " ".join(explorer.view(("head only", "parameters"), "head only").words)
    assert "Not shown to beat the trivial answer (most frequent class: 0.580)." in said
    assert "On no front: it is not shown to beat the trivial answer." in said
    assert not any("trivial" in line for line in explorer.view(("VeRA", "parameters"), "VeRA r=256").words)


def test_moving_the_slider_shows_that_rank(live):
    _choose(live, "VeRA", "r=256")
    assert live.slider.value == "VeRA r=256"
    assert "35,000" in live.table.value
    assert "<td>VeRA r=256</td>" in live.table.value.split("</tr>")[1]
    ring = next(trace for trace in live.figure.data if trace.name == "chosen, and what it is beside")
    score = toy.summary().set_index("candidate").loc["VeRA r=256", "mean"]
    assert (ring.x[0], ring.y[0]) == (7_680, pytest.approx(score, abs=1e-4))
    assert ring.marker.size[0] > ring.marker.size[1]
    assert live.figure.layout.annotations[0].text == "<b>VeRA r=256</b>, training loss, 3 runs"


def test_the_front_is_what_nothing_beats_at_the_chosen_cost(live):
    live.menus[1].value = "bytes"
    front, summary = _named(live.figure, "front: nothing scores as high for less"), toy.summary()
    chosen = summary[vxlab_front(summary, "bytes_stored")].sort_values("bytes_stored")
    chosen = chosen[chosen["candidate"] != "full fine-tuning"]  # a line, far beyond the axis
    assert list(front.y[:-1]) == pytest.approx(list(chosen["mean"]), abs=1e-4)
    assert list(front.x[:-1]) == pytest.approx(list(chosen["bytes_stored"]), rel=1e-4)
    assert live.figure.layout.xaxis.title.text.startswith("bytes")


@pytest.mark.parametrize("cost", ["step time", "peak memory"])
def test_what_was_measured_beside_other_runs_has_no_front(live, cost):
    live.menus[1].value = cost
    assert len(_named(live.figure, "front: nothing scores as high for less").x) == 0
    assert live.figure.layout.xaxis.title.text.endswith(", beside other runs")
    assert f"No front of {cost}: it was measured beside other runs" in live.words.value


def vxlab_front(summary, cost):
    from vxlab.experiments.candidates.pareto import pareto_front

    return pareto_front(summary, cost=cost)


def test_what_has_no_place_among_the_parameters_is_a_line_and_has_a_point_among_the_bytes(live):
    level = next(trace for trace in live.figure.data if trace.name == "head only: 0.601")
    point = _named(live.figure, "head only")
    assert (len(level.x), len(point.x)) == (2, 0)
    live.menus[1].value = "bytes"
    assert (len(level.x), list(point.x)) == (0, [4280])


def test_curves_are_those_of_the_reported_runs(live):
    _choose(live, "LoRA", "r=4")
    loss, lost, validation, kept_epochs = live.figure.data[-8:-4]
    assert loss.x.count(None) == len(toy.SEEDS) - 1
    assert list(loss.y[:4]) == [0.7, 0.6, 0.5, 0.4]
    assert list(validation.x[:2]) == [20, 40]
    assert list(kept_epochs.y) == [0.8] * 3
    assert len(lost.x) == 0
    _choose(live, "VeRA", "r=1024")
    assert list(lost.y[:2]) == [0.7, 6.0]
    assert "1 diverged" in live.figure.layout.annotations[0].text


def test_the_tuning_panel_marks_the_chosen_rate_edges_and_what_was_lost(live):
    line, others, ring, crosses = live.figure.data[-4:]
    _choose(live, "LoRA", "r=64")
    assert list(line.x) == list(toy.RATES["LoRA"][:3])
    assert list(crosses.x) == [8e-3]
    assert crosses.y[0] < min(line.y)
    _choose(live, "LoRA-XS", "r=4")
    assert (list(ring.x), list(ring.marker.symbol)) == ([2e-2], ["triangle-right-open"])
    assert len(others.x) == 0
    assert list(live.figure.layout.xaxis3.tickvals) == list(toy.RATES["LoRA-XS"])


def test_papers_are_hollow_marked_and_have_their_own_place_in_the_legend():
    live = SweepWidget(SweepExplorer([tables()], {"rotten_tomatoes, minilm": _rte()}))
    names = {trace.name: trace for trace in live.figure.data if (trace.name or "").startswith("published")}
    assert {"published", "published [recalled, not verified]"} <= set(names)
    assert len({trace.legendgroup for trace in names.values()}) == len(names)
    recalled = names["published [recalled, not verified]"]
    assert all(symbol.endswith("-open") for symbol in recalled.marker.symbol)
    assert all("[recalled, not verified]" in told for told in recalled.hovertext)
    assert "RoBERTa-large; rte" in live.figure.layout.annotations[3].text
    live.menus[1].value = "bytes"
    assert len(recalled.x) == 0


def _rte():
    from vxlab.studies.published import published_table

    return published_table("glue").query("task == 'rte' and model == 'RoBERTa-large' and method != 'full'")


def test_filters_hide_candidates_and_say_how_many_runs_are_shown(live):
    assert live.filters.titles == ("Filter runs: all 60 runs shown",)
    _tick(live, "method", "LoRA", False)
    assert live.filters.titles == ("Filter runs: 44 of 60 runs shown",)
    assert "LoRA" not in live.menus[0].options
    assert len(_named(live.figure, "LoRA").x) == 0
    assert set(live.runs["method"]) == {"VeRA", "LoRA-XS", "DoRA (PEFT)", "head only", "full fine-tuning"}
    live.filters.ranks.value = (16, 1024)
    assert set(live.runs["rank"].dropna()) == {16, 32, 256, 1024}
    assert "head only" in live.menus[0].options


def test_what_a_filter_hides_changes_no_score(live):
    _choose(live, "VeRA", "r=1024")
    before = live.words.value.split(" of ")[0]
    for box in live.filters.boxes["status"]:
        box.value = box.description == "diverged"
    assert live.choice[0] == "VeRA"
    assert live.words.value.split(" of ")[0] == before
    assert "1 of 60 runs" in live.words.value


def test_filters_that_nothing_passes_leave_the_figure_and_say_so(live):
    for box in live.filters.boxes["status"][1:]:
        box.value = False
    shown = live.words.value
    live.filters.boxes["status"][0].value = False
    assert "no run passes" in live.filters.titles[0]
    assert live.words.value == shown
    live.slider.index = 1
    assert live.words.value != shown


def _tick(live, kind, name, value):
    next(box for box in live.filters.boxes[kind] if box.description == name).value = value


def _event(live, kind, name, point):
    place = next(i for i, trace in enumerate(live.figure.data) if trace.name == name)
    points = {"trace_indexes": [place], "point_indexes": [point], "xs": [0], "ys": [0]}
    live.figure._js2py_pointsCallback = {"event_type": kind, "points": points}


def test_pointing_shows_a_candidates_curves_until_the_pointer_leaves_and_a_click_chooses_it(live):
    loss = live.figure.data[-8]
    before = loss.line.color
    _event(live, "plotly_hover", "VeRA", 2)
    assert live.figure.layout.annotations[0].text.startswith("<b>VeRA r=256</b>")
    assert loss.line.color != before
    assert live.slider.value == "LoRA r=1"
    _event(live, "plotly_unhover", "VeRA", 2)
    assert live.figure.layout.annotations[0].text.startswith("<b>LoRA r=1</b>")
    assert loss.line.color == before
    _event(live, "plotly_click", "VeRA", 2)
    assert (live.choice[0], live.slider.value) == ("VeRA", "VeRA r=256")
    assert live.words.value.startswith("<b>VeRA r=256</b>")


def test_the_selection_is_written_as_csv_and_its_place_is_said(live, tmp_path, monkeypatch):
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    _tick(live, "method", "LoRA", False)
    live.exports.children[0].click()
    (written,) = (tmp_path / "exports").glob("*.csv")
    assert str(written) in live.saved.value
    assert list(pd.read_csv(written)["key"]) == list(live.runs["key"])


def test_a_figure_is_drawn_as_svg_where_there_is_a_browser(live, tmp_path, monkeypatch):
    chromium()
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    live.exports.children[2].click()
    (written,) = (tmp_path / "exports").glob("*.svg")
    assert "LoRA r=1" in written.read_text(encoding="utf-8")


def test_without_a_browser_no_image_is_drawn_and_one_line_says_so(live, tmp_path, monkeypatch):
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    live.exports.children[1].click()
    assert live.saved.value.startswith("drawing a PNG needs a Chromium or Chrome on this machine: ")
    assert not (tmp_path / "exports").exists()


def test_a_folder_that_cannot_be_written_is_told(live, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path / "file"))
    live.exports.children[0].click()
    assert "cannot be written" in live.saved.value


def test_both_faces_say_the_same(still, few):
    live = SweepWidget(few)
    for slider, (choice, stops) in zip(still.layout.sliders, live._explorer.offered().items(), strict=True):
        live.menus[0].value, live.menus[1].value = choice
        for step, (said, name) in zip(slider.steps, stops, strict=True):
            live.slider.value = name
            assert step.label == said
            traces, layout = step.args
            assert traces["cells.values"][-1][1][0] == f"<b>{name}</b>"
            assert "<br>".join(live._explorer.view(choice, name).words) == live.words.value
            for path in ("x", "y"):
                for one, other in zip(traces[path], live.figure.data, strict=False):
                    assert list(one or ()) == list(other[path] or ())
            words = next(value for path, value in layout.items() if str(value).startswith(f"<b>{name}</b>: mean test"))
            assert words.replace("<br>", " ") == live.words.value.replace("<br>", " ")


def test_nobody_watching_gets_the_figure_and_it_stays_small(still, kept):
    assert type(explore_sweep(kept)) is go.Figure
    assert len(still.to_json()) < 900_000


def test_a_large_sweep_without_a_kernel_has_one_cost_and_says_so():
    small = SweepExplorer([tables()], {}, most=20)
    assert {cost for _, cost in small.offered()} == {"parameters"}
    assert any("in JupyterLab" in line for line in small.view(("LoRA", "parameters"), "LoRA r=1").words)
    few = SweepExplorer([tables()], {}, most=6)
    assert sum(map(len, few.offered().values())) <= 6
    assert "candidates more: in JupyterLab" in few.view(("LoRA", "parameters"), "LoRA r=1").words[-1]


def test_a_store_is_read_as_the_fair_sweep_that_filled_it(kept):
    with Store(kept) as store:
        (sweep,) = stored_sweeps(store)
    assert sweep.name == "rotten_tomatoes, minilm"
    assert list(sweep.summary["candidate"]) == ["LoRA r=1", "LoRA r=8", "VeRA r=1", "VeRA r=8"]
    assert set(sweep.summary["n"]) == {2}
    reported = sweep.runs[sweep.runs["stage"] == "report"]
    assert (set(reported["seed"]), set(reported["learning_rate"])) == ({1, 2}, {1e-2})
    chosen = sweep.tuning[sweep.tuning["chosen"]]
    assert set(chosen["learning_rate"]) == {1e-2}
    assert len(sweep.pairs) == 6
    assert sweep.notes == ()


def test_candidates_of_one_label_in_a_store_show_what_differs(tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        for number, basis in enumerate(("top", "bottom")):
            spec = toy_records.toy_spec(method=vxlab.LoRAXS(rank=8, basis=basis), epochs=2 + number)
            put(store, number, logits, spec=spec)
        (sweep,) = stored_sweeps(store)
    assert set(sweep.summary["candidate"]) == {"LoRA-XS r=8, epochs=2", "LoRA-XS r=8, epochs=3, basis=bottom"}
    assert set(sweep.summary["method"]) == {"LoRA-XS, epochs=2", "LoRA-XS, epochs=3, basis=bottom"}
    assert sweep.notes == ("Not like with like: these runs differ in epochs 2 and 3.",)


def test_methods_in_a_store_that_wrote_otherwise_are_not_taken_for_alike(tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        for number, (method, how) in enumerate({vxlab.LoRA(rank=8): {}, vxlab.VeRA(rank=8): {"num_beams": 4}}.items()):
            put(store, number, logits, spec=toy_records.toy_spec(method=method, **how))
        (sweep,) = stored_sweeps(store)
    assert list(sweep.summary["candidate"]) == ["LoRA r=8", "VeRA r=8"]
    assert sweep.notes == ("Not like with like: these runs differ in num beams 1 and 4.",)


def _both(folder, **other):
    """Return a store of three runs, and of three more of the same names with another identity."""
    with Store(folder) as store:
        for number in range(6):
            logits = toy_records.logits_with(np.arange(len(TRUTH)) < (120 if number < 3 else 180), TRUTH)
            own = toy_records.metric_rows({"accuracy": float((logits.argmax(1) == TRUTH).mean())})
            identity = toy_records.IDENTITY | (other if number > 2 else {})
            put(store, number, logits, spec=toy_records.toy_spec(seed=number % 3), metrics=own, identity=identity)
    return folder


@pytest.mark.parametrize(
    ("other", "told"), [({"model": "ffff"}, "weights ffff"), ({"task": "eeee accuracy"}, "data eeee")]
)
def test_other_weights_or_data_of_one_name_are_a_sweep_of_their_own(tmp_path, other, told):
    with Store(_both(tmp_path, **other)) as store:
        sweeps = {sweep.name: sweep for sweep in stored_sweeps(store)}
        menu = explore_sweep(store, interactive=True).menus[0].options
    assert [sweep.summary["n"].tolist() for sweep in sweeps.values()] == [[3], [3]]
    assert sorted(sweep.summary["median"].iloc[0] for sweep in sweeps.values()) == [0.6, 0.9]
    assert f"rotten_tomatoes, minilm, {told}" in sweeps
    assert len(menu) == 2


@pytest.mark.parametrize(
    ("other", "told", "note"),
    [
        ({"precision": "bfloat16"}, "precision=auto (bfloat16)", "precision bfloat16 (3 runs) and float32"),
        ({"vxlab": "2.0"}, "vxlab=2.0", "vxlab 1.0 (3 runs) and 2.0 (3 runs)"),
        ({"peft": "0.18"}, "peft=0.18", ""),
    ],
)
def test_another_precision_or_version_is_another_candidate(tmp_path, other, told, note):
    with Store(_both(tmp_path, **other)) as store:
        (sweep,) = stored_sweeps(store)
    assert sweep.summary["n"].tolist() == [3, 3]
    assert f"LoRA r=8, {told}" in list(sweep.summary["candidate"])
    assert len(sweep.pairs) == 1
    assert any(note in each for each in sweep.notes) or not note


def test_runs_of_one_candidate_by_two_versions_of_torch_are_not_pooled_in_silence(tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        for number, version in enumerate(("2.11.0", "2.13.0", "2.13.0")):
            put(store, number, logits, spec=toy_records.toy_spec(seed=number), versions={"torch": version})
        (sweep,) = stored_sweeps(store)
        said = explore_sweep(store, interactive=True).words.value.replace("<br>", " ")
    told = "Not all of these 3 runs were computed alike: torch 2.11.0 (1 run) and 2.13.0 (2 runs)."
    assert sweep.notes == (told,)
    assert told in said


def test_where_the_data_lay_makes_no_candidate(tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        for number, folder in enumerate(("/here", "/there")):
            put(store, number, logits, spec=toy_records.toy_spec(task="rte", task_folder=folder, seed=number))
        (sweep,) = stored_sweeps(store)
    assert sweep.summary["n"].tolist() == [2]


@pytest.mark.parametrize(
    ("identity", "names"), [({}, ["mine, minilm", "mine, minilm (2)"]), (toy_records.IDENTITY, ["mine, minilm"])]
)
def test_folders_of_one_name_are_one_sweep_where_they_are_known_to_hold_the_same(identity, names, tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        for number, place in enumerate(("/a/mine", "/b/mine")):
            put(store, number, logits, spec=toy_records.toy_spec(task=place, seed=number), identity=identity)
        assert sorted(sweep.name for sweep in stored_sweeps(store)) == names
        if len(names) > 1:
            assert len(explore_sweep(store, interactive=True).menus[0].options) == 2


def test_allocations_over_many_layers_have_short_names_and_are_joined_by_no_line(tmp_path):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    layers = [f"encoder.layer.{i}.attention.query" for i in range(40)]
    with Store(tmp_path) as store:
        for number in range(2):
            ranks = {name: 1 + number + i % 4 for i, name in enumerate(layers[number:])}
            spec = toy_records.toy_spec(method=vxlab.LoRA(rank=ranks), targets=tuple(ranks))
            put(store, number, logits, spec=spec)
        (sweep,) = stored_sweeps(store)
        still = explore_sweep(store, interactive=False)
    assert sweep.summary["candidate"].nunique() == 2
    assert max(len(trace.name or "") for trace in still.data) < 60
    assert _named(still, "LoRA by layer").x[1] is None


def test_a_store_without_report_runs_says_that_the_scores_flatter(tmp_path):
    with Store(fill(tmp_path, ranks=(8,), seeds=(0,))) as store:
        live = explore_sweep(store, interactive=True)
    assert "Reported runs also chose the rate, which flatters: LoRA r=8 and VeRA r=8." in (
        live.words.value.replace("<br>", " ")
    )


@pytest.mark.parametrize("interactive", [True, False])
def test_an_empty_store_says_what_to_do(tmp_path, interactive):
    face = explore_sweep(tmp_path, interactive=interactive)
    said = face.words.value if interactive else face.layout.annotations[0].text
    assert "has no runs yet" in said
    assert "vxlab.compare" in said
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_runs_that_have_not_ended_says_so(tmp_path):
    with Store(tmp_path) as store:
        store.lease(toy_records.key_of(1), toy_records.toy_spec(), toy_records.IDENTITY, ME, failed_before=None)
        store.fail(toy_records.key_of(1), ME, "out of memory", "")
        live = explore_sweep(store, interactive=True)
    assert "has no run that ended yet (1 failed)" in live.words.value


@pytest.mark.parametrize("interactive", [True, False])
def test_one_candidate_is_shown_alone(tmp_path, interactive):
    with Store(tmp_path) as store:
        put(
            store,
            0,
            toy_records.logits_with(TRUTH == 1, TRUTH),
            spec=toy_records.toy_spec(),
            task_metrics=("accuracy",),
        )
        face = explore_sweep(store, interactive=interactive)
    said = face.words.value if interactive else face.layout.annotations[-1].text
    assert "<b>LoRA r=8</b>: test accuracy 0.500" in said
    assert "the only one tried: not tuned" in said


@pytest.mark.parametrize("interactive", [True, False])
def test_diverged_runs_alone_are_told_in_words_and_curves(tmp_path, interactive):
    logits = toy_records.logits_with(TRUTH == 1, TRUTH)
    with Store(tmp_path) as store:
        like = toy_records.run_record(
            tmp_path / "like", logits, TRUTH, spec=toy_records.toy_spec(), task_metrics=("accuracy",)
        )
        for number in range(2):
            key, spec = toy_records.key_of(number), toy_records.toy_spec(seed=number)
            lost = toy_records.diverged_record(store.folder_of(key), like, spec=spec, identity=toy_records.IDENTITY)
            store.finish(RunRecord(**{**vars(lost), "key": key}), ME)
        face = explore_sweep(store, interactive=interactive)
    said = face.words.value if interactive else face.layout.annotations[-1].text
    assert "<b>LoRA r=8</b>: test accuracy none: no run finished" in said
    title = "<b>LoRA r=8</b>, training loss, 2 runs, 2 diverged (dotted)"
    assert (
        face.layout.annotations[0].text == title if not interactive else face.figure.layout.annotations[0].text == title
    )


def test_several_tasks_are_several_sweeps_of_one_menu(tmp_path):
    with Store(tmp_path) as store:
        for number, task in enumerate(("rotten_tomatoes", "sst2")):
            spec = toy_records.toy_spec(task=task, model="minilm")
            put(store, number, toy_records.logits_with(TRUTH == 1, TRUTH), spec=spec)
        live = explore_sweep(store, interactive=True)
        still = explore_sweep(store, interactive=False)
    assert live.menus[0].options == ("rotten_tomatoes, minilm", "sst2, minilm")
    live.menus[0].value = "sst2, minilm"
    assert live.slider.value == "LoRA r=8"
    assert "sst2" in live.figure.layout.annotations[3].text  # the papers have this task
    labels = [button.label for button in still.layout.updatemenus[0].buttons]
    assert "sst2, minilm, LoRA, parameters" in labels


def test_what_is_no_sweep_is_refused_by_name(kept, tmp_path):
    with pytest.raises(VxlabError, match=r"result_or_store is a DataFrame; give what vxlab\.compare returned"):
        explore_sweep(toy.summary())
    with pytest.raises(VxlabError, match=r"none\.db': there is no such store"):
        explore_sweep(tmp_path / "none.db")
    with pytest.raises(VxlabError, match="paper='rotten' is not a task of the papers' GLUE tables: sst2, "):
        explore_sweep(kept, paper="rotten")


def test_a_comparison_is_shown_with_the_records_that_lie_here(kept):
    with Store(kept) as store:
        (sweep,) = stored_sweeps(store)
    fair = vxlab.FairSweep(candidates=[vxlab.LoRA(rank=1)])
    result = vxlab.Comparison(fair, "accuracy", sweep.held_out, sweep.runs, sweep.tuning, sweep.summary, sweep.pairs)
    live = explore_sweep(result, interactive=True)
    score = result.summary["mean"].iloc[0]
    assert f"<b>LoRA r=1</b>: mean test accuracy {score:.3f}" in live.words.value
    assert [each for each in live.figure.data[-8].y if each is not None] == [0.7, 0.6, 0.5, 0.45, 0.4, 0.42] * 2
    gone = dataclasses.replace(result, runs=result.runs.assign(folder="/nowhere"))
    title = explore_sweep(gone, interactive=False).layout.annotations[0].text
    assert title == "<b>LoRA r=1</b>, no learning curves here"
    kept_there = dataclasses.replace(gone, records=sweep.records)
    assert "2 runs" in explore_sweep(kept_there, interactive=False).layout.annotations[0].text


TITLE = "document.querySelector('.js-plotly-plot').layout.annotations[0].text"
NOTEBOOK = """\
%env VXLAB_REPORTS={reports}
import vxlab
vxlab.explore_sweep({store!r})"""


def test_in_jupyterlab_the_slider_a_click_and_a_filter_move_figure_and_numbers(kept, tmp_path, lab):
    with Store(kept) as store:
        (sweep,) = stored_sweeps(store)
    scores = sweep.summary.set_index("candidate")["mean"]
    cell = NOTEBOOK.format(store=str(kept), reports=tmp_path / "reports")
    with lab.opened(cell, width=1000, height=1250) as tab:
        tab.run_all()
        tab.until("document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length > 4", timeout=60)
        for presses, name in ((0, "LoRA r=1"), (1, "LoRA r=8")):
            tab.move_slider(presses=presses)
            _until_it_shows(tab, name, scores[name])
        _point_at(tab, "VeRA")
        tab.until(f"{TITLE}.includes('VeRA r=1')")
        tab.page.mouse.move(5, 5)
        tab.until(f"{TITLE}.includes('LoRA r=8')")
        _click_at(tab, "VeRA")
        _until_it_shows(tab, "VeRA r=1", scores["VeRA r=1"])
        tab.page.get_by_text("Filter runs: all 16 runs shown").click()
        tab.page.get_by_label("LoRA", exact=True).click()
        tab.until("document.body.innerText.includes('8 of 16 runs shown')")
        tab.page.get_by_role("button", name="runs as CSV").click()
        tab.until("document.body.innerText.includes('written: ')")
        tab.page.screenshot(path=tmp_path / "sweep.png")
        overflow = "e => e.scrollWidth - e.clientWidth"
        assert tab.page.locator(".jp-OutputArea-output").first.evaluate(overflow) <= 1
    (written,) = (tmp_path / "reports" / "exports").glob("*.csv")
    assert set(pd.read_csv(written)["label"]) == {"VeRA r=1", "VeRA r=8"}


def _until_it_shows(tab, name, score):
    """Wait until words, the ring and the curves' title are a candidate's."""
    said = json.dumps(f"{name}: mean test accuracy {score:.3f}")
    tab.until(f"document.body.innerText.includes({said})")
    ring = "data.find(t => (t.name ?? '').startsWith('chosen')).y[0]"
    tab.until(f"Math.abs(document.querySelector('.js-plotly-plot').{ring} - {score}) < 1e-3")
    tab.until(f"{TITLE}.includes({json.dumps(name)})")


def _click_at(tab, name):
    """Click at the first point of a series, as a reader does: again, where a click fell into a redraw."""
    for seconds in (5, 5, 20):
        _point_at(tab, name)
        tab.until(f"{TITLE}.includes('{name} r=1')")
        tab.page.mouse.down()
        tab.page.mouse.up()
        try:
            tab.until(f"document.body.innerText.includes('{name} r=1: mean test accuracy')", timeout=seconds)
            break
        except Exception as error:  # playwright's, which may not be installed
            if type(error).__name__ != "TimeoutError" or seconds == 20:
                raise
            tab.page.mouse.move(5, 5)


def _point_at(tab, name):
    """Bring the pointer to the first point of a series."""
    x, y = tab.page.evaluate(
        """name => {
          const plot = document.querySelector('.js-plotly-plot'), box = plot.getBoundingClientRect();
          const own = plot._fullData.find(t => t.name === name && (t.mode ?? '').startsWith('lines'));
          const {xaxis, yaxis} = plot._fullLayout;
          return [box.x + xaxis._offset + xaxis.d2p(own.x[0]), box.y + yaxis._offset + yaxis.d2p(own.y[0])];
        }""",
        name,
    )
    tab.page.mouse.move(x - 30, y - 30)
    tab.page.mouse.move(x, y, steps=4)
