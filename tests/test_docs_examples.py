"""Every example of the manual and the README runs as it stands, but for names of large models and for sizes."""

import re
import shlex
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
import toy_writers
from manual import DOCS, ROOT, blocks, name_of, pages
from stub_judge import stub_judge
from toy_bench import write_bench

import vxlab
from vxlab.adapters import METHODS
from vxlab.cli import commands
from vxlab.experiments.runs import Materials, answering
from vxlab.experiments.tasks import lookup
from vxlab.experiments.tasks.kinds import CLASSIFICATION, Form, by_name
from vxlab.experiments.tasks.sets import catalogue
from vxlab.views.reports import notebooks, parameters

SIZES = {
    '"train_examples": 4000': '"train_examples": 32',
    '"train_examples": 800': '"train_examples": 32',
    "learning_rates=5": "learning_rates=1",
    "learning_rates=3": "learning_rates=1",
    "report_seeds=5))": "report_seeds=2, learning_rates=1, tuning_seeds=1))",
    "report_seeds=5": "report_seeds=2",
    "report_seeds=3": "report_seeds=2",
    "resolution=112": "resolution=32",
    "epochs=10": "epochs=1",
    "shots=10": "shots=4",
    "limit=100": "limit=6, device='cpu', progress=False, task_folder='templates'",
    '["hellaswag", "mmlu"]': repr(outside.TWO_TASKS),
    "repeats=2": "repeats=2, chat_template='chat.jinja', max_new_tokens=4, device='cpu', progress=False",
    "vxlab.LoRA(rank=8))  # or a budget": "vxlab.LoRA(rank=8), batch_size=8)  # or a budget",
    'vxlab.recipe("lora_xs", seed=seed)': 'vxlab.recipe("lora_xs", rank=16, seed=seed, **SMOKE)',
    'vxlab.recipe("lora", seed=seed)': 'vxlab.recipe("lora", seed=seed, **SMOKE)',
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
    (folder / "chat.jinja").write_text(toy_writers.CHAT, encoding="utf-8")
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
    smoke = {"scale": "smoke", "model": world.names["MINILM"], "task": world.names["REVIEWS"]}
    names: dict[str, Any] = {**world.names, **given, "vxlab": vxlab, "SMOKE": smoke}
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
    if page == "docs/methods.md":
        names["model"] = vxlab.load_model(world.names["MINILM"], 2)
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


YAML = [pytest.param(page, id=name_of(page)) for page in pages() if blocks(page, "yaml")]


@pytest.mark.parametrize("page", YAML)
def test_every_sweep_file_holds_sweeps(page: Path, world: SimpleNamespace) -> None:
    for number, block in enumerate(blocks(page, "yaml")):
        text = block.text if "model:" in block.text else f"model: minilm\ntask: rotten_tomatoes\n{block.text}"
        if "imports:" in text:  # whose module is the page's own, and tested in test_own_methods_used.py
            continue
        file = world.folder / f"{page.stem}{number}.yaml"
        file.write_text(text, encoding="utf-8")
        for wanted in vxlab.read_sweeps(file).values():
            assert wanted.runs()["report"] > 0 if isinstance(wanted, vxlab.FairSweep) else len(wanted) > 0


COMMANDS = re.compile(r"(?:^|&& |\$ )(?:[A-Z_]+=\S+ )*(vxlab|make|python) ([^\n#]*)", re.MULTILINE)


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in pages()])
def test_every_command_is_known(page: Path) -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    fenced = "".join(block.text for block in blocks(page, "", "bash"))
    for program, rest in COMMANDS.findall(fenced):
        words = shlex.split(rest)
        if program == "make":
            assert f"\n{words[0]}:" in made
        elif program == "python":
            assert (ROOT / words[0]).is_file()
        else:
            parsed, more = commands._parser().parse_known_args(commands._joined(words))
            assert not more, more
            if words[0] == "report" and "pairs" in parsed:
                for name in parsed.names:
                    if name != "all" and not name.startswith("path/"):
                        known = parameters.read(notebooks.find(name))
                        assert {key for key, _ in parsed.pairs} <= {*known}, rest


def test_a_set_is_known_by_its_entry(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = blocks(DOCS / "extending" / "task.md", "text")
    for name, described in eval(f"{{{entry.text}}}", vars(catalogue)).items():
        monkeypatch.setitem(catalogue.CHOICE_SETS, name, described)
        monkeypatch.setitem(catalogue.SETS, name, described)
        monkeypatch.setattr(lookup, "_NAMES", (*lookup._NAMES, name))
    row = {"premise": "The lamp fell.", "choice1": "It broke.", "choice2": "It rose.", "question": "effect"}
    for split, count in {"train": 30, "validation": 10}.items():
        rows = [row | {"premise": f"Lamp {split} {n} fell.", "label": n % 2} for n in range(count)]
        outside.write_lines(tmp_path / f"{split}.jsonl", rows)
    task = vxlab.load_task("copa", folder=tmp_path)
    assert task.kind.name == "multiple_choice"
    assert task.metrics == ("acc", "acc_norm", "log_likelihood")
    first = task.splits["test"][0]
    assert first["text"].endswith("fell.\nWhat is the effect?\nAnswer:")
    assert list(first["choices"]) == ["It broke.", "It rose."]


def test_a_kind_trains_once_it_is_named_in_three_places(
    world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = blocks(DOCS / "extending" / "kind.md", "python")
    names: dict[str, Any] = {}
    exec(compile(block.text, "kind.md", "exec"), names)
    kind = names["BothEnds"]()
    monkeypatch.setitem(by_name._KINDS, kind.name, kind)
    monkeypatch.setattr(vxlab.Task, "kind", property(lambda task: kind))
    monkeypatch.setitem(answering._ANSWERING, kind.name, answering._Labels())
    record = vxlab.run(toy_runs.spec(world.names["MINILM"], world.names["REVIEWS"], epochs=1), store=tmp_path)
    assert record.task["kind"] == "both_ends"
    reader = Materials().reader(toy_runs.spec(world.names["MINILM"], world.names["REVIEWS"]))
    long = " ".join(["first", *["so"] * 20, "last"])
    rows = {"text": ["lovely film", long], "label": [0, 1]}
    plain = CLASSIFICATION.encode(rows, reader, Form(max_length=10), "train")
    ends = kind.encode(rows, reader, Form(max_length=10), "train")
    assert ends["input_ids"][0] == plain["input_ids"][0]  # what fits stays as it is
    assert reader.decode(ends["input_ids"][1], skip_special_tokens=True) == "first so so so so so so last"
    assert ends["length"] == [4, 10]
