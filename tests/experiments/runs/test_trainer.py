"""Training: two learning rates, checkpoints of trained tensors, an early end on divergence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_runs
from safetensors import safe_open

import vxlab
from vxlab.adapters.placement.targets import head_parameters
from vxlab.experiments.runs import trainer as training
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.one_run import _trainer
from vxlab.experiments.runs.trained import layer_updates, load_trained


def trainer_of(spec: vxlab.RunSpec, folder: Path) -> training.AdapterTrainer:
    materials = Materials(reuse=False)
    return _trainer(materials.job(spec), folder, materials, training.Watch("", show=False, ends_after=1))


def test_the_curve_has_a_row_at_every_epochs_end(
    tiny_model: str, toy_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without it a resumed run would average over fewer steps in its first row than one that was never killed.
    spec = toy_runs.spec(tiny_model, toy_task)
    fine = vxlab.run(spec, store=tmp_path, progress=False).curve
    monkeypatch.setattr(training, "LOGS_PER_RUN", 4)
    coarse = vxlab.run(spec, store=tmp_path, fresh=True, progress=False).curve
    assert [row["step"] for row in coarse] == [7, 14, 15, 21, 28, 30]
    losses = [row["loss"] for row in fine]
    assert [row["step"] for row in fine] == list(range(1, 31))
    assert coarse[1]["loss"] == pytest.approx(sum(losses[7:14]) / 7)
    assert coarse[3]["loss"] == pytest.approx(sum(losses[15:21]) / 6)


def _trainer_of(spec: vxlab.RunSpec, folder: Path) -> training.AdapterTrainer:
    materials = Materials(reuse=False)
    return _trainer(materials.job(spec), folder, materials, training.Watch("", show=False, ends_after=1))


def test_a_step_in_parts_has_the_loss_of_a_whole_one(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    # BERT takes **kwargs and makes nothing of the step's number of rows: the sum of four parts' losses is no mean.
    whole, parts = (
        vxlab.run(
            toy_runs.spec(tiny_model, toy_task, epochs=1, gradient_accumulation=several), store=tmp_path, progress=False
        )
        for several in (1, 4)
    )
    mean, of_parts = (sum(row["loss"] for row in run.curve) / len(run.curve) for run in (whole, parts))
    assert of_parts == pytest.approx(mean, rel=0.1)


def test_checkpoints_hold_the_trained_tensors_only(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    trainer = trainer_of(toy_runs.spec(tiny_model, toy_task, epochs=1), tmp_path)
    trainer.train()
    checkpoint = tmp_path / "checkpoints" / f"checkpoint-{toy_runs.STEPS}"
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    size = sum(path.stat().st_size for path in checkpoint.iterdir())
    assert size < sum(p.numel() * p.element_size() for p in trainer.model.parameters()) / 30


def test_a_checkpoint_brings_back_buffers_that_training_moves(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    trainer = trainer_of(toy_runs.spec(tiny_model, toy_task), tmp_path)
    trainer.model.bert.register_buffer("mean", torch.tensor([1.0, 2.0]))  # as BatchNorm's, of what it has seen
    trainer._save(str(tmp_path / "checkpoint-1"))
    trainer.model.bert.mean += 5
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert trainer.model.bert.mean.tolist() == [1.0, 2.0]


def test_a_checkpoint_of_other_tensors_is_refused(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    trainer = trainer_of(toy_runs.spec(tiny_model, toy_task), tmp_path)
    loaded = torch.nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(2, 2), "other": torch.zeros(1)}, strict=False)
    with pytest.raises(vxlab.VxlabError, match="the checkpoint does not fit the model: other; delete its folder"):
        trainer._issue_warnings_after_load(loaded)


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=2), vxlab.VeRA(rank=8), vxlab.BitFit(), vxlab.Head(), vxlab.Full()])
def test_adapter_and_head_have_their_own_learning_rates(
    method: Any, tiny_model: str, toy_task: str, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, method=method, learning_rate=3e-4, head_learning_rate=7e-3)
    trainer = trainer_of(spec, tmp_path)
    rates = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}
    head = head_parameters(trainer.model)
    trained = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert {name: rates[id(p)] for name, p in trained.items()} == {
        name: 7e-3 if name in head else 3e-4 for name in trained
    }
    assert len(rates) == len(trained)


def test_both_learning_rates_act_and_follow_one_schedule(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    still, moving = (
        toy_runs.spec(tiny_model, toy_task, learning_rate=rate, epochs=1, warmup=0.2) for rate in (1e-12, 1e-2)
    )
    records = [vxlab.run(spec, store=tmp_path, progress=False) for spec in (still, moving)]
    moved = []
    for record in records:
        model = load_trained(record)
        moved.append(layer_updates(model)["relative_norm"].max())
        assert float(model.classifier.bias.detach().norm()) > 1e-3
    assert moved[0] < 1e-9 < 1e-2 < moved[1]
    rates = [row["learning_rate"] for row in records[1].curve]
    assert rates[:3] == pytest.approx([0, 1e-2 / 3, 2e-2 / 3])
    assert (max(rates), rates.index(max(rates))) == (pytest.approx(1e-2), 3)
    assert rates[-1] == pytest.approx(1e-2 / 12)


def test_the_seed_orders_the_batches(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    def order(seed: int) -> list[int]:
        return list(trainer_of(toy_runs.spec(tiny_model, toy_task, seed=seed), tmp_path)._get_train_sampler())

    assert order(0) == order(0) != order(1)


def test_weight_decay_is_on_matrices_only(tiny_model: str) -> None:
    model = vxlab.attach(vxlab.load_model(tiny_model, 2), vxlab.Full())
    groups = training.parameter_groups(model, 1e-3, 1e-2, weight_decay=0.1)
    assert {(group["weight_decay"], p.ndim > 1) for group in groups for p in group["params"]} == {
        (0.1, True),
        (0, False),
    }


def test_a_diverged_loss_ends_the_run_with_its_own_status(tiny_model: str, toy_task: str, tmp_path: Path) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, learning_rate=1e4, head_learning_rate=1e4)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    assert record.status == "diverged"
    assert record.steps < 2 * toy_runs.STEPS
    assert record.best_epoch is None
    assert "test" not in {row["split"] for row in record.metrics}
    assert record.score() != record.score()
    with pytest.raises(vxlab.VxlabError, match=r"\(diverged\) holds no predictions for split='test'"):
        record.predictions()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads((record.folder / "record.json").read_text(), parse_constant=refuse)
    assert vxlab.run(spec, store=tmp_path, progress=False).finished_at == record.finished_at


class _State:
    is_world_process_zero, max_steps, global_step = True, 4, 0

    def __init__(self, *losses: float) -> None:
        self.log_history = [{"loss": loss} for loss in losses]


class _Control:
    should_training_stop = False


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.0, 19.0, 20.0], False),
        ([2.0, 20.1], True),
        ([0.1, 9.0], False),
        ([0.1, 10.1], True),
        ([float("nan")], True),
        ([0.7, float("inf")], True),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_divergence_is_a_loss_ten_times_the_start(losses: list[float], diverged: bool, resumed: bool) -> None:
    watch, control = training.Watch("", show=False, ends_after=1), _Control()
    before = losses[:-1] if resumed else []
    watch.on_train_begin(None, _State(*before), control)
    for loss in losses[len(before) :]:
        watch.on_log(None, None, control, logs={"loss": loss})
    watch.on_log(None, None, control, logs={"eval_loss": 1e9})
    assert watch.diverged is diverged
    assert control.should_training_stop is diverged


def test_progress_shows_the_method_the_task_and_the_steps(
    tiny_model: str, toy_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    vxlab.run(spec, store=tmp_path)
    shown = capsys.readouterr()
    assert "lora on" in shown.out
    assert f"{toy_runs.STEPS}/{toy_runs.STEPS}" in shown.out
    assert shown.err == ""
    vxlab.run(spec, store=tmp_path, fresh=True, progress=False)
    assert capsys.readouterr() == ("", "")
