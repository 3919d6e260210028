"""What a record says of its training is what the optimizer, the schedule and the model did."""

import pytest
import toy_runs

import vxlab
from vxlab.experiments.record import RunRecord


@pytest.fixture(scope="module")
def trained(tiny_model, toy_task, tmp_path_factory):
    spec = toy_runs.spec(tiny_model, toy_task, weight_decay=0.01, warmup=0.2, epochs=1)
    return vxlab.run(spec, store=tmp_path_factory.mktemp("store"), progress=False)


def test_the_optimizer_and_its_decay_on_matrices_alone_are_recorded(trained):
    told = trained.training
    assert (told["optimizer"], told["betas"], told["eps"]) == ("AdamW", [0.9, 0.999], 1e-8)
    assert told["weight_decay"] == {"matrices": [0.01], "vectors": [0.0]}


def test_the_schedule_is_the_one_that_the_curve_shows(trained):
    told = trained.training
    assert (told["schedule"], told["warmup_steps"], told["total_steps"]) == ("linear", 3, 15)
    rates = {row["step"]: row["learning_rate"] for row in trained.curve}
    peak = max(rates, key=rates.__getitem__)
    assert peak - 1 == told["warmup_steps"]  # a row has the rate of its own step, counted from 0
    assert rates[peak] == pytest.approx(trained.spec["learning_rate"])


def test_clipping_dropout_and_dtypes_are_those_in_force(trained):
    told = trained.training
    assert told["clipping"] == 1.0
    assert told["dropout"]["model"]["hidden_dropout_prob"] == 0.1
    assert 0.1 in told["dropout"]["modules"]
    assert told["dropout"]["adapter"] == [0.1]
    assert (told["autocast"], told["weights"], told["trained"]) == ("", ["float32"], ["float32"])
    assert told["batches"] == "group_by_length"


def test_they_come_back_with_the_record_and_an_older_one_has_none(trained):
    loaded = RunRecord.load(trained.folder)
    assert loaded == trained
    assert loaded.training == trained.training
    fields = trained.fields()
    del fields["training"]
    older = RunRecord.from_fields(fields, trained.folder)
    assert older.training == {}
    assert older.fields() == fields  # so that its digest, by which tables are kept, stays


def test_autocast_is_told(tiny_model, toy_task, tmp_path):
    spec = toy_runs.spec(tiny_model, toy_task, precision="bfloat16", epochs=1, train_examples=16)
    told = vxlab.run(spec, store=tmp_path, progress=False).training
    assert (told["autocast"], told["weights"], told["trained"]) == ("bfloat16", ["float32"], ["float32"])
