"""One run: the same numbers every time, trained once, chosen on validation, told on test."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_runs

import vxlab
from vxlab.adapters.core.family import Family
from vxlab.adapters.placement.attached import stored_bases
from vxlab.experiments.candidates.run_scores import score_table
from vxlab.experiments.runs import one_run as run_module
from vxlab.experiments.runs.gradients import first_gradients
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.leasing import lease_run
from vxlab.experiments.runs.sample_batches import sample_batches
from vxlab.experiments.runs.trained import load_trained, trained_updates
from vxlab.experiments.runs.trainer import Watch
from vxlab.experiments.scoring.metrics import compute
from vxlab.experiments.store.store import Store, new_owner
from vxlab.experiments.sweeps.plan import measure
from vxlab.views.explorers.updates.explorer import explore_updates


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def record(tiny_model: str, toy_task: str, store: Path) -> vxlab.RunRecord:
    return _run(toy_runs.spec(tiny_model, toy_task), store)


def _run(spec: vxlab.RunSpec, store: Path, **options: Any) -> vxlab.RunRecord:
    return vxlab.run(spec, store=store, progress=False, **options)


def test_the_same_spec_gives_the_same_numbers_to_the_last_digit(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    torch.rand(7), np.random.rand(7)  # whatever state the process is in
    again = _run(toy_runs.spec(tiny_model, toy_task), tmp_path)
    assert (again.key, again.metrics, again.curve) == (record.key, record.metrics, record.curve)
    assert torch.equal(again.predictions()[0], record.predictions()[0])
    other = _run(toy_runs.spec(tiny_model, toy_task, seed=1), tmp_path)
    assert other.curve != record.curve
    assert other.task == record.task  # another seed is another run on the same rows,
    assert torch.equal(other.predictions()[1], record.predictions()[1])  # in the same order


def test_a_run_in_bfloat16_leaves_the_next_one_alone(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    rough = _run(toy_runs.spec(tiny_model, toy_task, precision="bfloat16"), tmp_path)
    assert (rough.precision, rough.status) == ("bfloat16", "finished")
    assert rough.curve != record.curve
    assert rough.curve[0]["loss"] == pytest.approx(record.curve[0]["loss"], rel=0.05)
    assert _run(toy_runs.spec(tiny_model, toy_task), tmp_path).curve == record.curve


def test_a_finished_run_is_not_trained_again(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task)
    trained = []

    def train(*_: Any) -> vxlab.RunRecord:
        trained.append(1)
        return record

    monkeypatch.setattr(run_module, "train_job", train)
    assert _run(spec, store) == record
    assert _run(toy_runs.spec(tiny_model, toy_task, device="auto" if not torch.cuda.is_available() else "cpu"), store)
    assert trained == []


def test_fresh_trains_again(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    first = _run(spec, tmp_path)
    (first.folder / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (first.folder / "notes.txt").touch()
    second = _run(spec, tmp_path, fresh=True)
    assert not (first.folder / "checkpoints").exists()
    assert (first.folder / "notes.txt").exists()
    assert (second.metrics, second.folder) == (first.metrics, first.folder)
    assert second.train_seconds != first.train_seconds


def test_fresh_takes_nothing_from_under_a_process_that_trains(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    with Store(tmp_path) as store:
        folder = shutil.copytree(record.folder, store.folder_of(record.key))
        store.lease(record.key, record.spec, record.identity, new_owner(), failed_before=None)
        with pytest.raises(vxlab.VxlabError, match="is being trained by process"):
            _run(toy_runs.spec(tiny_model, toy_task), tmp_path, fresh=True)
    assert len(list(folder.iterdir())) == len(list(record.folder.iterdir()))


@pytest.mark.parametrize("damage", ["cut", "missing", "of another run"])
def test_a_damaged_record_is_not_trusted(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "runs" / record.folder.name
    shutil.copytree(record.folder, folder)
    path, text = folder / "record.json", (record.folder / "record.json").read_text()
    fields = json.loads(text)
    changed = {
        "cut": text[: len(text) // 2],
        "missing": json.dumps({name: value for name, value in fields.items() if name != "metrics"}),
        "of another run": json.dumps(fields | {"key": "0" * 64}),
    }
    path.write_text(changed[damage])
    again = _run(toy_runs.spec(tiny_model, toy_task), tmp_path)
    assert again.train_seconds != record.train_seconds
    assert again.metrics == record.metrics
    assert json.loads(path.read_text())["key"] == record.key


def test_a_record_without_a_row_in_the_store_is_taken_up(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(record.folder, tmp_path / "runs" / record.folder.name)
    monkeypatch.setattr(run_module, "_trainer", None)
    assert _run(toy_runs.spec(tiny_model, toy_task), tmp_path) == record
    with Store(tmp_path) as store:
        assert store.record(record.key) == record


def test_a_run_of_which_the_folder_was_deleted_keeps_its_numbers_and_says_what_is_lost(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, folder = toy_runs.spec(tiny_model, toy_task), tmp_path / "runs" / record.folder.name
    shutil.copytree(record.folder, folder)
    monkeypatch.setattr(run_module, "_trainer", None)
    _run(spec, tmp_path)
    shutil.rmtree(folder)
    again = _run(spec, tmp_path)
    assert again == record
    assert score_table({"again": again}).equals(score_table({"again": record}))
    for needs in (load_trained, trained_updates, lambda run: explore_updates(run, store=tmp_path, interactive=False)):
        with pytest.raises(vxlab.VxlabError, match=r"its adapter .* is not there(.|\n)*fresh=True"):
            needs(again)


def test_the_store_is_in_the_reports_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VXLAB_REPORTS", str(tmp_path))
    with Store(None) as store:
        assert store.folder_of("0" * 64).parent == tmp_path / "runs"
    monkeypatch.chdir(tmp_path)
    with Store("here") as store:
        assert store.folder_of("0" * 64).parent == tmp_path / "here" / "runs"


def test_the_best_epoch_on_validation_is_the_one_tested(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([0.3, 0.9, 0.5, 0.123])  # validation after three epochs, then test
    monkeypatch.setattr(run_module, "compute", lambda names, *_: dict.fromkeys(names, next(scripted)))
    heads = []

    def note(watch: Watch, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        heads.append(model.classifier.weight.detach().clone())

    monkeypatch.setattr(Watch, "on_evaluate", note)
    record = _run(toy_runs.spec(tiny_model, toy_task, epochs=3), tmp_path)
    assert record.best_epoch == 2
    assert record.score() == 0.123
    assert [record.score(split="validation"), record.steps] == [0.9, 45]
    assert torch.equal(load_trained(record).classifier.weight, heads[1])
    assert not torch.equal(heads[2], heads[1])


def test_the_saved_adapter_gives_the_stored_predictions_in_the_tests_own_order(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task)
    logits, labels = record.predictions()
    assert labels.tolist() == spec.load_task().splits["test"]["label"][:]
    with torch.no_grad():
        ours = torch.cat([load_trained(record)(**batch).logits for batch in sample_batches(spec)])
    assert torch.allclose(ours, logits, atol=1e-5)
    assert record.score() == compute(["accuracy"], logits.numpy(), labels.numpy())["accuracy"]


def test_a_sample_for_evaluation_is_scored_against_its_own_majority(
    tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1, train_examples=24, eval_examples=7)
    record = _run(spec, tmp_path)
    assert record.task["rows"] == {"train": 24, "validation": 7, "test": 7}
    labels = record.predictions()[1].tolist()
    assert labels == spec.load_task().splits["test"]["label"][:]
    assert record.task["majority"]["test"]["accuracy"] == labels.count(0) / 7
    whole = toy_runs.spec(tiny_model, toy_task).load_task().splits["test"]["text"][:]
    drawn = [whole.index(text) for text in spec.load_task().splits["test"]["text"]]
    assert drawn == sorted(drawn)
    many = toy_runs.spec(tiny_model, toy_task, eval_examples=1000).load_task()
    assert {split: len(rows) for split, rows in many.splits.items()} == toy_runs.ROWS


@pytest.mark.parametrize(
    ("method", "rate"),
    [(vxlab.LoRA(rank=4), 1e-2), (vxlab.VeRA(rank=16), 5e-2), (vxlab.LoRAXS(rank=8), 5e-2), (vxlab.Head(), 5e-2),
     (vxlab.Full(), 3e-3)],
    ids=["lora", "vera", "lora_xs", "head", "full"],
)  # fmt: skip
def test_every_method_learns_and_counts_its_parameters(
    method: Any, rate: float, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=method, learning_rate=rate, head_learning_rate=5e-2, epochs=4)
    record = _run(spec, tmp_path)
    losses = [row["value"] for row in record.metrics if (row["split"], row["metric"]) == ("validation", "loss")]
    assert min(losses[1:]) < 0.95 * losses[0]
    assert record.score() >= record.task["majority"]["test"]["accuracy"]
    total = sum(p.numel() for p in vxlab.load_model(tiny_model, 2).parameters())
    head, adapted = 2 * 32 + 2, isinstance(method, Family)
    backbone = 4 * method.parameter_count((32, 32)) if adapted else total - head if method.name == "full" else 0
    assert record.parameters == {"backbone": backbone, "head": head, "total": total}
    assert record.layers == (4 if adapted else 0)
    assert 0 < record.bytes_stored - 4 * (backbone + head) < 8192
    assert 0 < record.step_seconds < record.train_seconds
    assert record.peak_memory > 4 * total
    assert (record.steps, record.status) == (60, "finished")


def test_a_run_from_gradients_can_be_repeated_resumed_and_loaded(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = vxlab.LoRAXS(rank=4, basis="gradient")
    spec = toy_runs.spec(tiny_model, toy_task, method=method, learning_rate=5e-2)
    whole = _run(spec, tmp_path / "whole")
    bases = stored_bases(load_trained(whole))
    gradients = first_gradients(spec, Materials())
    model = vxlab.attach(vxlab.load_model(tiny_model, 2), method, gradients=gradients)
    assert all(torch.equal(basis, bases[name]) for name, basis in stored_bases(model).items())
    kept = sum(4 * basis.numel() for basis in bases.values())
    assert kept < whole.bytes_stored < kept + 4 * (4 * 16 + 66) + 8192
    top = toy_runs.spec(tiny_model, toy_task, method=vxlab.LoRAXS(rank=4))
    planned, without = (measure(Materials().job(each)).stored for each in (spec, top))
    assert planned - without == kept

    def stop(watch: Watch, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == toy_runs.STEPS + 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Watch, "on_step_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            _run(spec, tmp_path / "cut")
    # Another machine rounds otherwise, here by much: what the run began with is in its checkpoint.
    turned = {name: gradient.flip(0) for name, gradient in gradients.items()}
    monkeypatch.setattr("vxlab.experiments.runs.gradients.first_gradients", lambda *_, **__: turned)
    resumed = _run(spec, tmp_path / "cut")
    assert (resumed.metrics, resumed.curve) == (whole.metrics, whole.curve)
    again = stored_bases(load_trained(resumed))
    assert all(torch.equal(basis, again[name]) for name, basis in bases.items())


class Ear:
    """A listener that writes down what it hears, and asks for a stop after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.step, self.waits = stop_after, 0, 0
        self.curve: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.begun: list[tuple[int, int]] = []

    def stop_asked(self) -> bool:
        return self.stop_after is not None and self.step >= self.stop_after

    def on_wait(self) -> None:
        self.waits += 1

    def on_begin(self, step: int, steps: int) -> None:
        self.step = step
        self.begun.append((step, steps))

    def on_step(self, step: int) -> None:
        self.step = step

    def on_log(self, row: Any) -> None:
        self.curve.append(dict(row))

    def on_validation(self, row: Any) -> None:
        self.validations.append(dict(row))


def test_a_listener_hears_what_the_record_holds(
    record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    ear = Ear()
    assert _run(toy_runs.spec(tiny_model, toy_task), tmp_path, listener=ear).curve == ear.curve == record.curve
    assert (ear.begun, ear.step) == ([(0, 30)], 30)
    told = [(row["epoch"], name, row[name]) for row in ear.validations for name in ("accuracy", "f1", "mcc", "loss")
            if name in row]  # fmt: skip
    kept = [(row["epoch"], row["metric"], row["value"]) for row in record.metrics if row["split"] == "validation"]
    assert sorted(told) == sorted(kept)


@pytest.mark.parametrize("step", [0, 3, 15, 19])
def test_a_stopped_run_keeps_the_best_and_goes_on_from_its_last_whole_epoch(
    step: int, record: vxlab.RunRecord, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task)
    stopped = _run(spec, tmp_path, listener=Ear(stop_after=step))
    assert (stopped.status, stopped.steps) == ("stopped", max(step, 1))  # a run takes one step at the least
    scored = [row["epoch"] for row in stopped.metrics if row["metric"] == "accuracy"]
    whole = [1] if step >= toy_runs.STEPS else []
    assert scored == whole + ([pytest.approx(stopped.steps / toy_runs.STEPS, abs=1e-3)] if step != 15 else [])
    assert stopped.best_epoch in scored
    assert stopped.score() != stopped.score()
    assert load_trained(stopped) is not None
    with Store(tmp_path) as store:
        assert store.record(stopped.key) is None
        assert store.table()["status"].tolist() == ["stopped"]
    ear = Ear()
    again = _run(spec, tmp_path, listener=ear)
    assert ear.begun == [(15 if step >= 15 else 0, 30)]
    assert ear.curve == record.curve  # with the rows from before the stop
    assert (again.metrics, again.curve, again.best_epoch) == (record.metrics, record.curve, record.best_epoch)
    assert torch.equal(again.predictions()[0], record.predictions()[0])
    assert {path.name for path in again.folder.iterdir()} == {"adapter", "predictions.safetensors", "record.json"}


@pytest.mark.parametrize(("scores", "chosen"), [((0.3, 0.9), 1.267), ((0.9, 0.3), 1)])
def test_the_best_of_the_epochs_and_of_the_stop_is_kept(
    scores: tuple[float, float], chosen: float, tiny_model: str, toy_task: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scripted, heads = iter(scores), []
    monkeypatch.setattr(run_module, "compute", lambda names, *_: dict.fromkeys(names, next(scripted)))

    def note(watch: Watch, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        heads.append(model.classifier.weight.detach().clone())

    monkeypatch.setattr(Watch, "on_evaluate", note)
    stopped = _run(toy_runs.spec(tiny_model, toy_task), tmp_path, listener=Ear(stop_after=19))
    assert stopped.best_epoch == chosen
    assert stopped.score(split="validation") == 0.9
    assert torch.equal(load_trained(stopped).classifier.weight, heads[scores.index(0.9)])


def test_a_listener_may_stop_waiting_for_another_process(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec, ear = toy_runs.spec(tiny_model, toy_task, seed=5), Ear(stop_after=0)
    job = Materials().job(spec)
    with (
        Store(tmp_path) as store,
        lease_run(store, job),
        pytest.raises(vxlab.VxlabError, match="was stopped here; the pr"),
    ):
        _run(spec, tmp_path, listener=ear)
    assert ear.waits == 1


def test_three_classes_by_name(tiny_model: str, tmp_path: Path) -> None:
    task = toy_runs.write_task(tmp_path / "three", ("bad", "good", "so so"))
    record = _run(toy_runs.spec(tiny_model, task), tmp_path / "runs")
    assert record.task["metrics"] == ["accuracy", "f1_macro"]
    assert record.predictions()[0].shape == (40, 3)
    assert record.task["label_names"] == ["bad", "good", "so so"]
    assert record.score("f1_macro") == record.score("f1_macro")
    assert vxlab.RunRecord.load(record.folder) == record


def test_a_record_says_what_was_said_of_its_data(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    own = shutil.copytree(toy_task, tmp_path / "own")
    shutil.copy(own / "test.csv", own / "validation.csv")
    with pytest.warns(UserWarning, match="texts stand in two splits: 40 of the 40 rows of test"):
        record = _run(toy_runs.spec(tiny_model, str(own), epochs=1), tmp_path)
    assert record.task["overlap"]["test"]["validation"] == 40
    assert any("40 of the 40 rows of test (100.0 %) are in validation too" in note for note in record.task["notes"])
    assert vxlab.RunRecord.load(record.folder) == record


def test_a_regression_of_numbers(tiny_model: str, tmp_path: Path) -> None:
    task = toy_runs.write_task(tmp_path / "numbers", (-0.5, 0.75, 0.1))
    record = _run(toy_runs.spec(tiny_model, task, head_learning_rate=5e-2, label_kind="numbers"), tmp_path / "runs")
    logits, labels = record.predictions()
    assert (logits.shape, labels.dtype) == ((40, 1), torch.float32)
    assert record.score() == pytest.approx(np.corrcoef(logits[:, 0], labels)[0, 1], abs=1e-5)
    assert record.task["majority"]["test"] == {"pearson": 0, "spearman": 0}


@pytest.mark.parametrize(
    ("task", "labels", "metrics"), [("stsb", 1, {"pearson", "spearman"}), ("rte", 2, {"accuracy"})]
)
def test_glue_runs_end_to_end_on_real_minilm(
    task: str, labels: int, metrics: set[str], glue: Path, tmp_path: Path
) -> None:
    spec = vxlab.recipe(
        "lora", scale="smoke", task=task, task_folder=str(glue), eval_examples=24, max_length=64, device="cpu"
    )
    record = _run(spec, tmp_path)
    assert {row["metric"] for row in record.metrics} == metrics | {"loss"}
    assert record.predictions()[0].shape == (24, labels)
    assert all(-1 <= record.score(name) <= 1 for name in metrics)
    assert record.status == "finished"
    assert record.layers == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": "qury"}, "targets='qury' matches no layer"),
        ({"method": vxlab.LoRAXS(rank=33)}, "rank=33"),
        ({"max_length": 513}, "max_length=513: .* reads 512 tokens at most; choose 1 to 512"),
        ({"train_examples": 121}, "train_examples=121: the training split of .* has 120 rows"),
        ({"precision": "float16"}, "precision='float16' needs a CUDA device, and this run is on cpu"),
        ({"text_columns": ("words",)}, "no column 'words' among text, label"),
    ],
)
def test_a_refused_run_leaves_nothing_behind(
    changes: dict[str, Any], message: str, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    with pytest.raises(vxlab.VxlabError, match=message):
        _run(toy_runs.spec(tiny_model, toy_task, **changes), tmp_path)
    with Store(tmp_path) as store:
        assert store.table().empty
        assert not store.folder.exists()
