"""Runs of models that choose among answers, from their rows to what the store keeps of them."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vxlab
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import load_trained
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.scoring import COLUMNS, compute
from vxlab.experiments.tasks.kinds import MULTIPLE_CHOICE

ANIMALS = ("cat", "horse", "elephant", "ox")


def write_choices(folder: Path, **rows: int) -> str:
    """Write questions to which the answer can be learned: the animal that the prompt names."""
    draw = random.Random(0)
    folder.mkdir()
    for split, count in ({"train": 64, "validation": 16, "test": 24} | rows).items():
        lines = []
        for number in range(count):
            choices = draw.sample(ANIMALS, draw.choice((3, 4)))
            label = draw.randrange(len(choices))
            text = f"Number {number} of {split} names the {choices[label]}. Which?"
            lines.append(json.dumps({"text": text, "choices": choices, "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


def spec(model: str, task: str, **changes: Any) -> vxlab.RunSpec:
    settings: dict[str, Any] = {
        "method": vxlab.Full(), "learning_rate": 1e-2, "epochs": 2, "batch_size": 8, "max_length": 64, "device": "cpu",
    }  # fmt: skip
    return vxlab.RunSpec(model=model, task=task, **settings | changes)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_choices(tmp_path_factory.mktemp("choices") / "animals")


@pytest.fixture(scope="module")
def runs(tiny_writer: str, task: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    store = tmp_path_factory.mktemp("store") / "runs.db"
    methods = {"full": vxlab.Full(), "lora": vxlab.LoRA(rank=4), "base": vxlab.Base()}
    return {
        name: vxlab.run(spec(tiny_writer, task, method=method, targets="all-linear"), store=store, progress=False)
        for name, method in methods.items()
    }


def test_the_task_is_of_its_kind(task: str, runs: dict[str, RunRecord]) -> None:
    loaded = vxlab.load_task(task)
    assert loaded.kind is MULTIPLE_CHOICE
    assert loaded.metrics == ("acc", "acc_norm", "log_likelihood")
    assert runs["base"].task["kind"] == "multiple_choice"


def test_training_lowers_the_loss_of_the_right_answers(runs: dict[str, RunRecord]) -> None:
    assert runs["full"].score("loss") < runs["base"].score("loss")
    assert runs["lora"].score("loss") < runs["base"].score("loss")
    assert all(run.score("log_likelihood") == pytest.approx(-run.score("loss")) for run in runs.values())


@pytest.mark.filterwarnings("ignore:the data set same")
@pytest.mark.parametrize("more", [{}, {"packing": True, "gradient_accumulation": 4, "label_smoothing": 0.1}])
def test_validation_scores_items_as_test_does(tiny_writer: str, tmp_path: Path, more: dict[str, Any]) -> None:
    same = Path(write_choices(tmp_path / "same", validation=21))
    shutil.copy(same / "validation.jsonl", same / "test.jsonl")
    record = vxlab.run(spec(tiny_writer, str(same), epochs=1, **more), store=tmp_path / "s", progress=False)
    rows = record.metrics_table().set_index(["split", "metric"])["value"]
    assert set(rows["test"].index) == {"acc", "acc_norm", "log_likelihood", "loss"}
    assert rows["validation"].to_dict() == pytest.approx(rows["test"].to_dict(), rel=1e-6)


def test_prompts_beyond_the_models_positions_are_refused(tiny_writer: str, task: str) -> None:
    materials = Materials()
    job = materials.job(spec(tiny_writer, task, max_length=129))
    with pytest.raises(VxlabError, match=r"max_length=129: .* reads 128 tokens at most; choose 1 to 128"):
        materials.model(job.spec)


def test_every_score_follows_from_what_is_kept(runs: dict[str, RunRecord]) -> None:
    for run in runs.values():
        predictions, labels = (tensor.numpy() for tensor in run.predictions())
        assert compute(run.task["metrics"], predictions, labels) == {
            name: run.score(name) for name in run.task["metrics"]
        }


def test_choices_are_those_of_a_loop_in_float64(task: str, runs: dict[str, RunRecord]) -> None:
    run = runs["lora"]
    model, rows = load_trained(run).double().eval(), vxlab.load_task(task).splits["test"][:]
    from vxlab.experiments.models import load_tokenizer

    tokenizer = load_tokenizer(run.spec["model"])
    hits, chosen = [], []
    for text, choices, label in zip(rows["text"], rows["choices"], rows["label"], strict=True):
        scores = []
        prompt = tokenizer(text)["input_ids"]
        for choice in choices:
            ids = torch.tensor([tokenizer(f"{text} {choice}")["input_ids"]])
            with torch.inference_mode():
                logs = model(input_ids=ids).logits[0].log_softmax(-1)
            scores.append(sum(float(logs[at - 1, ids[0, at]]) for at in range(len(prompt), ids.shape[1])))
        hits.append(int(np.argmax(scores)) == label)
        chosen.append(choices[int(np.argmax(scores))])
    assert run.texts() == chosen
    assert run.score("acc") == pytest.approx(np.mean(hits))


def test_an_answer_is_shown_behind_a_context_of_its_own(tiny_writer: str, tmp_path: Path) -> None:
    rows = [
        {"text": f"_ {n} ran", "choices": ["ran", "ran"], "contexts": [f"A cat {n}", f"A dog {n}"], "label": n % 2}
        for n in range(60)
    ]
    (path := tmp_path / "gaps.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    record = vxlab.run(spec(tiny_writer, str(path), method=vxlab.Base()), store=tmp_path, progress=False)
    split = vxlab.load_task(path).splits["test"]
    told, hits = record.texts(), record.predictions()[0].numpy()[:, COLUMNS["acc"]][:, 0]
    assert told is not None
    for text, hit, contexts, label in zip(told, hits, split["contexts"], split["label"], strict=True):
        assert (text == f"{contexts[label]} ran") == bool(hit)


def test_the_trivial_answer_is_the_most_frequent_place(task: str, runs: dict[str, RunRecord]) -> None:
    loaded = vxlab.load_task(task)
    place = np.bincount(loaded.splits["train"]["label"]).argmax()
    share = np.mean(np.asarray(loaded.splits["test"]["label"]) == place)
    assert runs["base"].task["majority"]["test"]["acc"] == pytest.approx(share)
    constant = runs["base"].constant()
    assert compute(["acc"], np.asarray(constant), np.arange(24))["acc"] == pytest.approx(share)


def test_packing_and_accumulation_train_as_padding_does(tiny_writer: str, task: str, tmp_path: Path) -> None:
    plain, packed = (
        vxlab.run(spec(tiny_writer, task, epochs=1, **more), store=tmp_path, progress=False)
        for more in ({}, {"packing": True})
    )
    assert plain.score("loss") == pytest.approx(packed.score("loss"), rel=1e-4)


@pytest.mark.parametrize("more", [{"max_new_tokens": 5}, {"num_beams": 2}])
def test_what_belongs_to_writing_is_refused(tiny_writer: str, task: str, more: dict[str, Any]) -> None:
    with pytest.raises(VxlabError, match="its model writes nothing; leave it out"):
        Materials().job(spec(tiny_writer, task, **more))


def test_a_head_is_refused_in_words(tiny_writer: str, task: str) -> None:
    with pytest.raises(VxlabError, match="a task of multiple choice, whose model has no head to fit; take Base"):
        Materials().job(spec(tiny_writer, task, method=vxlab.Head(), head_learning_rate=1e-3))


def test_a_comparison_has_a_verdict(tiny_writer: str, task: str, tmp_path: Path) -> None:
    fair = vxlab.FairSweep(
        candidates=[vxlab.Candidate(vxlab.Base()), vxlab.Candidate(vxlab.Full(), learning_rate=1e-2)],
        settings={"model": tiny_writer, "task": task, "max_length": 64, "device": "cpu", "epochs": 1, "batch_size": 8},
        learning_rates=1, tuning_seeds=0, report_seeds=2, widen=0,
    )  # fmt: skip
    result = vxlab.compare(fair, store=tmp_path, engine="inline", progress=False)
    assert result.metric == "acc"
    assert "accuracy by likelihood" in result.verdict()
