"""What the tests of exporting share: a run that classifies and a run that writes, of seconds each."""

from pathlib import Path

import pytest
import toy_runs
import toy_writers

import vxlab
from vxlab.experiments.record import RunRecord


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store's folder of this session's runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def classifier(tiny_model: str, toy_task: str, runs: Path) -> RunRecord:
    """Return a run of LoRA on a tiny BERT."""
    return vxlab.run(toy_runs.spec(tiny_model, toy_task, epochs=1), store=runs, progress=False)


@pytest.fixture(scope="session")
def writer(tiny_writer: str, toy_prompts: str, runs: Path) -> RunRecord:
    """Return a run of VeRA on a tiny Llama."""
    spec = toy_writers.spec(tiny_writer, toy_prompts, method=vxlab.VeRA(rank=8), epochs=1)
    return vxlab.run(spec, store=runs, progress=False)
