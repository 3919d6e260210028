"""What the tests of runs share: a tiny encoder in a folder, and tasks that it learns in seconds."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import image_models
import pytest
import toy_runs
import toy_writers
from pages import start_browser
from places import ROOT

from vxlab.warn import forget_what_was_told

collect_ignore_glob = [
    "support/*"
]  # no tests of theirs, and imported under another name a method would be registered twice

_LONG = "test_notebooks_run.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of the longest tests: each is one process's work, and the last one begun ends alone."""
    items.sort(key=lambda item: item.path.name != _LONG)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported: every run of a training loop collects all, twice."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    """Let every test hear what a process says once."""
    forget_what_was_told()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, one for all that a process tests, since it bears no second; skip where there is none."""
    with start_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of an untrained BERT, width 32 and two blocks, with MiniLM's tokenizer."""
    return toy_runs.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def toy_task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a task of two classes: words of praise or of blame among fillers."""
    return toy_runs.write_task(tmp_path_factory.mktemp("tasks") / "toy", ("bad", "good"))


@pytest.fixture(scope="session")
def tiny_writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of an untrained Llama, width 32 and two blocks, with a tokenizer of its own."""
    return toy_writers.write_model(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="session")
def toy_prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a task of prompts, each with an answer to be written."""
    return toy_writers.write_task(tmp_path_factory.mktemp("prompts") / "toy")


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of an untrained ViT, width 32 and two blocks, that reads 32 × 32 pixels."""
    return str(image_models.write_vit(tmp_path_factory.mktemp("models of images") / "tiny"))


@pytest.fixture(scope="session")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder of three classes of images, each of a colour: one folder a class, 12 images in each."""
    return str(image_models.write_images(tmp_path_factory.mktemp("images") / "toy", rows=12))


@pytest.fixture(scope="session")
def glue() -> Path:
    """Return the folder of GLUE's real files beside the checkout."""
    folder = ROOT.parent / "shared" / "data" / "glue"
    if not folder.is_dir():
        pytest.skip("GLUE's files are not beside this checkout")
    return folder
