"""A comparison whose tuning runs end early: they choose and no more, whoever reads them afterwards."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

import vxlab
from vxlab import FairSweep, LoRA, VeRA
from vxlab.experiments.provenance.run_facts import run_facts
from vxlab.experiments.runs.inputs import fresh_materials
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps import plan
from vxlab.experiments.sweeps import worker as worker_module
from vxlab.experiments.sweeps.fair_stages import announce
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.experiments.sweeps.stored_scores import best_runs, stored_candidates
from vxlab.views.explorers.sweep.faces import explore_sweep
from vxlab.views.figures.tuning import tuning_curves
from vxlab.words import time_left

SETTINGS = {"batch_size": 8, "max_length": 16, "epochs": 1, "device": "cpu"}
STEPS = 15


@pytest.fixture(scope="module")
def wanted(tiny_model: str, toy_task: str) -> FairSweep:
    return FairSweep(
        candidates=[LoRA(rank=2), vxlab.Probe(), VeRA(rank=4)],
        settings={"model": tiny_model, "task": toy_task, **SETTINGS},
        learning_rates=2,
        head_learning_rates=(2e-2,),
        report_seeds=2,
        tuning_share=0.4,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def announced(wanted: FairSweep, store: Path) -> str:
    return announce(wanted, store=store)


@pytest.fixture(scope="module")
def result(announced: str, wanted: FairSweep, store: Path) -> vxlab.Comparison:
    return vxlab.compare(wanted, store=store, progress=False)


def test_what_is_announced_counts_reports_at_their_length(announced: str) -> None:
    assert announced.startswith("9 runs: 4 to tune (and up to 2 where ranges grow) and 5 to report.")
    assert re.search(r"About .* to go, and .* to be kept in", announced)


def test_runs_that_choose_end_early_and_those_reported_are_whole(result: vxlab.Comparison) -> None:
    tuning, reports = (result.runs.query(f"stage == '{stage}'") for stage in ("tuning", "report"))
    assert set(tuning["status"]) == {"ended early"}
    assert set(tuning["steps"]) == {round(0.4 * STEPS)}
    assert tuning["test"].isna().all()
    assert set(reports["steps"]) == {0, STEPS}  # the probe takes none
    assert set(reports["status"]) == {"finished"}


def test_the_lowest_loss_chose(result: vxlab.Comparison) -> None:
    for _, own in result.tuning.groupby("candidate"):
        assert own.loc[own["chosen"], "median"].iloc[0] == own["median"].min()
    chosen = result.tuning[result.tuning["chosen"]].set_index("candidate")["learning_rate"].to_dict()
    reported = result.runs.query("stage == 'report'").dropna(subset=["learning_rate"])
    assert reported.groupby("candidate")["learning_rate"].first().to_dict() == chosen


def test_a_wider_range_is_tried_to_the_same_share(result: vxlab.Comparison) -> None:
    tried = result.tuning.groupby("candidate")["learning_rate"].nunique()
    assert set(tried) == {3}  # a best rate of two is on an edge
    assert set(result.tuning["ends_after"]) == {0.4}


def test_the_verdict_says_what_was_saved_and_at_what_price(result: vxlab.Comparison) -> None:
    assert "took 36 steps instead of about 90: each ended after 0.4 of its steps" in result.verdict()
    assert "lowest validation loss there chose" in result.verdict()


def test_again_trains_nothing(result: vxlab.Comparison, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "train_job", None)
    again = vxlab.compare(result.fair, store=store, progress=False)
    for name in ("runs", "tuning", "summary", "pairs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(result, name))
    assert "all of them are in" in announce(result.fair, store=store)


def test_a_reader_of_the_store_finds_the_same(result: vxlab.Comparison, store: Path) -> None:
    with Store(store) as results:
        (stored,) = stored_sweeps(results)
        drawn = [explore_sweep(shown, interactive=live) for shown in (result, results) for live in (True, False)]
    assert stored.notes == ()
    assert sorted(stored.pairs["p"]) == sorted(result.pairs["p"])
    told = ["candidate", "n", "diverged", "scores", "learning_rate", "edge", "tuning_runs"]
    stored_rows, rows = (each.summary[told].set_index("candidate").sort_index() for each in (stored, result))
    pd.testing.assert_frame_equal(stored_rows, rows)
    pd.testing.assert_frame_equal(stored.tuning, result.tuning)
    assert len(drawn) == 4
    measured = stored_candidates(store, result.fair.settings["model"]).table.set_index("label")
    for row in result.summary.query("not fixed").itertuples():
        assert measured.loc[row.candidate, "n"] == row.n
        assert measured.loc[row.candidate, "mean"] == row.mean
    assert set(best_runs(store)["runs"]) == {1, 2}


def test_its_figure_shows_the_loss_that_chose(result: vxlab.Comparison) -> None:
    figure = tuning_curves(result.tuning, metric=result.metric)
    assert figure.layout.yaxis.title.text == "validation loss after 0.4 of the steps"
    drawn = {y for trace in figure.data if trace.mode == "lines+markers" for y in trace.y}
    assert drawn == set(result.tuning["median"])


def test_a_rate_whose_reports_all_fail_is_told_with_their_number(
    wanted: FairSweep, store: Path, result: vxlab.Comparison, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = worker_module.train_job

    def failing(job, *given, **named):  # type: ignore[no-untyped-def]
        if job.spec.ends_after == 1:
            raise RuntimeError("no whole run")
        return original(job, *given, **named)

    monkeypatch.setattr(worker_module, "train_job", failing)
    with pytest.raises(vxlab.VxlabError, match=r"not one of 5 report runs finished; the first failed with .*no whole"):
        vxlab.compare(wanted, store=tmp_path, progress=False)


def test_the_budget_counts_every_run(result: vxlab.Comparison) -> None:
    row = result.summary.set_index("candidate").loc["LoRA r=2"]
    own = result.runs[result.runs["candidate"] == "LoRA r=2"]
    assert row["budget_seconds"] == pytest.approx(own["train_seconds"].sum())
    assert (row["tuning_runs"], row["n"], math.isnan(row["mean"])) == (3, 2, False)


def test_what_made_the_numbers_names_the_loss(result: vxlab.Comparison) -> None:
    told = dict(run_facts(result.records.values(), result).itertuples(index=False, name=None))
    assert (
        "each candidate's learning rates, by the loss after 0.4 of the steps at one tuning seed"
        in told["chosen on validation"]
    )


def test_reports_are_reckoned_at_their_own_length(
    wanted: FairSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paces(jobs, engine):  # type: ignore[no-untyped-def]
        return {plan._kind(job): plan.Pace(10.0 if job.spec.ends_after < 1 else 1000.0, 0) for job in jobs}, {}

    monkeypatch.setattr(plan, "_paces", paces)
    told = announce(wanted, store=tmp_path)  # 4 that choose and 5 that are reported
    assert f"About {time_left(4 * 10 + 5 * 1000)} to go" in told


def test_a_run_that_ends_early_is_reckoned_without_a_test(wanted: FairSweep) -> None:
    (candidate, *_) = wanted.names.values()
    early, whole = (wanted.spec(candidate, 1e-3, 2e-2, 0, tuning=tuning) for tuning in (True, False))
    materials = fresh_materials()
    times = [plan.measure(materials.job(spec)) for spec in (early, whole)]
    assert times[0].stored < times[1].stored
    assert plan._tested(materials, materials.job(early)) == 0 < plan._tested(materials, materials.job(whole))
