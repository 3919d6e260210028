"""Adapters that were trained a little, to be saved and loaded, and altered files of theirs."""

import json
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, inputs
from torch import nn

import vxlab
from vxlab.adapters.core.family import Method

METHODS = [
    vxlab.LoRA(rank=4, alpha=2),
    vxlab.VeRA(rank=12, seed=3),
    vxlab.LoRAXS(rank=4),
    vxlab.LoRAXS(rank=4, basis="random"),
    vxlab.Head(),
    vxlab.Full(),
    vxlab.LiDB(rank=2, aux_out=12, aux_in=10),
    vxlab.VeRA(rank=8, unique=True),
    vxlab.VeRA(rank=8, vectors="d", matrices="uniform"),
    vxlab.LoRA(rank=4, alpha=2, trains="B", seed=5),
]


def trained(name: str, method: Method, targets: str = "all-linear") -> nn.Module:
    """Return a model whose trained tensors are no longer at their start."""
    model = vxlab.attach(ARCHITECTURES[name](), method, targets=targets)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def logits(model: nn.Module, name: str) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs(name)).logits


def assert_refused(model: nn.Module, folder: Path, message: str) -> None:
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(vxlab.VxlabError, match=message):
        vxlab.load_adapter(model, folder)
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def altered(folder: Path, **fields: object) -> Path:
    """Write other fields into an adapter's settings file, as an earlier vxlab would have: without a checksum."""
    path = folder / "adapter.json"
    kept = {name: value for name, value in json.loads(path.read_text()).items() if name != "settings_sha256"}
    path.write_text(json.dumps(kept | fields))
    return folder
