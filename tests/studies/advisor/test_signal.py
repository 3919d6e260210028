"""The gradients that advice rests on: how many, what they cost, and which are refused."""

import re
import warnings

import pytest
import torch

import vxlab
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments.runs import Materials
from vxlab.studies.advisor import signal as signals
from vxlab.studies.advisor.signal import settle_batches, signal_by_layer, steps_of


def _spec(model, task, **changes):
    settings = {
        "method": vxlab.LoRA(rank=2), "learning_rate": 1e-3, "head_learning_rate": 1e-3, "targets": "query-value",
        "epochs": 2, "batch_size": 8, "max_length": 16, "device": "cpu",
    }  # fmt: skip
    return vxlab.RunSpec(model=model, task=task, **settings | changes)


def test_batches_are_capped_by_what_the_run_costs_and_never_too_few():
    assert settle_batches(None, steps=1000, in_split=500) == 16
    assert settle_batches(None, steps=200, in_split=100) == 10
    assert settle_batches(None, steps=30, in_split=15) == 4
    assert settle_batches(12, steps=30, in_split=15) == 12
    with pytest.raises(VxlabError, match="batches=4 is more than the 3"):
        settle_batches(None, steps=30, in_split=3)


def test_the_runs_steps_are_those_that_training_takes(tiny_model, toy_task):
    assert steps_of(_spec(tiny_model, toy_task), rows=120) == 30
    assert steps_of(_spec(tiny_model, toy_task, ends_after=0.5), rows=121) == 16


def test_the_parts_of_a_batch_together_are_its_rows(tiny_model, toy_task, capsys):
    found = signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4)
    assert re.search(r"8/8 .*part", capsys.readouterr().out)  # the bar counts parts, and calls them so
    assert len(found) == 4
    assert all(each.shape == (8, 32, 32) for each in found.values())  # four batches in halves
    again = signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4, progress=False)
    assert all(torch.equal(found[name], again[name]) for name in found)


def _write(folder, train):
    """Write a task of these rows, and of others to score."""
    folder.mkdir()
    others = {split: [(f"{split} {i}", i % 2) for i in range(40)] for split in ("validation", "test")}
    for split, rows in {"train": train, **others}.items():
        lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
        (folder / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def test_labels_of_one_class_are_refused(tmp_path, tiny_model):
    task = _write(tmp_path / "one", [(f"text {i}", 0) for i in range(40)])
    for split in ("validation", "test"):
        lines = [f"{split} {i},0" for i in range(40)]
        (tmp_path / "one" / f"{split}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    with pytest.raises(VxlabError, match="nothing to learn"):
        vxlab.advise(tiny_model, task, vxlab.LoRA(rank=2), batches=4, batch_size=8, device="cpu", progress=False)


def test_a_label_that_no_batch_holds_is_not_blamed_on_a_layer(tmp_path, tiny_model):
    task = _write(tmp_path / "rare", [(f"text {i}", int(i == 700)) for i in range(800)])
    with pytest.raises(VxlabError, match="of the 32 rows that are read are the same"):
        signal_by_layer(_spec(tiny_model, task), Materials(), 4, progress=False)


def test_batches_of_one_row_are_refused(tiny_model, toy_task):
    for batches in (4, 8):
        with pytest.raises(VxlabError, match="batch_size=1: what a label teaches"):
            vxlab.advise(
                tiny_model, toy_task, vxlab.LoRA(rank=2), batches=batches, batch_size=1, device="cpu", progress=False
            )


def test_rows_that_repeat_are_told(tmp_path, tiny_model, toy_task):
    task = _write(tmp_path / "twice", [(f"text {i % 20}", i % 20 % 2) for i in range(40)])
    with pytest.warns(DataWarning, match="of the 32 rows that the advice reads, 1[0-9] repeat others"):
        signal_by_layer(_spec(tiny_model, task), Materials(), 4, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4, progress=False)


@pytest.mark.parametrize(("spoil", "message"), [(float("nan"), "holds NaN"), (0.0, "is zero in every batch")])
def test_a_gradient_that_says_nothing_is_refused_by_its_layer(monkeypatch, tiny_model, toy_task, spoil, message):
    spoilt = "bert.encoder.layer.1.attention.self.value"

    def some(*args):
        for size, gradients in batch_gradients(*args):
            yield size, gradients | {spoilt: torch.full_like(gradients[spoilt], spoil)}

    batch_gradients = signals.batch_gradients
    monkeypatch.setattr(signals, "batch_gradients", some)
    with pytest.raises(VxlabError, match=f"the gradient of `{spoilt}` {message}"):
        signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4, progress=False)


def test_gradients_that_memory_cannot_hold_are_refused_before_any_is_taken(tiny_model, toy_task, monkeypatch):
    class Full:
        available = 200_000  # bytes; eight gradients of four layers of 32 by 32 take 131,072

    monkeypatch.setattr("psutil.virtual_memory", lambda: Full)
    signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4, progress=False)
    Full.available = 150_000
    with pytest.raises(VxlabError, match=r"8 batches for all targets take 131 kB, and 150 kB of memory is free"):
        signal_by_layer(_spec(tiny_model, toy_task), Materials(), 4, progress=False)
