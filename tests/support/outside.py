"""Documents for lm-eval's own templates, in files: a handful made up, of every kind of output that it knows."""

import json
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

import vxlab
from vxlab.experiments.evaluations import Evaluations

STORIES = ROOT.parent / "shared" / "data" / "stories260k"
here = pytest.mark.skipif(not STORIES.is_dir(), reason="no stories260k in ../shared/data")

TWO_TASKS = ["arc_easy", "lambada_standard"]
_WORDS = ("dog", "cat", "ball", "tree", "boat", "girl", "bird", "park")
TASKS = ("arc_easy", "lambada_standard", "wikitext", "gsm8k", "two_of_one")
"""One of each output type: multiple_choice, loglikelihood, loglikelihood_rolling, generate_until; and a group."""


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_arc(path: Path, rows: int = 24, first: int = 0) -> Path:
    """Write questions as ARC has them."""
    made = []
    for number in range(first, first + rows):
        words = [_WORDS[(number * 3 + step) % len(_WORDS)] for step in range(4)]
        choices = {"text": [f"the {word}" for word in words], "label": list("ABCD")}
        question = f"Lily saw {words[number % 4]} number {number}. What did she see?"
        made.append({"id": str(number), "question": question, "choices": choices, "answerKey": "ABCD"[number % 4]})
    return write_lines(path, made)


def evaluate(runs: Any, store: Any, templates: Path, tasks: Any = TWO_TASKS, **more: Any) -> Evaluations:
    """Evaluate on a handful of documents, on the CPU, in silence."""
    settings: dict[str, Any] = {"task_folder": templates, "device": "cpu", "limit": 6, "progress": False}
    return vxlab.evaluate(runs, tasks, store=store, **settings | more)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def documents_of(templates: Path, task: str, split: str = "test") -> Path:
    """Return the file that a YAML of :func:`write_templates` reads."""
    lines = (templates / f"{task}.yaml").read_text(encoding="utf-8").splitlines()
    return Path(next(line for line in lines if line.startswith(f"    {split}: ")).partition(": ")[2])


def write_documents(folder: Path) -> dict[str, dict[str, Path]]:
    """Write a file for each split that is read, by task."""
    stories = [
        f"Once upon a time, there was a little {_WORDS[n % 8]}. It loved the {_WORDS[(n + 3) % 8]} and played with it "
        f"every day until day {n}. They were happy with the {_WORDS[(n * 5) % 8]}"
        for n in range(20)
    ]
    pages = [{"page": " ".join(stories[n : n + 5]) + " . " * 4} for n in range(6)]
    sums = [
        {
            "question": f"Tim has {n} balls and gets {n % 5}. How many?",
            "answer": f"{n}+{n % 5}={n + n % 5}\n#### {n + n % 5}",
        }
        for n in range(12)
    ]
    return {
        "arc_easy": {"test": write_arc(folder / "arc.jsonl")},
        "lambada_standard": {"test": write_lines(folder / "lambada.jsonl", [{"text": text} for text in stories])},
        "wikitext": {"test": write_lines(folder / "pages.jsonl", pages)},
        "gsm8k": {
            "test": write_lines(folder / "sums.jsonl", sums[6:]),
            "train": write_lines(folder / "shots.jsonl", sums[:6]),
        },
        "arc_challenge": {"test": write_arc(folder / "hard.jsonl", 10, 100)},
    }


def write_templates(folder: Path, documents: dict[str, dict[str, Path]]) -> Path:
    """Write YAML files that include the packaged templates, for lm-eval's own command line; and a group of two."""
    import lm_eval.tasks

    packaged = {path.stem: path for path in Path(lm_eval.tasks.__file__).parent.rglob("*.yaml")}
    for name, files in documents.items():
        splits = {"training_split": "train", "validation_split": "validation", "test_split": "test"}
        lines = [f"include: {packaged[name]}", f"task: {name}", "dataset_path: json", "dataset_name: null"]
        lines += [f"{split}: {theirs if theirs in files else 'null'}" for split, theirs in splits.items()]
        lines += [f"fewshot_split: {'train' if 'train' in files else 'null'}", "dataset_kwargs:", "  data_files:"]
        lines += [f"    {split}: {path}" for split, path in files.items()]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    group = ["group: two_of_one", "task: [arc_easy, arc_challenge]", "aggregate_metric_list: [{metric: acc}]"]
    (folder / "two_of_one.yaml").write_text("\n".join(group), encoding="utf-8")
    return folder
