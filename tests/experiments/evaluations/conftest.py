"""What the tests of outside tasks share: files of lm-eval's form, documents, and two runs of a tiny writer."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import outside
import pytest
import toy_writers

import vxlab
from vxlab.experiments.evaluations.ask import ask


@pytest.fixture(scope="session", autouse=True)
def datasets_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what datasets makes of files in a temporary folder, of this process and those it starts."""
    import datasets

    folder = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Return files of documents by task and split."""
    return outside.write_documents(tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, documents: dict[str, dict[str, Path]]) -> Path:
    """Return a folder of YAML files of lm-eval's form."""
    return outside.write_templates(tmp_path_factory.mktemp("templates"), documents)


@pytest.fixture(scope="session")
def runs_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of :func:`two_runs`."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def two_runs(tiny_writer: str, toy_prompts: str, runs_store: Path) -> list[vxlab.RunRecord]:
    """Return two seeds of one candidate, trained to write."""
    specs = [toy_writers.spec(tiny_writer, toy_prompts, seed=seed, max_new_tokens=0) for seed in (0, 1)]
    return [vxlab.run(spec, store=runs_store, progress=False) for spec in specs]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the tasks that are put to models from now on."""
    told: list[str] = []

    def tell(model: Any, task: Any, *rest: Any) -> Any:
        told.append(task.name)
        return ask(model, task, *rest)

    module = importlib.import_module("vxlab.experiments.evaluations.evaluate")
    monkeypatch.setattr(module, "ask", tell)
    return told
