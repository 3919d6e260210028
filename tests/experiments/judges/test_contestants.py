"""Who answers: candidates by their settings, seeds together, the base once."""

import dataclasses

import pytest
import toy_writers

import vxlab
from vxlab import VxlabError
from vxlab.experiments.judges.contestants import BASE, contestants_of


@pytest.fixture(scope="module")
def record(tmp_path_factory, tiny_writer, toy_prompts):
    spec = toy_writers.spec(tiny_writer, toy_prompts, epochs=1, max_new_tokens=0)
    return vxlab.run(spec, store=tmp_path_factory.mktemp("runs"), progress=False)


def _changed(record, **changed):
    return dataclasses.replace(record, key=str(changed), spec={**record.spec, **changed})


def _names(found):
    return [(each.candidate, each.seed) for each in found]


def test_seeds_of_one_candidate_stand_together_behind_the_base(record):
    runs = [_changed(record, seed=2), _changed(record, learning_rate=1e-3), record]
    rate = "learning_rate"
    assert _names(contestants_of(runs, True)) == [
        (BASE, 0), (f"LoRA r=4, {rate}=0.02", 0), (f"LoRA r=4, {rate}=0.02", 2), (f"LoRA r=4, {rate}=0.001", 0),
    ]  # fmt: skip
    assert _names(contestants_of(record, False)) == [("LoRA r=4", 0)]


def test_the_untuned_model_is_the_base_however_it_is_named(record, tiny_writer):
    untuned = _changed(record, method={"name": "base"}, seed=None)
    assert _names(contestants_of([untuned, tiny_writer], True)) == [(BASE, 0)]
    assert _names(contestants_of([record, untuned], False)) == [(BASE, 0), ("LoRA r=4", 0)]
    base, own = contestants_of([record], True)
    assert base.identity() != own.identity()
    assert base.identity() == contestants_of(tiny_writer, False)[0].identity()


def test_a_run_trained_anew_answers_anew(record):
    again = dataclasses.replace(record, finished_at="2030-01-01T00:00:00+00:00")
    assert contestants_of(record, False)[0].identity() != contestants_of(again, False)[0].identity()


def test_runs_that_did_not_finish_or_have_another_base_are_refused(record):
    with pytest.raises(VxlabError, match="diverged"):
        contestants_of([dataclasses.replace(record, status="diverged")], True)
    other = dataclasses.replace(record, key="x", identity={**record.identity, "model": "0" * 64})
    with pytest.raises(VxlabError, match="runs differ in their base models"):
        contestants_of([record, other], True)
