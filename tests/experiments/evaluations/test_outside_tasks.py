"""Outside tasks are found by name, told apart by what they hold, and refused where they would run foreign programs."""

import shutil
from pathlib import Path
from typing import Any

import outside
import pytest

import vxlab
from vxlab.experiments.evaluations.outside_tasks import load_outside_tasks

PLAIN = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices.text}}}}"
doc_to_target: "{{{{choices.label.index(answerKey)}}}}"
"""


def _write(folder: Path, name: str, file: Path, more: str = "") -> None:
    (folder / f"{name}.yaml").write_text(PLAIN.format(name=name, file=file) + more, encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder with a task of one's own, ``mine``, on ``arc.jsonl``."""
    _write(tmp_path, "mine", outside.write_arc(tmp_path / "arc.jsonl"))
    return tmp_path


def _content(folder: Path, name: Any = "mine", **more: Any) -> str:
    (task,) = load_outside_tasks(name, task_folder=folder, **more)
    return task.content


def test_a_task_is_told_by_what_it_holds(own: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    usual = _content(own)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "there"
    shutil.copytree(own, elsewhere)
    _write(elsewhere, "mine", elsewhere / "arc.jsonl")
    assert _content(elsewhere) == usual == _content(own, own / "mine.yaml")
    _write(elsewhere, "mine", elsewhere / "arc.jsonl", "target_delimiter: ''\n")
    assert _content(elsewhere) != usual


def test_a_task_is_told_by_the_code_beside_it(own: Path) -> None:
    helpers, code = own / "helpers.py", own / "own_code.py"
    helpers.write_text("WORD = 'Yes'\n")
    code.write_text("from pathlib import Path\n\ndef prompt(doc):\n    return doc['question']\n")
    _write(own, "mine", own / "arc.jsonl", "doc_to_text: !function own_code.prompt\n")
    first = _content(own)
    assert _content(own) == first
    helpers.write_text("WORD = 'No'\n")
    assert _content(own) != first


def test_a_group_without_scores_of_its_own_is_its_tasks(own: Path) -> None:
    _write(own, "other", own / "arc.jsonl", "num_fewshot: 2\n")
    (own / "both.yaml").write_text("group: both\ntask: [mine, other]\n")
    loaded = load_outside_tasks("both", task_folder=own)
    assert [task.name for task in loaded] == ["mine", "other"]
    assert [task.shots for task in loaded] == [{"mine": 0}, {"other": 2}]
    assert load_outside_tasks("both", task_folder=own, num_fewshot=1)[1].shots == {"other": 1}
    with pytest.raises(vxlab.VxlabError, match=r"'mine' is there more than once"):
        load_outside_tasks(["both", "mine"], task_folder=own)


def test_examples_that_a_task_does_not_take_are_told(own: Path) -> None:
    _write(own, "bare", own / "arc.jsonl", "num_fewshot: 0\n")
    with pytest.warns(match="num_fewshot=3: bare insists on a prompt without examples, and is asked so"):
        (task,) = load_outside_tasks("bare", task_folder=own, num_fewshot=3)
    assert task.shots == {"bare": 0}


def test_a_misspelt_name_is_told_its_nearest() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"task='arc_eazy' is none of lm-eval's; did you mean 'arc_easy'"):
        load_outside_tasks(["arc_eazy"])
    with pytest.raises(vxlab.VxlabError, match=r"`lm-eval ls tasks` lists them"):
        load_outside_tasks(["zzzzzzzzzzzz"])


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "cruxeval_input"])
def test_programs_that_a_model_writes_are_not_run(name: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=rf"{name}.* runs the programs that a model writes"):
        load_outside_tasks(name)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("unsafe_code: true\n", "runs the programs that a model writes"),
        ("metric_list: [{metric: exact_match, hf_evaluate: true}]\n", "scored by a program from the hub"),
        ("process_results: !function scores.found\n", "scored by the library evaluate"),
        ("process_results: !function missing.found\n", "needs the package no_such_package"),
        ("doc_to_image: image\n", "shows images or sounds"),
    ],
)
def test_what_cannot_be_run_is_refused(own: Path, more: str, said: str) -> None:
    (own / "scores.py").write_text("import evaluate\n\ndef found(doc, results):\n    return {}\n")
    (own / "missing.py").write_text("import no_such_package\n\ndef found(doc, results):\n    return {}\n")
    _write(own, "mine", own / "arc.jsonl", more)
    with pytest.raises(vxlab.VxlabError, match=said):
        load_outside_tasks("mine", task_folder=own)
    (own / "both.yaml").write_text("group: both\ntask: [mine]\naggregate_metric_list: [{metric: acc}]\n")
    with pytest.raises(vxlab.VxlabError, match=said):
        load_outside_tasks("both", task_folder=own)


def test_data_that_a_program_reads_are_refused(own: Path) -> None:
    text = (own / "mine.yaml").read_text().replace("{data_files", "{trust_remote_code: true, data_files")
    (own / "mine.yaml").write_text(text)
    with pytest.raises(vxlab.VxlabError, match=r"a program from the hub \(trust_remote_code\).*LocalTask"):
        load_outside_tasks("mine", task_folder=own)
    (mine,) = load_outside_tasks(vxlab.LocalTask("mine", {"test": own / "arc.jsonl"}), task_folder=own)
    assert mine.name == "mine"  # on files nothing of the hub is read


def test_a_hub_out_of_reach_is_said_with_what_to_do(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'cais/mmlu' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(vxlab.VxlabError, match=r"hub does not give them.*give files of yours: vxlab.LocalTask\('mine'"):
        load_outside_tasks("mine", task_folder=own)


@pytest.mark.parametrize(
    ("task", "folder", "said"),
    [
        ([], None, "tasks is empty"),
        ([3], None, "tasks holds 3; give names"),
        (None, None, "tasks=None is no list; give names"),
        ("nowhere.yaml", None, "is no file that names a task"),
        ("mine", "nowhere", "task_folder='nowhere' is no folder"),
    ],
)
def test_what_names_no_task_is_refused(task: Any, folder: str | None, said: str) -> None:
    with pytest.raises(vxlab.VxlabError, match=said):
        load_outside_tasks(task, task_folder=folder)


def test_lm_eval_absent_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxlab.experiments.evaluations.apart.find_spec", lambda _: None)
    with pytest.raises(vxlab.VxlabError, match=r"^lm-eval is not installed; run: pip install 'vxlab\[harness\]'$"):
        vxlab.evaluate("smollm2", "arc_easy")
