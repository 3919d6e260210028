"""Runs brought together: what they differ in is said with counts, and what makes them another question is refused."""

import dataclasses

import pytest
import toy_records as toy

from vxlab import VxlabError
from vxlab.experiments.provenance.mixed_runs import describe_mixture, require_comparable

VERSIONS = {"vxlab": "1.0", "torch": "2.11.0", "transformers": "5.0"}
HARDWARE = {"device": "cpu", "processor": "a processor", "threads": 1}


@pytest.fixture
def run(tmp_path):
    return toy.stored_record(tmp_path, toy.key_of(0), versions=VERSIONS, hardware=HARDWARE)


def _changed(record, number=1, **fields):
    for name in ("identity", "versions", "hardware", "spec", "task"):
        if name in fields:
            fields[name] = getattr(record, name) | fields[name]
    return dataclasses.replace(record, key=toy.key_of(number), **fields)


def test_runs_that_are_alike_are_no_mixture(run):
    alike = [run, _changed(run), _changed(run, 2, spec={"seed": 5, "learning_rate": 0.5})]
    assert describe_mixture(alike) == describe_mixture([run]) == describe_mixture([]) == ()
    require_comparable(alike)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"torch": "2.13.0"}}, "torch 2.11.0 (2 runs) and 2.13.0 (1 run)."),
        ({"versions": {"transformers": "6.0"}}, "transformers 5.0 (2 runs) and 6.0 (1 run)."),
        ({"identity": {"vxlab": "1.1"}}, "vxlab 1.0 (2 runs) and 1.1 (1 run)."),
        ({"identity": {"precision": "bfloat16"}}, "precision bfloat16 (1 run) and float32 (2 runs)."),
        ({"identity": {"processes": "2"}}, "processes 1 (2 runs) and 2 (1 run)."),
        ({"hardware": {"device": "cuda", "gpu": "NVIDIA H200"}}, "device CPU (2 runs) and NVIDIA H200 (1 run)."),
        ({"identity": {"model": "f" * 64}}, "weights of minilm 0a1b (2 runs) and ffffffffffff (1 run)."),
        ({"identity": {"task": "e" * 64}}, "data of toy 2c3d (2 runs) and eeeeeeeeeeee (1 run)."),
    ],
)  # fmt: skip
def test_a_difference_is_said_with_its_values_and_counts(run, changed, said):
    told = describe_mixture([run, _changed(run), _changed(run, 2, **changed)])
    assert told == (f"Not all of these 3 runs were computed alike: {said}",)


def test_threads_and_processor_are_said_of_the_times_alone(run):
    faster = _changed(run, hardware={"threads": 2, "processor": "another"})
    said = "processor a processor (1 run) and another (1 run); threads 1 (1 run) and 2 (1 run)."
    assert describe_mixture([run, faster]) == (f"Their times were not all taken alike: {said}",)


def test_what_was_not_recorded_is_never_taken_for_the_same(run):
    older = dataclasses.replace(run, versions={}, hardware={}, identity={})
    first, second = describe_mixture([run, older])
    for name in ("torch", "transformers", "vxlab", "device"):
        assert f"{name} " in first
    assert first.count("not recorded (1 run)") == 6  # with weights and data
    assert "threads 1 (1 run) and not recorded (1 run)" in second


def test_a_librarys_version_is_asked_of_the_methods_that_need_it_and_code_of_one_method(run):
    dora = [_changed(run, i, identity={"peft": version}) for i, version in enumerate(("0.17", "0.18"))]
    assert "peft 0.17 (1 run) and 0.18 (1 run)" in describe_mixture([run, *dora])[0]
    assert describe_mixture([run, dora[0]]) == ()
    own = [
        _changed(run, i, identity={"code": str(i) * 64}, spec={"method": {"name": name}})
        for i, name in ((1, "mine"), (2, "yours"))
    ]
    assert describe_mixture(own) == ()
    assert "code of mine 111111111111 (1 run) and 222222222222" in describe_mixture(
        [own[0], _changed(own[1], spec={"method": {"name": "mine"}})]
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": {"model": "f" * 64}}, "differ in their model's weights: 0a1b in run .*, ffffffffffff in run"),
        ({"spec": {"model": "mpnet"}}, "differ in their model: minilm in run .*, mpnet in run"),
        ({"identity": {"task": "e" * 64}}, "differ in their data: run .* read 2c3d, run .* eeeeeeeeeeee, by one name"),
        ({"task": {"metrics": ["f1", "accuracy"]}}, "differ in their metric: accuracy in run .*, f1 in run"),
        ({"task": {"name": "sst2"}}, "differ in their task: toy in run .*, sst2 in run"),
    ],
)
def test_runs_of_different_questions_are_refused(run, changed, message):
    with pytest.raises(VxlabError, match=message):
        require_comparable([run, _changed(run, **changed)])


def test_more_training_examples_are_other_data_by_the_askers_own_wish(run):
    more = _changed(run, identity={"task": "e" * 64}, spec={"train_examples": 100})
    require_comparable([run, more])
    assert describe_mixture([run, more]) == ()


def test_two_kinds_of_data_are_told_beside_a_run_on_fewer_examples_of_one_kind(run):
    other = _changed(run, 1, identity={"task": "e" * 64})
    fewer = _changed(run, 2, spec={"train_examples": 100})
    assert "data of toy 2c3d (1 run) and eeeeeeeeeeee (1 run)" in describe_mixture([run, other, fewer])[0]
