"""Tiny models with adapters on them whose every number has moved from its start, and banks of such adapters."""

from pathlib import Path

import torch
from architectures import ARCHITECTURES
from torch import Tensor, nn

import vxlab
from vxlab.adapters import Method

METHODS = {
    "lora": vxlab.LoRA(rank=3),
    "lora_fa": vxlab.LoRA(rank=3, trains="B", seed=2),
    "vera": vxlab.VeRA(rank=9, seed=3),
    "lora_xs": vxlab.LoRAXS(rank=4),
    "lidb": vxlab.LiDB(rank=2, aux_out=6, aux_in=5),
    "head": vxlab.Head(),
}


def adapted(method: Method, seed: int = 1, name: str = "bert", targets: str = "query-value") -> nn.Module:
    """Return a tiny model in evaluation mode with an adapter that looks trained, drawn by its seed."""
    model = vxlab.attach(ARCHITECTURES[name](), method, targets)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what trains on a model, by name."""
    return {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}


def make_bank(folder: Path, method: Method = METHODS["lora"], rows: int = 0, **settings: str) -> vxlab.AdapterBank:
    """Return a bank on the tiny BERT with some adapters ``n00000``, ``n00001``, ... of random numbers."""
    bank = vxlab.AdapterBank.create(folder, ARCHITECTURES["bert"](), method, **settings)
    if rows:
        bank.add_many([f"n{number:05d}" for number in range(rows)], random_rows(bank, rows))
    return bank


def random_rows(bank: vxlab.AdapterBank, rows: int, seed: int = 0) -> Tensor:
    """Return rows for a bank."""
    return torch.randn(rows, bank.layout.width, generator=torch.Generator().manual_seed(seed))
