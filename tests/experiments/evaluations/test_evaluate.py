"""Outside tasks give lm-eval's own numbers, are kept one by one, and are not asked twice."""

import importlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
import toy_runs
import toy_writers

import vxlab
from vxlab.experiments.evaluations.apart import harness_apart
from vxlab.experiments.evaluations.ask import ask
from vxlab.experiments.evaluations.results import Evaluations
from vxlab.experiments.runs.trained import load_trained
from vxlab.experiments.store.store import Store

TASKS = ["arc_easy", "lambada_standard"]
MODULE: Any = importlib.import_module("vxlab.experiments.evaluations.evaluate")


def evaluate(runs: Any, store: Any, templates: Path, tasks: Any = TASKS, **more: Any) -> Evaluations:
    settings: dict[str, Any] = {"task_folder": templates, "device": "cpu", "limit": 6, "progress": False}
    return vxlab.evaluate(runs, tasks, store=store, **settings | more)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the tasks that are put to models from now on."""
    told: list[str] = []

    def tell(model: Any, task: Any, *rest: Any) -> Any:
        told.append(task.name)
        return ask(model, task, *rest)

    monkeypatch.setattr(MODULE, "ask", tell)
    return told


def lm_eval_alone(folder: Any, task: str, templates: Path, limit: int, **more: str) -> dict[str, Any]:
    """Return what lm-eval finds of a model's folder, which it loads itself."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    arguments = {"pretrained": folder, "dtype": "float32", **more}
    with harness_apart():
        found: dict[str, Any] = simple_evaluate(
            model="hf", model_args=",".join(f"{name}={value}" for name, value in arguments.items()), tasks=[task],
            task_manager=TaskManager(include_path=templates, include_defaults=False), limit=limit, device="cpu",
            batch_size=16, bootstrap_iters=0,
        )  # fmt: skip
    return found


def numbers(results: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if "," in name and "_stderr" not in name}


# The numbers


CUT = pytest.mark.filterwarnings("ignore:gsm8k. .* did not fit into the 512 tokens")


@outside.here
@CUT
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_numbers_are_lm_evals_own(templates: Path, tmp_path: Path, precision: str) -> None:
    found = evaluate(str(outside.STORIES), tmp_path, templates, outside.TASKS, limit=8, precision=precision)
    mixed = {} if precision == "float32" else {"mixed_precision_dtype": precision}
    for one in found.evaluations:
        theirs = lm_eval_alone(outside.STORIES, one.task, templates, 8, **mixed)
        assert one.scores == numbers(theirs["results"][one.task])
        assert one.parts == {name: numbers(each) for name, each in theirs["results"].items() if name != one.task}
        samples = [sample for each in theirs["samples"].values() for sample in each]
        assert len(one.documents) == len({(sample["doc_hash"], sample["doc_id"]) for sample in samples})
    assert [one.task for one in found.evaluations] == list(outside.TASKS)
    assert set(found.evaluations[3].items) == {"exact_match,strict-match", "exact_match,flexible-extract"}
    assert found.evaluations[2].items == {}  # a perplexity is no mean of items
    assert set(found.evaluations[4].subtasks) == {"arc_easy", "arc_challenge"}


@outside.here
@CUT
@pytest.mark.slow
def test_the_numbers_are_those_of_lm_evals_command_line(templates: Path, tmp_path: Path) -> None:
    settings = {"limit": 20, "batch_size": 1}
    found = evaluate(str(outside.STORIES), tmp_path, templates, outside.TASKS, **settings)
    for tasks in (outside.TASKS[:-1], outside.TASKS[-1:]):  # lm-eval takes no task beside its group
        command = [
            sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args",
            f"pretrained={outside.STORIES},dtype=float32", "--tasks", ",".join(tasks), "--include_path", str(templates),
            "--limit", "20", "--device", "cpu", "--batch_size", "1", "--output_path", str(tmp_path / tasks[0]),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (written,) = (tmp_path / tasks[0]).rglob("results_*.json")
        theirs = json.loads(written.read_text(encoding="utf-8"))["results"]
        for one in found.evaluations:
            if one.task in tasks:
                assert one.scores == numbers(theirs[one.task])


def test_an_adapter_is_asked_as_if_it_were_merged(
    two_runs: list[vxlab.RunRecord], tiny_writer: str, runs_store: Path, templates: Path, tmp_path: Path
) -> None:
    found = evaluate(two_runs[0], runs_store, templates, ["lambada_standard"])
    base, tuned = found.evaluations
    merged: Any = load_trained(two_runs[0])
    vxlab.merge(merged)
    bare: Any = vxlab.adapters.detach(merged)
    bare.save_pretrained(tmp_path / "merged")
    vxlab.experiments.models.load_tokenizer(tiny_writer).save_pretrained(tmp_path / "merged")
    theirs = lm_eval_alone(tmp_path / "merged", "lambada_standard", templates, 6)["results"]["lambada_standard"]
    assert tuned.scores["perplexity,none"] == pytest.approx(theirs["perplexity,none"], rel=1e-3)
    assert abs(base.scores["perplexity,none"] / theirs["perplexity,none"] - 1) > 0.05
    assert (base.run, tuned.run) == ("", two_runs[0].key)


@pytest.mark.parametrize("method", [vxlab.Full(), vxlab.LoRA(rank=4), vxlab.LoRAXS(rank=2)])
def test_lm_eval_sees_the_model_that_was_trained(
    method: Any, tiny_writer: str, toy_prompts: str, templates: Path, tmp_path: Path
) -> None:
    rate = 2e-3 if method.name == "full" else 2e-2
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=method, max_new_tokens=0, epochs=1, learning_rate=rate)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    (one,) = evaluate(record, tmp_path, templates, ["lambada_standard"], base=False).evaluations
    model, tokenizer = load_trained(record), vxlab.experiments.models.load_tokenizer(tiny_writer)
    logs = []
    for row in outside.read_lines(outside.documents_of(templates, "lambada_standard"))[:6]:
        words = row["text"].split(" ")
        context, whole = tokenizer(" ".join(words[:-1]))["input_ids"], tokenizer(row["text"])["input_ids"]
        with torch.no_grad():
            found = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        logs.append(sum(float(found[place - 1, whole[place]]) for place in range(len(context), len(whole))))
    assert one.scores["perplexity,none"] == pytest.approx(math.exp(-sum(logs) / len(logs)), rel=1e-4)


@outside.here
@CUT
def test_a_model_writes_as_its_own_files_say(templates: Path, tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(outside.STORIES, model)
    settings = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps({**settings, "repetition_penalty": 5.0}))
    for folder in (model, outside.STORIES):
        (one,) = evaluate(str(folder), tmp_path / folder.name, templates, ["gsm8k"], limit=3).evaluations
        assert one.scores == numbers(lm_eval_alone(folder, "gsm8k", templates, 3)["results"]["gsm8k"])


# What is kept


def test_a_second_call_asks_nothing(
    two_runs: list[vxlab.RunRecord], templates: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(two_runs[0], tmp_path, templates)
    assert asked == [*TASKS, *TASKS]  # the base and the run

    def load(*_: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("vxlab.experiments.evaluations.subjects.load_model", load)
    second = evaluate(two_runs[0], tmp_path, templates)
    assert [one.key for one in second.evaluations] == [one.key for one in first.evaluations]
    assert first.table().equals(second.table())
    assert len(asked) == 4


def test_the_base_is_asked_once_for_two_adapters(
    two_runs: list[vxlab.RunRecord], templates: Path, tmp_path: Path, asked: list[str]
) -> None:
    found = evaluate(two_runs, tmp_path, templates, ["arc_easy"])
    assert [one.run for one in found.evaluations] == ["", two_runs[0].key, two_runs[1].key]
    evaluate(two_runs[1], tmp_path, templates, ["arc_easy"])
    assert asked == ["arc_easy"] * 3
    assert [one.run for one in evaluate(two_runs, tmp_path, templates, ["arc_easy"], base=False).evaluations] == [
        record.key for record in two_runs
    ]


DEADLY = """
import os, signal

def score(doc, results):
    if "VXLAB_TEST_KILL" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"acc": 1.0}
"""


def test_a_kill_loses_the_task_in_progress_alone(
    tiny_writer: str, documents: Any, tmp_path: Path, asked: list[str]
) -> None:
    outside.write_templates(tmp_path, {name: documents[name] for name in ("arc_easy", "lambada_standard", "wikitext")})
    (tmp_path / "deadly.py").write_text(DEADLY)
    with (tmp_path / "lambada_standard.yaml").open("a") as yaml:
        yaml.write("process_results: !function deadly.score\nmetric_list: [{metric: acc}]\n")
    tasks = ["arc_easy", "lambada_standard", "wikitext"]
    program = f"import vxlab; vxlab.evaluate({tiny_writer!r}, {tasks!r}, store={str(tmp_path)!r}, limit=6, "
    program += f"task_folder={str(tmp_path)!r}, device='cpu')"
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ | {"VXLAB_TEST_KILL": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with Store(tmp_path) as store:
        assert [one.task for one in store.evaluations.find()] == tasks[:1]
    evaluate(tiny_writer, tmp_path, tmp_path, tasks)
    assert asked == tasks[1:]


def test_what_decides_the_numbers_is_in_the_key(
    tiny_writer: str, documents: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    def key(file: Path, **more: Any) -> str:
        task = vxlab.LocalTask("arc_easy", {"test": file})
        settings: dict[str, Any] = {"store": tmp_path, "limit": 4, "device": "cpu", "progress": False}
        return vxlab.evaluate(tiny_writer, task, **settings | more).evaluations[0].key

    file = tmp_path / "moved.jsonl"
    file.write_bytes(documents["arc_easy"]["test"].read_bytes())
    usual = key(documents["arc_easy"]["test"])
    assert key(file) == usual  # where it lies is nothing
    assert key(file, num_fewshot=0) == usual
    others = [key(file, limit=5), key(file, batch_size=2), key(file, precision="bfloat16"), key(file, num_fewshot=1)]
    with file.open("a") as more:
        more.write(file.read_text().splitlines()[0] + "\n")
    assert key(file) == usual  # behind the limit
    outside.write_arc(file, first=1)
    assert len({usual, *others, key(file)}) == 6


def test_a_new_training_is_evaluated_anew(
    tiny_writer: str, toy_prompts: str, templates: Path, tmp_path: Path, asked: list[str]
) -> None:
    spec = toy_writers.spec(tiny_writer, toy_prompts, max_new_tokens=0, epochs=1)
    for _ in range(2):
        record = vxlab.run(spec, store=tmp_path, fresh=True, progress=False)
        evaluate(record, tmp_path, templates, ["arc_easy"], base=False)
    assert asked == ["arc_easy"] * 2
    evaluate(record, tmp_path, templates, ["arc_easy"], base=False, fresh=True)
    assert asked == ["arc_easy"] * 3
    with Store(tmp_path) as store:
        store.remove(record.key)
        assert store.evaluations.find() == []


def test_a_run_is_evaluated_when_it_ends(
    tiny_writer: str, toy_prompts: str, documents: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    task = vxlab.LocalTask("arc_challenge", documents["arc_challenge"])
    spec = toy_writers.spec(tiny_writer, toy_prompts, max_new_tokens=0, epochs=1)
    record = vxlab.run(spec, store=tmp_path, evaluate=[task], progress=False)
    with Store(tmp_path) as store:
        assert [one.run for one in store.evaluations.find(task="arc_challenge")] == ["", record.key]
        assert store.evaluations.find(run=record.key)[0].documents == store.evaluations.find(run="")[0].documents


# What is refused


def test_what_cannot_be_evaluated_is_refused(
    tiny_model: str, toy_task: str, two_runs: list[vxlab.RunRecord], tiny_writer: str, templates: Path, tmp_path: Path
) -> None:
    spec = toy_runs.spec(tiny_model, toy_task, epochs=1)
    with pytest.raises(vxlab.VxlabError, match=r"trains a head that classifies.*leave evaluate out"):
        vxlab.run(spec, store=tmp_path, evaluate=["arc_easy"], progress=False)
    record = vxlab.run(spec, store=tmp_path, progress=False)
    with pytest.raises(vxlab.VxlabError, match=r"LoRA r=4\) trained a head that classifies"):
        evaluate(record, tmp_path, templates)
    with pytest.raises(vxlab.VxlabError, match=r"cannot write: BertLMHeadModel"):
        evaluate(tiny_model, tmp_path, templates)
    for value in ([], None, 3, [record, 4]):
        with pytest.raises(vxlab.VxlabError, match=r"runs.*give what vxlab.run\(spec\) returned"):
            evaluate(value, tmp_path, templates)
    for wrong in ({"limit": 1.5}, {"num_fewshot": -1}, {"batch_size": "8"}, {"chat_template": 3}, {"device": 3},
                  {"precision": 16}, {"base": 1}, {"fresh": "no"}, {"task_folder": 3}, {"tasks": {}}):  # fmt: skip
        with pytest.raises(vxlab.VxlabError, match=next(iter(wrong))):
            evaluate(tiny_writer, tmp_path, templates, **wrong)
    with pytest.raises(vxlab.VxlabError, match=r"limit=0 is not a positive integer"):
        evaluate(tiny_writer, tmp_path, templates, limit=0)
    with pytest.raises(vxlab.VxlabError, match=r"'gsm8k' lets the model write more tokens than it has positions for"):
        evaluate(tiny_writer, tmp_path, templates, ["gsm8k"])
    with pytest.raises(vxlab.VxlabError, match=r"brings no chat template; leave chat_template out"):
        evaluate(tiny_writer, tmp_path, templates, chat_template="tokenizer")


def test_prompts_are_written_by_a_template_that_is_asked_for(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jinja"
    chat.write_text(toy_writers.CHAT)
    plain, chatted = (
        evaluate(tiny_writer, tmp_path, templates, ["lambada_standard"], chat_template=template).evaluations[0]
        for template in (None, str(chat))
    )
    assert plain.scores != chatted.scores
    assert plain.key != chatted.key


def test_prompts_that_are_cut_are_told(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"arc_easy: \d+ prompts did not fit into the 128 tokens .* lost the beginning"
    ):
        found = evaluate(tiny_writer, tmp_path, templates, ["arc_easy"], num_fewshot=6)
    (note,) = found.evaluations[0].notes
    assert found.in_words()[-1] == f"{note}."
    assert evaluate(tiny_writer, tmp_path, templates, ["arc_easy"], num_fewshot=6).in_words() == found.in_words()
    assert evaluate(tiny_writer, tmp_path, templates, ["arc_easy"]).evaluations[0].notes == ()


@outside.here
def test_prompts_to_write_on_that_are_cut_are_told(documents: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in documents["gsm8k"]["test"].read_text().splitlines()]
    rows[0]["question"] = "word " * 400
    long = {"test": outside.write_lines(tmp_path / "long.jsonl", rows), "train": documents["gsm8k"]["train"]}
    with pytest.warns(UserWarning, match=r"gsm8k: 1 prompt did not fit into the 512 tokens"):
        vxlab.evaluate(
            str(outside.STORIES), vxlab.LocalTask("gsm8k", long), store=tmp_path, limit=2, num_fewshot=1, device="cpu",
            progress=False,
        )  # fmt: skip


def test_the_process_is_left_as_it_was(tiny_writer: str, templates: Path, tmp_path: Path) -> None:
    import logging
    import random

    import numpy as np

    def states() -> tuple[Any, ...]:
        return (
            random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            logging.getLogger("lm_eval").level, torch.get_default_dtype(), "evaluate" in sys.modules,
        )  # fmt: skip

    before = states()
    evaluate(tiny_writer, tmp_path, templates)
    assert states() == before
