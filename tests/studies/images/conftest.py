"""Small sweeps at two numbers of shots, for all tests of the study that need trained runs."""

import pytest

import vxlab
from vxlab.studies.images import image_sweeps

METHODS = {"probe": None, "lora": None, "full": None}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("shots"))


@pytest.fixture(scope="session")
def drawn(store: str) -> dict[int, vxlab.Comparison]:
    sweeps = image_sweeps("smoke", [], METHODS, {"epochs": 1, "device": "cpu", "precision": "float32"})
    return {shots: vxlab.compare(fair, store=store, progress=False) for shots, fair in sweeps.items()}
