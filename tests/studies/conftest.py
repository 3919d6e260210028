"""One small sweep of models that write, for all tests of the study."""

import pytest

import vxlab
from vxlab.studies.generation import generation_sweep


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> vxlab.Comparison:
    methods = {"lora": None, "full": None, "base": None}
    fair = generation_sweep("smoke", methods, {"epochs": 3, "device": "cpu", "precision": "float32"})
    return vxlab.compare(fair, store=tmp_path_factory.mktemp("written"), progress=False)
