"""A few-shot comparison: every seed is a draw of its own, which all candidates share and by which they are compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import vxlab
from vxlab import FairSweep, LoRA, Probe
from vxlab.experiments.provenance.run_facts import run_facts, run_list
from vxlab.experiments.runs.inputs import fresh_materials
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.fair_stages import announce
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.experiments.sweeps.stored_scores import stored_candidates
from vxlab.views.explorers.sweep.explorer import SweepExplorer
from vxlab.views.explorers.sweep.faces import explore_sweep
from vxlab.views.figures.sweep import score_against_parameters

QUICK = {"batch_size": 8, "max_length": 16, "epochs": 2, "device": "cpu", "shots": 8}


def fair(model: str, task: str, *candidates: Any, **fields: Any) -> FairSweep:
    chosen: dict[str, Any] = {"learning_rates": 2, "head_learning_rates": (2e-2,), "report_seeds": 3, "widen": 0}
    settings = {"model": model, "task": task, **QUICK, **fields.pop("settings", {})}
    return FairSweep(candidates=candidates or (LoRA(rank=2), Probe()), settings=settings, **chosen | fields)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def result(tiny_model: str, toy_task: str, store: Path) -> vxlab.Comparison:
    return vxlab.compare(fair(tiny_model, toy_task), store=store, progress=False)


def test_each_seed_is_a_draw_of_its_own_and_what_has_no_seed_runs_on_each_reported_draw(result: vxlab.Comparison):
    runs = result.runs.set_index("candidate")
    tuned = runs.loc["LoRA r=2"]
    assert (tuned["draw"] == tuned["seed"]).all()
    assert tuned.groupby("stage")["draw"].agg(set).to_dict() == {"tuning": {0}, "report": {1, 2, 3}}
    assert list(runs.loc["probe", "draw"]) == [1, 2, 3]
    assert set(runs.loc["probe", "seed"]) == {0}
    assert set(runs["shots"]) == {8}
    assert result.fair.runs() == {"tuning": 2, "report": 6, "widening": 0}


def test_every_draw_of_what_has_no_seed_counts(result: vxlab.Comparison):
    rows = result.summary.set_index("candidate")
    assert rows["n"].tolist() == [3, 3]
    assert rows["draws"].tolist() == [3, 3]
    assert not rows["fixed"].any()
    probes = result.runs[result.runs["candidate"] == "probe"].sort_values("draw")
    assert rows.loc["probe", "scores"] == tuple(probes["test"])
    assert probes["test"].nunique() > 1  # else nothing here would be seen
    (pair,) = result.pairs.to_dict("records")
    assert pair["covers_seeds"]
    assert pair["difference"] == pytest.approx(rows.loc["LoRA r=2", "mean"] - rows.loc["probe", "mean"])


def test_draws_are_told_of_as_draws(result: vxlab.Comparison):
    told = result.verdict()
    assert "on 40 test items, 3 draws each (a draw's run has its own seed)" in told
    assert "(3 draws: " in told
    assert "Validation on one draw chose the learning rates" in told
    assert (
        "A small sweep (3 draws at the fewest): how much draws matter is itself hardly known. Five decide more." in told
    )
    assert "A draw takes 13.9 % of a class's training rows: draws share rows" in told  # 8 of 72 and of 48
    assert "in no interval or test.\n" in told
    assert "the luck of the draw is in no" not in told
    assert "seeds" not in told
    figure = score_against_parameters(result.summary, metric=result.metric, runs=result.runs, held_out=result.held_out)
    assert figure.layout.yaxis.title.text == "test accuracy, mean over draws"
    shown = figure.to_json()
    assert "one draw's run" in shown
    assert "(3 draws: " in shown


def test_a_page_names_the_draws_of_its_runs(result: vxlab.Comparison):
    facts = run_facts(result.records.values(), result).set_index("fact")["value"]
    assert facts["draws of the shots"] == "tuning 0; report 1, 2, 3 (of 8 shots a class)"
    assert "at one tuning draw" in facts["chosen on validation"]
    listed = run_list(result.records.values(), result)
    assert listed.loc[listed["method"] == "probe", "draw"].tolist() == [1, 2, 3]


def test_a_store_gives_the_comparisons_tables_again(result: vxlab.Comparison, store: Path):
    with Store(store) as results:
        (stored,) = stored_sweeps(results)
    pd.testing.assert_frame_equal(stored.pairs, result.pairs)
    same = ["candidate", "n", "mean", "scores", "draws", "fixed", "p_trivial", "above"]
    pd.testing.assert_frame_equal(stored.summary[same], result.summary[same])
    assert [note for note in stored.notes if "draw" in note] == [note for note in stored.notes if "13.9 %" in note]
    measured = stored_candidates(store, str(result.runs["model"].iloc[0]))
    assert "8 shots a class" in measured.protocol
    assert measured.table[["n", "draws"]].values.tolist() == [[3, 3]]  # of the probe, under a protocol without epochs
    shown = explore_sweep(store, interactive=False).to_json()
    assert "draw 2" in shown
    assert "(3 draws: " in shown


def test_draws_are_planned_and_done_once(result: vxlab.Comparison, store: Path, tiny_model: str, toy_task: str):
    assert announce(result.fair, store=store).startswith("8 runs: 2 to tune and 6 to report; all of them are in")
    more = fair(tiny_model, toy_task, report_seeds=4)
    assert announce(more, store=store).startswith("10 runs: 2 to tune and 8 to report; 8 of them are in")


def test_a_pinned_draw_is_every_runs_and_its_luck_in_no_interval(tiny_model: str, toy_task: str, tmp_path: Path):
    wanted = fair(tiny_model, toy_task, learning_rates=1, tuning_seeds=0, report_seeds=2, settings={"draw": 5})
    result = vxlab.compare(wanted, store=tmp_path, progress=False)
    assert set(result.runs["draw"]) == {5}
    assert result.summary["n"].tolist() == [2, 1]
    assert result.summary["fixed"].tolist() == [False, True]
    note = "All runs learned from one draw of 8 shots a class (draw 5): the luck of the draw is in no interval or test."
    assert f"- {note}" in result.verdict()
    assert "2 seeds each" in result.verdict()
    with Store(tmp_path) as store:
        (stored,) = stored_sweeps(store)
    assert note in stored.notes
    assert stored.summary["fixed"].tolist() == [False, True]


def test_shots_are_settings_and_draws_are_not(result: vxlab.Comparison, store: Path, toy_task: str):
    (one,) = result.runs.query("candidate == 'LoRA r=2' and draw == 2")["key"]
    spec = result.records[one].spec
    fewer = [
        vxlab.RunSpec(
            method=LoRA(rank=2), learning_rate=spec["learning_rate"], head_learning_rate=2e-2, model=spec["model"],
            task=toy_task, **QUICK | {"shots": 4}, draw=draw, seed=draw,
        )
        for draw in (1, 2)
    ]  # fmt: skip
    table = vxlab.sweep(fewer, store=store, progress=False)
    assert table[["shots", "draw"]].values.tolist() == [[4, 1], [4, 2]]
    with Store(store) as results:
        (stored,) = stored_sweeps(results)
    rows = stored.summary.set_index("candidate")
    assert rows["draws"].to_dict() == {"LoRA r=2, shots=4": 2, "LoRA r=2, shots=8": 3, "probe": 3}
    assert any("differ in shots 4 and 8" in note for note in stored.notes)
    assert stored.pairs["covers_seeds"].all()
    explorer = SweepExplorer([stored], {})
    offered = explorer.offered()
    assert ("LoRA, shots=4", "shots") in offered
    view = explorer.view(("LoRA, shots=4", "shots"), "LoRA r=2, shots=4")
    line = next(trace for trace in view.traces if trace.get("name") == "LoRA" and trace["x"])
    assert line["x"] == [4, 8]
    assert view.layout["xaxis.title.text"] == "training examples of each class (shots)"
    assert not any("ront" in told for told in view.words[:2])


def test_where_all_draws_are_the_same_nothing_trains_before_it_is_said(tiny_model: str, tmp_path: Path):
    folder = tmp_path / "task"
    folder.mkdir()
    for split, rows in {"train": 4, "validation": 8, "test": 8}.items():
        lines = [f"{split} {'good' if row % 2 else 'bad'} film {row},{row % 2}" for row in range(rows)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]))
    wanted = fair(tiny_model, str(folder), LoRA(rank=2), learning_rates=1, settings={"shots": 2})
    with pytest.raises(vxlab.VxlabError, match=r"has 2 training rows and no more.*put draw=0 into its settings"):
        vxlab.compare(wanted, store=tmp_path / "runs", progress=False)
    with Store(tmp_path / "runs") as store:
        assert store.table().empty
    pinned = replace(wanted, settings={**wanted.settings, "draw": 0}, report_seeds=2)
    told = vxlab.compare(pinned, store=tmp_path / "runs", progress=False).verdict()
    assert (
        "All runs learned from all there is (2 shots a class): no interval covers what other rows would change." in told
    )
    fresh_materials()
