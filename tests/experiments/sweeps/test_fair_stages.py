"""A comparison: tuned with equal budgets on validation, widened at edges, reported on fresh seeds, the same again."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import vxlab
from vxlab import Candidate, FairSweep, LoRA, VeRA
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps import worker as worker_module
from vxlab.experiments.sweeps.fair_stages import announce
from vxlab.experiments.sweeps.stored import stored_sweeps
from vxlab.views.explorers.sweep.faces import explore_sweep
from vxlab.views.figures.sweep import score_against_parameters
from vxlab.views.figures.tuning import tuning_curves
from vxlab.views.figures.verdict import pareto_figures

QUICK = {"batch_size": 8, "max_length": 16, "epochs": 1, "device": "cpu"}


def fair(model: str, task: str, *candidates: Any, **fields: Any) -> FairSweep:
    chosen = {"learning_rates": 2, "head_learning_rates": (2e-2,), "report_seeds": 2, "widen": 0} | fields
    settings = {"model": model, "task": task, **QUICK, **chosen.pop("settings", {})}
    return FairSweep(candidates=candidates or (LoRA(rank=2), VeRA(rank=4)), settings=settings, **chosen)


def compare(wanted: FairSweep, store: Path) -> vxlab.Comparison:
    return vxlab.compare(wanted, store=store, progress=False)


@pytest.fixture(scope="module")
def learnt(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> vxlab.Comparison:
    """Return a comparison of a candidate with itself at a hundredth of its learning rates, untuned."""
    wanted = fair(
        tiny_model,
        toy_task,
        Candidate(LoRA(rank=4), learning_rate=3e-2),
        Candidate(LoRA(rank=4), learning_rate=3e-4),
        learning_rates=1,
        head_learning_rates=(2e-4,),
        report_seeds=3,
        settings={"epochs": 4},
    )
    return compare(wanted, tmp_path_factory.mktemp("learnt"))


def test_a_candidate_made_worse_on_purpose_is_told_apart(learnt: vxlab.Comparison) -> None:
    good, poor = learnt.summary["candidate"]
    pair = learnt.pairs.iloc[0]
    assert (good, poor) == ("LoRA r=4, rates around 0.03", "LoRA r=4, rates around 0.0003")
    assert (pair["a"], pair["b"], pair["seen"]) == (good, poor, True)
    assert pair["low"] > 0.1
    assert f"{good} is better than {poor}" in pair["sentence"]
    assert good in learnt.verdict()


def test_report_seeds_are_fresh(learnt: vxlab.Comparison) -> None:
    seeds = learnt.runs.groupby("stage")["seed"].agg(set)
    assert seeds["tuning"] == {0}
    assert seeds["report"] == {1, 2, 3}


def test_the_summary_is_of_the_report_runs_alone(learnt: vxlab.Comparison) -> None:
    row = learnt.summary.iloc[0]
    own = learnt.runs[learnt.runs["candidate"] == row["candidate"]]
    reported = own[own["stage"] == "report"]["test"]
    assert (row["median"], row["n"], row["diverged"]) == (reported.median(), 3, 0)
    assert row["budget_seconds"] == pytest.approx(own["train_seconds"].sum())
    assert (row["tuning_runs"], row["backbone"], row["head"]) == (1, 1024, 66)
    assert learnt.trivial == 0.6
    assert learnt.items == 40


def test_a_probe_runs_once_beside_what_is_tuned(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    wanted = fair(tiny_model, toy_task, LoRA(rank=2), vxlab.Probe(), widen=1)
    assert announce(wanted, store=tmp_path).startswith("5 runs: 2 to tune (and up to 1 where ranges grow) and 3 to")
    result = compare(wanted, tmp_path)
    (row,) = result.summary.query("candidate == 'probe'").to_dict("records")
    assert (row["n"], row["tuning_runs"], row["backbone"], row["edge"]) == (1, 0, 0, "")
    assert math.isnan(row["learning_rate"])
    assert set(result.tuning["candidate"]) == {"LoRA r=2"}
    (pair,) = result.pairs.to_dict("records")
    assert (pair["a"], pair["b"], pair["kind"]) == ("LoRA r=2", "probe", "other")
    assert math.isfinite(pair["p"])
    with Store(tmp_path) as store:
        (stored,) = stored_sweeps(store)
        assert stored.notes == ()
        pd.testing.assert_frame_equal(stored.pairs, result.pairs)
        assert stored.held_out == result.held_out
    judged = ["candidate", "fixed", "p_trivial", "above", "scores"]
    pd.testing.assert_frame_equal(stored.summary[judged], result.summary[judged])
    assert result.summary["fixed"].tolist() == [False, True]
    with Store(tmp_path) as store:
        drawn = [explore_sweep(shown, interactive=live) for shown in (result, store) for live in (True, False)]
    assert len(drawn) == 4
    assert "Fitted once, without learning rates or seeds: " in drawn[1].to_json()
    score_against_parameters(result.summary, metric=result.metric, runs=result.runs, held_out=result.held_out)
    pareto_figures(result.summary, metric=result.metric)
    tuning_curves(result.tuning, metric=result.metric)
    with pytest.raises(vxlab.VxlabError, match=r"lacks 1 of 1 runs: probe; train them"):
        vxlab.sweep([dict(wanted.untuned())["probe"]], store=tmp_path / "other", progress=False, train=False)


def test_untuned_rates_are_told(learnt: vxlab.Comparison) -> None:
    assert "One learning rate each" in learnt.verdict()


def test_again_trains_nothing_and_gives_the_same_tables(
    learnt: vxlab.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "train_job", None)
    again = compare(learnt.fair, Path(learnt.runs["folder"][0]).parents[1])
    for name in ("runs", "tuning", "summary", "pairs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(learnt, name))
    assert again.verdict() == learnt.verdict()


def test_without_training_a_finished_comparison_is_given_and_a_missing_run_is_named(
    learnt: vxlab.Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "train_job", None)
    again = vxlab.compare(learnt.fair, store=Path(learnt.runs["folder"][0]).parents[1], progress=False, train=False)
    pd.testing.assert_frame_equal(again.summary, learnt.summary)
    with pytest.raises(vxlab.VxlabError, match=r"lacks 2 of 2 runs: LoRA r=4 at 0.03, seed 0; LoRA r=4 at 0.0003"):
        vxlab.compare(learnt.fair, store=tmp_path, progress=False, train=False)


def test_the_stores_table_has_every_run(learnt: vxlab.Comparison) -> None:
    with Store(Path(learnt.runs["folder"][0]).parents[1]) as store:
        stored = store.table().set_index("key")
    runs = learnt.runs.set_index("key")
    assert set(stored.index) == set(runs.index)
    pd.testing.assert_frame_equal(stored.loc[runs.index], runs[stored.columns])


def test_a_wider_range_gives_everyone_one_more_rate(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    result = compare(fair(tiny_model, toy_task, widen=1, report_seeds=1, learning_rates=2), tmp_path)
    tried = result.tuning.groupby("candidate", sort=False)["learning_rate"].count()
    assert tried.nunique() == 1
    assert tried.iloc[0] == (3 if _any_edge(result, first=2) else 2)
    assert result.summary["tuning_runs"].tolist() == tried.tolist()


def _any_edge(result: vxlab.Comparison, first: int) -> bool:
    """Say whether a best rate was an edge of the first range: of two rates, either is, unless nothing was chosen."""
    return first == 2 and result.tuning["chosen"].any()


def test_a_candidate_whose_rates_all_diverge_gets_lower_ones(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    wild = Candidate(LoRA(rank=2), learning_rate=1e6)
    result = compare(
        fair(tiny_model, toy_task, wild, learning_rates=2, widen=2, report_seeds=1, spacing=1000), tmp_path
    )
    tried = result.tuning["learning_rate"].tolist()
    assert min(tried) < 1e2
    assert result.tuning["chosen"].any()


def test_ranges_grow_before_finalists_are_taken(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    wanted = fair(tiny_model, toy_task, learning_rates=2, tuning_seeds=2, finalists=1, widen=1, report_seeds=1)
    result = compare(wanted, tmp_path)
    assert result.summary["tuning_runs"].nunique() == 1  # the same budget for both
    assert len(result.runs) <= sum(wanted.runs().values())


def test_report_runs_that_all_diverge_are_told(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = worker_module.train_job

    def broken(job: Any, *others: Any) -> Any:
        if job.spec.seed > 0:
            raise RuntimeError("no such luck")
        return execute(job, *others)

    monkeypatch.setattr(worker_module, "train_job", broken)
    with pytest.raises(vxlab.VxlabError, match="not one of 2 report runs finished; the first failed with RuntimeError"):
        compare(fair(tiny_model, toy_task, LoRA(rank=2)), tmp_path)


def test_further_tuning_seeds_go_to_the_finalists(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    wanted = fair(tiny_model, toy_task, LoRA(rank=2), learning_rates=3, tuning_seeds=2, finalists=1, report_seeds=1)
    result = compare(wanted, tmp_path)
    assert len(result.runs) == sum(wanted.runs().values()) == 3 + 1 + 1
    assert sorted(result.tuning["n"]) == [1, 1, 2]
    assert result.tuning.loc[result.tuning["chosen"], "n"].tolist() == [2]
    assert set(result.runs[result.runs["stage"] == "report"]["seed"]) == {2}


def test_the_test_split_chooses_nothing(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.sweeps import fair_stages as compare_module

    seen: list[list[str]] = []
    original = compare_module.tuning_table

    def blind(runs: pd.DataFrame, seeds: int) -> pd.DataFrame:
        seen.append(list(runs.columns))
        return original(runs.assign(test=float("nan")), seeds)

    wanted = fair(tiny_model, toy_task, LoRA(rank=2), report_seeds=1)
    first = compare(wanted, tmp_path)
    monkeypatch.setattr(compare_module, "tuning_table", blind)
    second = compare(wanted, tmp_path)
    assert seen
    pd.testing.assert_frame_equal(first.summary, second.summary)


def test_a_candidate_that_always_fails_leaves_the_others(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = worker_module.train_job

    def broken(job: Any, *others: Any) -> Any:
        if job.spec.method.name == "vera":
            raise RuntimeError("no such luck")
        return execute(job, *others)

    monkeypatch.setattr(worker_module, "train_job", broken)
    result = compare(fair(tiny_model, toy_task, report_seeds=1), tmp_path)
    vera = result.summary.set_index("candidate").loc["VeRA r=4"]
    assert (vera["n"], vera["edge"]) == (0, "")
    assert result.tuning.set_index("candidate").loc["VeRA r=4", "failed"].tolist() == [1, 1]
    assert result.summary["n"].tolist() == [1, 0]
    assert "all its tuning runs diverged or failed: VeRA r=4" in result.verdict()


def test_where_no_run_finishes_the_reason_is_told(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(worker_module, "train_job", broken)
    with pytest.raises(
        vxlab.VxlabError, match="not one of 4 runs finished; the first failed with RuntimeError: no such luck"
    ):
        compare(fair(tiny_model, toy_task), tmp_path)


def test_the_plan_says_how_many_how_long_and_how_much(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    told = announce(fair(tiny_model, toy_task, report_seeds=5, widen=1), store=tmp_path)
    assert told.startswith("14 runs: 4 to tune (and up to 2 where ranges grow) and 10 to report. About ")
    assert f" kB to be kept in {tmp_path / 'runs'}." in told
    with Store(tmp_path) as store:
        assert store.table().empty


def test_the_plan_of_a_finished_comparison_leaves_nothing(
    learnt: vxlab.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.sweeps import plan as plan_module

    monkeypatch.setattr(plan_module, "measure", None)
    told = announce(learnt.fair, store=Path(learnt.runs["folder"][0]).parents[1])
    assert told.startswith("8 runs: 2 to tune and 6 to report; all of them are in ")
    assert told.endswith("runs.db already, and nothing is left to train.")


def test_the_plan_says_what_is_left_of_a_comparison(
    learnt: vxlab.Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stage by stage: what the store's runs decide is counted exactly, and failed runs are tried again."""
    from vxlab.experiments.sweeps import plan as plan_module

    monkeypatch.setattr(plan_module, "measure", lambda job: plan_module.Pace(100.0, 10**6))
    with Store(Path(learnt.runs["folder"][0]).parents[1]) as done, Store(tmp_path) as store:
        records = {stage: [done.record(key) for key in own["key"]] for stage, own in learnt.runs.groupby("stage")}
        _put(records["tuning"][:1], store)
        assert _told(learnt, store) == (
            "8 runs: 2 to tune and 6 to report; 1 of them is in STORE already, 7 to train. "
            "At most about 12 min to go, and 7 MB to be kept in RUNS."
        )
        _put(records["tuning"], store)
        _put(records["report"][:4], store)
        assert _told(learnt, store) == (
            "8 runs: 2 to tune and 6 to report; 6 of them are in STORE already, 2 to train. "
            "About 4 min to go, and 2 MB to be kept in RUNS."
        )
        failed = records["report"][4]
        store.lease(failed.key, failed.spec, failed.identity, "host:1:0.0:me", failed_before=None)
        assert "6 of them are in STORE already, 2 to train" in _told(learnt, store)
        store.fail(failed.key, "host:1:0.0:me", "no luck", "")
        assert "6 of them are in STORE already, 1 failed before and is tried again, 2 to train" in _told(learnt, store)


def _put(records: list[Any], store: Store) -> None:
    for record in records:
        store.finish(record, "host:1:0.0:me")


def _told(learnt: vxlab.Comparison, store: Store) -> str:
    return announce(learnt.fair, store=store).replace(store.name, "STORE").replace(str(store.folder), "RUNS")


def test_a_measurement_that_fails_stops_nothing(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxlab.experiments.sweeps import plan as plan_module

    def greedy(_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(plan_module, "measure", greedy)
    told = announce(fair(tiny_model, toy_task, LoRA(rank=2)), store=tmp_path)
    assert "LoRA r=2 could not be tried out: " in told
    assert "out of memory" in told


def test_the_plan_says_what_has_changed(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    import shutil

    task = shutil.copytree(toy_task, tmp_path / "task")
    wanted = fair(tiny_model, str(task), LoRA(rank=2), report_seeds=1)
    compare(wanted, tmp_path)
    with (task / "train.csv").open("a") as file:
        file.write("lovely,good\n")
    told = announce(wanted, store=tmp_path)
    assert "2 were trained before with other data, and are new runs." in told


@pytest.mark.slow  # half a minute; test_sweep.py has two drivers of one sweep
def test_two_drivers_of_one_comparison_train_each_run_once_and_tell_the_same(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    import subprocess
    import sys

    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"model: {tiny_model}\ntask: {toy_task}\nepochs: 1\nbatch_size: 8\nmax_length: 16\ndevice: cpu\n"
        "learning_rates: 2\nreport_seeds: 2\nwiden: 1\ncandidates: [{method: lora, rank: [2, 4]}]\n"
    )
    command = [sys.executable, "-m", "vxlab", "sweep", str(file), "--store", str(tmp_path / "runs.db")]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = []
    for driver in drivers:
        output, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
        told.append(output[output.index("candidate") :])
    assert told[0] == told[1]
    with Store(tmp_path) as store:
        table = store.table()
    assert set(table["status"]) == {"finished"}
    assert table["attempts"].tolist() == [1] * len(table)
