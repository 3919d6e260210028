"""A run that ends after a share of its steps: the start of the whole run, never tested, and never taken for a whole."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs

import vxlab
from vxlab.experiments.candidates.run_scores import paired_difference, score_table
from vxlab.experiments.exchange.source import open_source
from vxlab.experiments.runs.trained import load_trained, require_finished, trained_updates
from vxlab.experiments.runs.trainer import AdapterTrainer
from vxlab.experiments.store.housekeeping import leftovers, problems
from vxlab.experiments.store.store import Store
from vxlab.experiments.sweeps.stored_scores import best_runs, stored_candidates
from vxlab.views.explorers.live.state import describe_end
from vxlab.views.figures.curves import learning_curves


def _run(model: str, task: str, store: Path, listener: Any = None, **changes: Any) -> vxlab.RunRecord:
    return vxlab.run(toy_runs.spec(model, task, **changes), store=store, progress=False, listener=listener)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def whole(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> vxlab.RunRecord:
    return _run(tiny_model, toy_task, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def early(tiny_model: str, toy_task: str, store: Path) -> vxlab.RunRecord:
    """Return the first 22 of 30 steps: an epoch of 15, and not quite half of another."""
    return _run(tiny_model, toy_task, store, ends_after=0.75)


def test_it_is_the_start_of_the_whole_run(early: vxlab.RunRecord, whole: vxlab.RunRecord) -> None:
    assert (early.status, early.steps, whole.steps) == ("ended early", 22, 30)
    assert early.curve == [row for row in whole.curve if row["step"] <= 22]  # the schedule is that of 30 steps
    of_first = [row for row in whole.metrics if (row["split"], row["epoch"]) == ("validation", 1)]
    assert [row for row in early.metrics if row["epoch"] == 1] == of_first
    assert early.key != whole.key
    assert "ends_after" not in whole.spec


def test_it_is_validated_where_it_ends_and_never_tested(early: vxlab.RunRecord, store: Path) -> None:
    scored = [row["epoch"] for row in early.metrics if row["metric"] == "accuracy"]
    assert scored == [1, pytest.approx(22 / 15, abs=1e-3)]
    assert {row["split"] for row in early.metrics} == {"validation"}
    assert math.isnan(early.score())
    assert {path.name for path in early.folder.iterdir()} == {"adapter", "record.json"}
    with Store(store) as results:
        (row,) = results.table().to_dict("records")
        assert (row["status"], row["ends_after"], row["steps"]) == ("ended early", 0.75, 22)
        assert row["validation"] == early.score(split="validation")
        assert row["validation_loss"] == early.score("loss", split="validation")
        assert math.isnan(row["test"])
        assert not list(problems(results))
        assert not leftovers(results)


def test_it_counts_as_it_stands_where_it_ends_though_it_scored_higher_before(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([0.9, 0.3])
    monkeypatch.setattr(
        "vxlab.experiments.runs.one_run.compute", lambda names, *_: dict.fromkeys(names, next(scripted))
    )
    heads: list[torch.Tensor] = []
    validates = AdapterTrainer.evaluate

    def noting(trainer: AdapterTrainer, *given: Any, **named: Any) -> Any:
        heads.append(trainer.model.classifier.weight.detach().clone())
        return validates(trainer, *given, **named)

    monkeypatch.setattr(AdapterTrainer, "evaluate", noting)
    early = _run(tiny_model, toy_task, tmp_path, ends_after=0.75)
    assert early.best_epoch == pytest.approx(22 / 15, abs=1e-3)
    assert early.score(split="validation") == 0.3
    assert torch.equal(load_trained(early).classifier.weight, heads[-1])


def test_it_is_trained_once(
    early: vxlab.RunRecord, tiny_model: str, toy_task: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vxlab.experiments.runs.one_run.train_job", None)
    assert _run(tiny_model, toy_task, store, ends_after=0.75) == early


def test_where_it_ends_with_an_epoch_it_is_validated_once(
    whole: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    half = _run(tiny_model, toy_task, tmp_path, ends_after=0.5)
    assert half.steps == 15
    assert half.metrics == [row for row in whole.metrics if (row["split"], row["epoch"]) == ("validation", 1)]


def test_a_share_of_less_than_a_step_is_one(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    assert _run(tiny_model, toy_task, tmp_path, ends_after=1e-6).steps == 1


class Interrupting:
    """Stop a run before its twentieth step."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.step = 0

    def stop_asked(self) -> bool:
        return self.step == 19

    def on_begin(self, step: int, steps: int) -> None:
        self.begun.append((step, steps))

    def on_step(self, step: int) -> None:
        self.step = step

    def on_wait(self) -> None: ...
    def on_log(self, row: Any) -> None: ...
    def on_validation(self, row: Any) -> None: ...


def test_interrupted_it_goes_on_from_its_last_epoch_and_ends_where_it_would_have(
    early: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    ear = Interrupting()
    assert _run(tiny_model, toy_task, tmp_path, ear, ends_after=0.75).status == "stopped"
    again = _run(tiny_model, toy_task, tmp_path, ends_after=0.75)
    assert ear.begun == [(0, 22)]
    assert (again.metrics, again.curve, again.status) == (early.metrics, early.curve, "ended early")


def test_one_that_diverges_is_told_so(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    lost = _run(tiny_model, toy_task, tmp_path, ends_after=0.75, learning_rate=1e6, head_learning_rate=1e6)
    assert lost.status == "diverged"
    assert lost.steps < 22


def test_a_method_without_steps_has_no_share_of_them(tiny_model: str, toy_task: str) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=vxlab.Probe(), ends_after=0.5)
    assert spec == toy_runs.spec(tiny_model, toy_task, method=vxlab.Probe())


def test_nobody_takes_it_for_a_whole_run(early: vxlab.RunRecord, whole: vxlab.RunRecord, store: Path) -> None:
    told = r"ended after 0.75 of its steps, to help to choose a learning rate; give a run of all its steps"
    for needs in (require_finished, trained_updates):
        with pytest.raises(vxlab.VxlabError, match=told):
            needs(early)
    with pytest.raises(vxlab.VxlabError, match="ended early, so what it trained is not to be served"):
        open_source(early)
    for first, second in ((early, whole), (whole, early)):
        with pytest.raises(vxlab.VxlabError, match=r"\(ended early\) holds no predictions for split='test'"):
            paired_difference(first, second)
    rows = score_table({"early": early, "whole": whole}).set_index("answer")["score"]
    assert math.isnan(rows["early (ended early)"])
    assert rows["whole"] == whole.score()
    assert best_runs(store).empty
    assert stored_candidates(store, early.spec["model"]).table.empty
    assert "early (ended early)" in {trace.name for trace in learning_curves({"early": early, "whole": whole}).data}
    assert describe_end(early).startswith("ended after 22 steps, as it was asked to: accuracy")


def test_it_is_not_evaluated_outside_its_task(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, ends_after=0.5)
    with pytest.raises(vxlab.VxlabError, match=r"ends after 0\.5 of its steps is evaluated on nothing but validation"):
        vxlab.run(spec, store=tmp_path, progress=False, evaluate=["arc_easy"])


@pytest.mark.parametrize("share", [0, -0.5, 1.5, math.nan])
def test_what_is_no_share_is_refused(share: float, tiny_model: str, toy_task: str) -> None:
    with pytest.raises(vxlab.VxlabError, match="ends_after="):
        toy_runs.spec(tiny_model, toy_task, ends_after=share)
