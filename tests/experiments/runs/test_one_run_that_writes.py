"""Runs of models that write, from their rows to what the store keeps of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_writers

import vxlab
from vxlab.errors import DataWarning
from vxlab.experiments import RunRecord
from vxlab.experiments.candidates import score_table
from vxlab.experiments.runs import answering_of, load_trained
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.runs.written import likelihoods
from vxlab.experiments.scoring import compute
from vxlab.experiments.tasks.kinds import GENERATION, IGNORED
from vxlab.experiments.tasks.kinds.answers import encode_answers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_writers.write_model(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_writers.write_task(tmp_path_factory.mktemp("pairs") / "toy")


@pytest.fixture(scope="module")
def runs(model: str, task: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    store = tmp_path_factory.mktemp("store") / "runs.db"
    dora = vxlab.PEFT("dora", {"r": 4})
    methods = {"full": vxlab.Full(), "lora": vxlab.LoRA(rank=4), "base": vxlab.Base(), "dora": dora}
    return {
        name: vxlab.run(toy_writers.spec(model, task, method=method, epochs=4), store=store, progress=False)
        for name, method in methods.items()
    }


def test_full_fine_tuning_learns_and_an_adapter_gains(runs: dict[str, RunRecord]) -> None:
    losses = {name: run.score("loss") for name, run in runs.items()}
    assert losses["full"] < losses["lora"] < losses["base"]
    assert losses["dora"] < losses["base"]
    assert runs["full"].score("log_likelihood") > runs["full"].task["majority"]["test"]["log_likelihood"]
    assert all(run.score("log_likelihood") == -run.score("loss") for run in runs.values())
    assert runs["base"].parameters["backbone"] == runs["base"].steps == 0
    assert all(run.parameters["head"] == 0 for run in runs.values())


def test_every_score_follows_from_what_is_kept(runs: dict[str, RunRecord]) -> None:
    for run in runs.values():
        predictions, labels = (tensor.numpy() for tensor in run.predictions())
        scores = compute(run.task["metrics"], predictions, labels)
        assert scores == {name: run.score(name) for name in run.task["metrics"]}
        assert len(run.texts()) == len(labels) == toy_writers.ROWS["test"]
        hits = np.array(list(run.texts()))
        references = [row["references"] for row in _test_rows(run)]
        exact = np.mean([text in several for text, several in zip(hits, references, strict=True)])
        assert run.score("exact_match") == pytest.approx(exact)


def test_the_saved_adapter_gives_the_stored_likelihoods_and_texts(runs: dict[str, RunRecord]) -> None:
    for run in runs.values():
        trained, materials = load_trained(run), Materials()
        job = materials.job(_spec(run))
        assert job.key == run.key
        sums = likelihoods(trained, job, materials, "test")
        np.testing.assert_allclose(sums, run.predictions()[0][:, :2].numpy(), rtol=1e-5)


def test_the_likelihood_is_that_of_a_loop_in_float64(runs: dict[str, RunRecord]) -> None:
    run = runs["lora"]
    trained, materials = load_trained(run).double(), Materials()
    spec = _spec(run)
    rows = materials.task(spec).splits["test"][:]
    encoded = encode_answers(rows, materials.tokenizer(spec), spec.form, "test")
    total = np.zeros((len(rows["text"]), 2))
    for ids, labels, row in zip(encoded["input_ids"], encoded["labels"], encoded["row"], strict=True):
        with torch.no_grad():
            logs = torch.log_softmax(trained(input_ids=torch.tensor([ids])).logits[0], -1)
        for place in range(1, len(ids)):
            if labels[place] != IGNORED:
                total[row] += float(logs[place - 1, labels[place]]), 1
    np.testing.assert_allclose(run.predictions()[0][:, :2].numpy(), total, rtol=1e-5)


def test_the_simplest_answer_is_kept_and_is_no_model(runs: dict[str, RunRecord]) -> None:
    run = runs["full"]
    trivial, labels = run.constant(), run.predictions()[1].numpy()
    scores = compute(run.task["metrics"], trivial, labels)
    assert scores == run.task["majority"]["test"]
    table = score_table({"full": run})
    assert table["answer"].iloc[0] == "token frequencies"
    assert (table["low"].iloc[1] < table["score"].iloc[1]) & (table["score"].iloc[1] < table["high"].iloc[1])
    assert scores["log_likelihood"] < run.score("log_likelihood")


@pytest.mark.parametrize("changes", [{"packing": True}, {"gradient_accumulation": 4}, {"gradient_checkpointing": True}])
def test_what_saves_memory_changes_no_number(
    changes: dict[str, Any], model: str, task: str, tmp_path: Path, runs: dict[str, RunRecord]
) -> None:
    run = vxlab.run(toy_writers.spec(model, task, epochs=4, **changes), store=tmp_path / "runs.db", progress=False)
    plain = runs["lora"]
    assert run.key != plain.key
    assert run.score("loss") == pytest.approx(plain.score("loss"), rel=1e-3)
    assert [row["loss"] for row in run.curve] == pytest.approx([row["loss"] for row in plain.curve], rel=1e-3)


def test_a_base_run_has_no_rates_and_is_one(model: str, task: str) -> None:
    materials = Materials()
    one, other = (
        materials.job(toy_writers.spec(model, task, method=vxlab.Base(), seed=seed, learning_rate=rate))
        for seed, rate in ((0, 1e-2), (3, 1e-3))
    )
    assert one.key == other.key


def test_the_heads_rate_does_not_enter_where_there_is_no_head(model: str, task: str) -> None:
    materials = Materials()
    keys = {materials.job(toy_writers.spec(model, task, head_learning_rate=rate)).key for rate in (0.0, 5e-3)}
    assert len(keys) == 1


def test_too_few_tokens_for_any_reference_are_said(model: str, task: str, tmp_path: Path) -> None:
    spec = toy_writers.spec(model, task, method=vxlab.Base(), max_new_tokens=6)
    with pytest.warns(DataWarning, match="max_new_tokens=6: to 6 of the 12 inputs of the test split all references"):
        vxlab.run(spec, store=tmp_path / "runs.db", progress=False)


def test_without_tokens_to_write_the_likelihood_is_all(model: str, task: str, tmp_path: Path) -> None:
    spec = toy_writers.spec(model, task, max_new_tokens=0, epochs=1)
    run = vxlab.run(spec, store=tmp_path / "runs.db", progress=False)
    assert run.task["metrics"] == ["log_likelihood"]
    assert run.predictions()[0].shape[1] == 2
    with pytest.raises(
        vxlab.VxlabError, match="wrote none, or is of an atlas, which keeps none; train it with max_new_tokens above 0"
    ):
        run.texts()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": vxlab.Probe()}, r"method=Probe\(\): .* whose model has no head to fit; take Base\(\)"),
        ({"method": vxlab.Head()}, r"method=Head\(\): .* whose model has no head to fit"),
        ({"max_length": 120}, "max_length=120 and max_new_tokens=12: .* has 128 positions"),
        ({"chat_template": "tokenizer"}, "brings no chat template"),
        ({"model": "minilm"}, "model='minilm' cannot write"),
    ],
)
def test_what_does_not_suit_a_model_that_writes_is_refused(
    changes: dict[str, Any], says: str, model: str, task: str, tmp_path: Path
) -> None:
    with pytest.raises(vxlab.VxlabError, match=says):
        vxlab.run(toy_writers.spec(**{"model": model, "task": task} | changes), store=tmp_path / "runs.db")


@pytest.mark.parametrize("method", [vxlab.LoRA(rank=4), vxlab.Base()], ids=["lora", "base"])
def test_references_without_the_answer_a_metric_extracts_are_refused_before_anything_is_trained_or_written(
    method: Any, model: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any, **named: Any) -> None:
        raise AssertionError("trained or written before the references were read")

    read = Materials.task
    extracted = ("log_likelihood", "gsm8k")
    monkeypatch.setattr(Materials, "task", lambda self, spec: dataclasses.replace(read(self, spec), metrics=extracted))
    monkeypatch.setattr("vxlab.experiments.runs.written.write_texts", never)
    monkeypatch.setattr("vxlab.experiments.runs.trainer.AdapterTrainer.train", never)
    spec = toy_writers.spec(model, task, method=method)
    with pytest.raises(vxlab.VxlabError, match=r"gsm8k: item 0's reference '.*' holds no answer that the rule reads"):
        vxlab.run(spec, store=tmp_path / "runs.db", progress=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_new_tokens": 8}, "max_new_tokens=8: .* is a task of classification, and its model writes nothing"),
        ({"packing": True}, "packing=True: .* writes nothing; leave it out"),
        ({"method": vxlab.Base()}, r"method=Base\(\): .* whose head is new and answers nothing untrained"),
        ({"head_learning_rate": 0.0}, "head_learning_rate=0.0 is not a positive number"),
    ],
)
def test_what_does_not_suit_a_classifier_is_refused(
    changes: dict[str, Any], says: str, tiny_model: str, toy_task: str
) -> None:
    settings = {"method": vxlab.LoRA(rank=2), "learning_rate": 1e-3, "head_learning_rate": 1e-3, "max_length": 16}
    with pytest.raises(vxlab.VxlabError, match=says):
        Materials().job(vxlab.RunSpec(model=tiny_model, task=toy_task, **settings | changes))


def _spec(run: RunRecord) -> vxlab.RunSpec:
    from vxlab.adapters.methods import method_from_name

    names = {each.name for each in dataclasses.fields(vxlab.RunSpec)}
    method = dict(run.spec["method"])
    made = method_from_name(method.pop("name"), **method)
    kept = {name: value for name, value in run.spec.items() if name in names and value is not None}
    return vxlab.RunSpec(**kept | {"method": made})


def _test_rows(run: RunRecord) -> list[dict[str, Any]]:
    return list(_spec(run).load_task().splits["test"])


def test_the_simplest_answer_is_computed_once_for_the_same_rows_alone(model: str, task: str) -> None:
    materials, answering = Materials(), answering_of(GENERATION)
    jobs = {size: materials.job(toy_writers.spec(model, task, eval_examples=size)) for size in (4, 6)}
    found = {size: answering.trivial(job, materials, "test") for size, job in jobs.items()}
    assert {size: len(each) for size, each in found.items()} == {4: 4, 6: 6}
    assert answering.trivial(jobs[4], materials, "test") is found[4]
    assert len(answering.trivial(jobs[4], materials, "validation")) == 4
