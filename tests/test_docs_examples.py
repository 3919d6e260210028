"""Every example of the manual and the README runs as it stands, but for names of large models and for sizes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import outside
import pandas as pd
import pytest
import toy_runs
from manual import blocks, name_of, pages
from stub_judge import stub_judge
from toy_bench import write_bench

import vxlab
from vxlab.adapters import METHODS
from vxlab.experiments.runs import Materials

SIZES = {
    '"train_examples": 4000': '"train_examples": 32',
    '"train_examples": 800': '"train_examples": 32',
    "learning_rates=5": "learning_rates=1",
    "learning_rates=3": "learning_rates=1",
    "report_seeds=5": "report_seeds=2",
    "report_seeds=3": "report_seeds=2",
    "resolution=112": "resolution=32",
    "epochs=10": "epochs=1",
    "shots=10": "shots=4",
    "limit=100": "limit=6, device='cpu', progress=False, task_folder='templates'",
    '["hellaswag", "mmlu"]': repr(outside.TWO_TASKS),
    'vxlab.recipe("lora", seed=seed)': 'vxlab.recipe("lora", "smoke", seed=seed, model=MINILM, task=REVIEWS)',
}
"""What a page says, and what is run in its place so that a test ends: no word else is changed."""
_SHORT = {"max_length": 64, "device": "cpu", "epochs": 1}
PYTHON = [pytest.param(page, id=name_of(page)) for page in pages() if blocks(page, "python")]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: str,
    toy_task: str,
    tiny_writer: str,
    tiny_vit: str,
    toy_images: str,
) -> Iterator[SimpleNamespace]:
    """A folder with what the pages name, and stand-ins of seconds for the packaged models and data."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "path" / "to").mkdir(parents=True)
    shutil.copytree(tiny_model, folder / "path" / "to" / "model")
    shutil.copytree(toy_images, folder / "path" / "to" / "photographs")
    frame = pd.concat(pd.read_csv(path) for path in sorted(Path(toy_task).glob("*.csv")))
    frame = frame.rename(columns={"text": "review", "label": "opinion"}).drop_duplicates("review")
    frame.to_csv(folder / "path" / "to" / "reviews.csv", index=False)
    pairs = [{"context": f"It is {n}.", "question": f"What is it, {n}?", "answer": f"{n}"} for n in range(60)]
    outside.write_lines(folder / "pairs.jsonl", pairs)
    sets = folder / "sets" / "arc_easy"
    sets.mkdir(parents=True)
    for split, first in {"train": 0, "validation": 40, "test": 60}.items():
        outside.write_arc(sets / f"{split}.jsonl", 40 if split == "train" else 16, first)
    (folder / "templates").mkdir()
    names = {"MINILM": tiny_model, "SMOLLM2": tiny_writer, "DINOV2S": tiny_vit, "REVIEWS": toy_task}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VXLAB_REPORTS", str(folder / "reports"))
        patch.setenv("VXLAB_SETS", str(folder / "sets"))
        patch.setenv("VXLAB_MT_BENCH", write_bench(folder / "bench"))
        yield SimpleNamespace(folder=folder, names=names)


@pytest.fixture(scope="module")
def given(world: SimpleNamespace) -> dict[str, Any]:
    """What a page takes for granted: two finished runs, and the model and batch that a reader has."""
    spec = toy_runs.spec(world.names["MINILM"], world.names["REVIEWS"], epochs=1)
    runs = {"record": vxlab.run(spec), "other": vxlab.run(toy_runs.spec(spec.model, spec.task, epochs=1, seed=1))}
    return runs | {"spec": toy_runs.spec(spec.model, spec.task, epochs=1, seed=2)}


def as_run(text: str) -> str:
    """Return an example with small things in the place of large ones."""
    for said, run in SIZES.items():
        text = text.replace(said, run)
    named = {'"minilm"': "MINILM", '"smollm2"': "SMOLLM2", '"dinov2s"': "DINOV2S", '"rotten_tomatoes"': "REVIEWS"}
    for said, run in named.items():
        text = text.replace(said, run)
    return text


@contextmanager
def small_runs() -> Iterator[None]:
    """Let runs that say nothing of their length and device be short ones, on the CPU, in float32."""
    make = vxlab.RunSpec.__init__

    def small(self: vxlab.RunSpec, **fields: Any) -> None:
        written = {"max_new_tokens": 4} if "answer_column" in fields else {}
        make(self, **{**_SHORT, **written, **fields, "precision": "float32"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vxlab.RunSpec, "__init__", small)
        yield


def prepare(page: str, world: SimpleNamespace, given: dict[str, Any]) -> dict[str, Any]:
    """Return the names that a page uses and does not make."""
    names: dict[str, Any] = {**world.names, **given, "vxlab": vxlab}
    folder = world.folder
    if page in ("docs/explorers.md", "README.md"):
        for name in ("base-folder", "tuned-folder"):
            shutil.copytree(world.names["MINILM"], folder / name, dirs_exist_ok=True)
        fair = vxlab.FairSweep(
            candidates=[vxlab.LoRA(rank=2), vxlab.Head()],
            settings={"model": world.names["MINILM"], "task": world.names["REVIEWS"], "train_examples": 32},
            learning_rates=1, report_seeds=2, widen=0,
        )  # fmt: skip
        names["result"] = vxlab.compare(fair)
    if page == "docs/in_and_out.md":
        model = vxlab.load_model(world.names["SMOLLM2"], 0)
        for seed, name in enumerate(("their-lora", "another")):
            import torch

            torch.manual_seed(seed)
            vxlab.attach(model, vxlab.LoRA(rank=2), "query-value")
            for each in model.parameters():
                if each.requires_grad:
                    torch.nn.init.normal_(each)
            vxlab.adapters.write_peft(model, folder / "downloads" / name)
            vxlab.detach(model)
    if page in ("docs/many_adapters.md", "docs/methods.md"):
        spec = given["spec"]
        names["base"] = vxlab.load_model(spec.model, 2).eval()
        names["model"] = vxlab.load_model(spec.model, 2)
        names["adapted_model"] = vxlab.attach(vxlab.load_model(spec.model, 2).eval(), vxlab.LoRAXS(rank=16))
        reader = Materials().reader(spec)
        names["batch"] = dict(reader(["a", "b", "c", "d"], padding=True, return_tensors="pt"))
    return names


@pytest.mark.parametrize("page", PYTHON)
def test_every_example_runs(
    page: Path, world: SimpleNamespace, given: dict[str, Any], documents: dict[str, dict[str, Path]]
) -> None:
    names = prepare(name_of(page), world, given)
    outside.write_templates(world.folder / "templates", {task: documents[task] for task in outside.TWO_TASKS})
    methods = dict(METHODS)
    try:
        with small_runs(), stub_judge() as judge:
            for block in blocks(page, "python"):
                text = as_run(block.text).replace("http://127.0.0.1:8000/v1", judge.url)
                exec(compile(text, f"{name_of(page)}, an example", "exec"), names)
    finally:
        METHODS.clear()
        METHODS.update(methods)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return outside.write_documents(tmp_path_factory.mktemp("documents"))
