"""The scale ``paper`` without a GPU or a download: its ranks fit its model, and a run in nf4 gets past its start."""

from pathlib import Path

import pytest
import stand_ins
import torch
from rehearsal import rehearsed
from transformers import RobertaForSequenceClassification

import vxlab
from vxlab.studies import study_settings
from vxlab.studies.quantised import quantised_sweeps

pytest.importorskip("bitsandbytes")
METHODS = {"lora": None, "vera": None, "lora_xs": None}


def test_its_ranks_and_tokens_fit_its_model() -> None:
    fair = quantised_sweeps("paper", [], METHODS, {})["nf4"]
    name, settings = fair.settings["model"], study_settings("quantised", "paper")
    with torch.device("meta"):
        model = RobertaForSequenceClassification(stand_ins.roberta(name, num_labels=2))
    for candidate in fair.names.values():
        layers = vxlab.resolve_targets(model, candidate.targets)
        assert candidate.method.count(model, layers) > 0
    sides = [min(layer.weight.shape) for layer in vxlab.resolve_targets(model, settings["angle_targets"]).values()]
    assert max(settings["angle_ranks"]) < min(sides)
    assert settings["tokens"] <= 512


def test_a_run_on_four_bits_stops_and_goes_on(tmp_path: Path) -> None:
    fair = quantised_sweeps("paper", ["nf4"], {"lora_xs": 4}, {"batch_size": 8, "max_length": 32})["nf4"]
    (candidate,) = fair.names.values()
    record = rehearsed(fair.spec(candidate, candidate.centre, 5e-4, 0), tmp_path, device="cpu", tiny=True)
    assert (record.status, record.spec["quantisation"]) == ("finished", "nf4")
