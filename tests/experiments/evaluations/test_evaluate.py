"""Outside tasks give lm-eval's own numbers, of a model as it is and of what a run trained."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import outside
import pytest
import torch
import toy_writers
from outside import evaluate

import vxlab
from vxlab.experiments.evaluations.apart import harness_apart
from vxlab.experiments.runs.trained import load_trained


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
    found = []
    for folder in (model, outside.STORIES):
        (one,) = evaluate(str(folder), tmp_path, templates, ["gsm8k"], limit=3).evaluations
        assert one.scores == numbers(lm_eval_alone(folder, "gsm8k", templates, 3)["results"]["gsm8k"])
        found.append(one)
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].key != found[1].key
