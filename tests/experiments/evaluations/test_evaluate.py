"""Outside tasks give lm-eval's own numbers, are kept one by one, and leave the process as it was."""

import json
import subprocess
import sys
from pathlib import Path

import outside
import pytest

import vxlab
from vxlab.experiments.evaluations.apart import harness_apart

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of YAML files of lm-eval's form, with their documents."""
    folder = tmp_path_factory.mktemp("templates")
    return outside.write_templates(folder, outside.write_documents(folder))


def _numbers(results: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in results.items() if "," in name and "_stderr" not in name}


@outside.here
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_numbers_are_lm_evals_own(templates, tmp_path, precision):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = vxlab.evaluate(
        str(outside.STORIES), outside.TASKS, store=tmp_path, task_folder=templates, limit=8, device="cpu",
        precision=precision, progress=False,
    )  # fmt: skip
    mixed = "" if precision == "float32" else f",mixed_precision_dtype={precision}"
    for one in found.evaluations:
        with harness_apart():
            manager = TaskManager(include_path=templates, include_defaults=False)
            theirs = simple_evaluate(
                model="hf", model_args=f"pretrained={outside.STORIES},dtype=float32{mixed}", tasks=[one.task],
                task_manager=manager, limit=8, device="cpu", batch_size=16, bootstrap_iters=0,
            )  # fmt: skip
        assert one.scores == _numbers(theirs["results"][one.task])
        assert one.parts == {name: _numbers(each) for name, each in theirs["results"].items() if name != one.task}
        assert len(one.documents) == sum(len(each) for each in theirs["samples"].values()) / (
            2 if one.task == "gsm8k" else 1
        )
    assert [one.task for one in found.evaluations] == list(outside.TASKS)


@outside.here
@pytest.mark.slow
def test_the_numbers_are_those_of_lm_evals_command_line(templates, tmp_path):
    settings = {"task_folder": templates, "limit": 20, "device": "cpu", "batch_size": 1, "progress": False}
    found = vxlab.evaluate(str(outside.STORIES), outside.TASKS, store=tmp_path, **settings)
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
                assert one.scores == _numbers(theirs[one.task])
