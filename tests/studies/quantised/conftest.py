"""One small sweep on the base in floating point and in nf4, for all tests of the study that need trained runs."""

import pytest

import vxlab
from vxlab.studies.quantised import quantised_sweeps


@pytest.fixture(scope="session")
def trained(tiny_model: str, toy_task: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, vxlab.Comparison]:
    pytest.importorskip("bitsandbytes")
    chosen = {"model": tiny_model, "task": toy_task, "device": "cpu", "precision": "float32"}
    sweeps = quantised_sweeps("smoke", ["nf4"], {"lora": None, "lora_xs": None}, chosen)
    store = tmp_path_factory.mktemp("quantised")
    return {scheme: vxlab.compare(fair, store=store, progress=False) for scheme, fair in sweeps.items()}
