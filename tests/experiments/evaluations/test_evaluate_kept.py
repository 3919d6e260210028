"""What was evaluated is kept one by one, under a key of all that decides the numbers, and not asked twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import outside
import pytest
import toy_writers
from outside import TWO_TASKS as TASKS
from outside import evaluate

import vxlab
from vxlab.experiments.store.store import Store


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


def test_a_run_on_a_quantised_base_is_asked_beside_that_base(
    tiny_writer: str, toy_prompts: str, templates: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    schemes = (None, "nf4")
    specs = [toy_writers.spec(tiny_writer, toy_prompts, epochs=1, quantisation=scheme) for scheme in schemes]
    runs = [vxlab.run(spec, store=tmp_path / "runs", progress=False) for spec in specs]
    found = [evaluate(run, tmp_path / "kept", templates, ["arc_easy"]) for run in runs]
    asked = [(one.run, one.key) for each in found for one in each.evaluations]
    assert [run for run, _ in asked] == ["", runs[0].key, "", runs[1].key]
    assert len({key for _, key in asked}) == 4  # the float base's answers are not the quantised one's
