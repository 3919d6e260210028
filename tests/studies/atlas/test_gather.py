"""Which sweeps are laid beside each other, which candidates are the same, and what is left out."""

import pytest
from toy_task_grid import ALL, QV, fill

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments.sweeps import stored_sweeps
from vxlab.studies.atlas.gather import across_tasks, choose_model
from vxlab.studies.atlas.pooled import pooled_differences

LORA, FULL, HEAD = (vxlab.LoRA(rank=4), QV, 6.0), (vxlab.Full(), QV, 7.0), (vxlab.Head(), QV, 0.0)


@pytest.fixture
def store(tmp_path):
    with vxlab.Store(tmp_path / "runs.db") as store:
        yield store


def _laid(store):
    return across_tasks(stored_sweeps(store))


def test_a_candidate_has_one_name_on_all_tasks_whatever_a_sweep_calls_it(store):
    # On the second task alone LoRA is on two sets of layers, which its sweep then names.
    fill(store, {"a": [LORA, FULL], "b": [LORA, (vxlab.LoRA(rank=4), ALL, 6.0), FULL]}, items=100, seeds=2)
    (found,) = _laid(store)
    assert set(found.candidates) == {"full fine-tuning", "LoRA r=4, query-value", "LoRA r=4, all-linear"}
    assert found.scores.groupby("candidate")["task"].nunique().to_dict() == {
        "full fine-tuning": 2, "LoRA r=4, query-value": 2, "LoRA r=4, all-linear": 1,
    }  # fmt: skip
    row = found.scores.query("task == 'a' and family == 'LoRA'").iloc[0]
    assert (row["n"], row["learning_rate"], row["edge"]) == (2, 3e-3, "high")
    assert row["step"] == pytest.approx(3)
    assert 70 < row["mean"] < 90  # points
    assert len(found.records) == 2 * 2 + 2 * 3
    assert found.left_out.empty


def test_a_file_is_called_by_its_name_and_two_of_one_name_by_their_paths(store):
    fill(store, {name: [LORA, FULL] for name in ("x/a.csv", "y/a.csv", "z/b.csv")}, items=100, seeds=2)
    (found,) = _laid(store)
    assert set(found.scores["task"]) == {"x/a.csv", "y/a.csv", "b"}


def test_settings_of_the_method_make_another_candidate(store):
    other = (vxlab.LoRA(rank=4, alpha=16), QV, 6.0)
    fill(store, {"a": [LORA, FULL], "b": [other, FULL]}, items=100, seeds=2)
    (found,) = _laid(store)
    assert sorted(found.candidates) == ["LoRA r=4, alpha=16", "LoRA r=4, alpha=null", "full fine-tuning"]


def test_models_and_metrics_without_bounds_are_kept_apart(store):
    fill(store, {"a": [LORA, FULL], "b": [LORA, FULL]}, items=100, seeds=2)
    fill(store, {"c": [LORA, FULL]}, items=100, seeds=2, identity={"model": "ffff"}, model="other")
    sweeps = stored_sweeps(store)
    found = across_tasks([*sweeps, sweeps[0]._replace(task="d", metric="log_likelihood")])
    assert [(each.name, each.unit, len(each.tasks)) for each in found] == [
        ("minilm", "points", 2), ("other", "points", 1), ("minilm, log-likelihood per token", "nats", 1),
    ]  # fmt: skip
    assert choose_model(found).name == "minilm"
    assert choose_model(found, "other").tasks["task"].tolist() == ["c"]
    with pytest.raises(VxlabError, match="there are no runs of 'othr'; did you mean 'other'"):
        choose_model(found, "othr")
    with pytest.raises(VxlabError, match="no reported run that finished"):
        choose_model([])


def test_runs_trained_otherwise_are_left_out_and_named(store):
    fill(store, {"a": [LORA, FULL, HEAD]}, items=100, seeds=2)
    fill(store, {"a": [(vxlab.VeRA(rank=64), QV, 5.0)]}, items=100, seeds=2, epochs=5)
    (found,) = _laid(store)
    (row,) = found.left_out.to_dict("records")
    assert row["what"].startswith("VeRA r=64")
    assert row["why"] == "trained otherwise: epochs 5 instead of 2"
    assert len(found.candidates) == 3


def test_a_second_sweep_of_a_task_does_not_count_as_a_task(store):
    fill(store, {"a": [LORA, FULL, HEAD]}, items=100, seeds=2)
    fill(store, {"a": [LORA, FULL]}, items=80, seeds=2)
    (found,) = _laid(store)
    assert found.tasks["task"].tolist() == ["a"]
    (why,) = found.left_out["why"]
    assert why.endswith("is of the same task")


def test_pairs_of_one_seed_have_no_interval_that_counts(store):
    fill(store, {"a": [LORA, FULL], "b": [LORA, FULL]}, items=100, seeds=1)
    (found,) = _laid(store)
    assert found.pairs.empty
    assert found.left_out["why"].str.contains("of one seed").all()
    assert len(found.scores) == 4


def test_a_task_that_is_still_tuned_is_left_out_and_spoils_no_other(store):
    fill(store, {"a": [LORA, FULL], "b": [LORA, FULL]}, items=100, seeds=2)
    fill(store, {"c": [LORA, FULL]}, items=100, seeds=0, ends_after=0.33)
    (found,) = _laid(store)
    assert set(found.tasks["task"]) == {"a", "b"}
    assert ("c", "the whole task", "nothing of it is reported yet") in set(found.left_out.itertuples(index=False))
    assert found.scores["mean"].dtype == float
    pooled_differences(found, "full fine-tuning")


def test_a_task_that_nobody_learned_says_nothing_of_candidates(store):
    fill(store, {"a": [LORA, FULL], "b": [LORA, FULL]}, items=100, seeds=2)
    fill(store, {"flat": [LORA, FULL]}, items=100, seeds=2, level=43.0)
    (found,) = _laid(store)
    assert sorted(found.tasks["task"]) == ["a", "b"]
    assert found.left_out.to_dict("records") == [
        {"task": "flat", "what": "the whole task", "why": "no candidate is shown to beat its trivial answer"}
    ]


def test_what_the_untuned_base_can_do_already_is_not_learned(store):
    base = (vxlab.Base(), QV, 0.0)
    fill(store, {"a": [base, LORA, FULL], "b": [LORA, FULL]}, items=300, seeds=2, spread=0)
    # All three beat the trivial answer here, the base as well as the others; or nobody but it does.
    fill(store, {"known": [base, *((method, QV, 0.0) for method in (LORA[0], FULL[0]))]}, items=300, seeds=2, spread=0)
    fill(store, {"spoiled": [(vxlab.Base(), QV, 20.0), LORA, FULL]}, items=300, seeds=2, spread=0)
    (found,) = _laid(store)
    assert sorted(found.tasks["task"]) == ["a", "b"]
    assert set(found.left_out.itertuples(index=False, name=None)) == {
        (task, "the whole task", "no candidate is shown to gain on the untuned base") for task in ("known", "spoiled")
    }


def test_a_store_of_tuning_alone_is_refused(store):
    fill(store, {"c": [LORA, FULL]}, items=100, seeds=0, ends_after=0.33)
    with pytest.raises(VxlabError, match="holds no reported run that finished"):
        choose_model(_laid(store))
