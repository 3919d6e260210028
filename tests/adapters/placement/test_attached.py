"""Buffers that training moves belong to what was trained; those that it leaves belong to the base."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_checkpoints import altered

import vxlab
from vxlab.adapters.placement.attached import base_buffers

METHODS = [vxlab.LoRA(rank=2), vxlab.VeRA(rank=3), vxlab.BitFit(), vxlab.Full()]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 6), nn.BatchNorm1d(6)).eval()


def outputs(net: nn.Module) -> torch.Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        return net.eval()(torch.randn(5, 4))


def trained(method: vxlab.adapters.Method, *, frozen: bool = False) -> nn.Module:
    """Return a model after steps in training mode, its second norm alone in evaluation mode or not."""
    net = vxlab.attach(model(), method, targets="all-linear").train()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        net.train()
        if frozen:
            net[1].eval()
            net[4].eval()
        net(3 + 2 * torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_moved_statistics_come_back_with_the_adapter(method: vxlab.adapters.Method, tmp_path: Path) -> None:
    net = trained(method)
    loaded = vxlab.load_adapter(model(), vxlab.save_adapter(net, tmp_path / "a"))
    assert (outputs(net) - outputs(model())).abs().max() > 0.1
    assert torch.equal(outputs(loaded), outputs(net))
    assert int(loaded[1].num_batches_tracked) == 3
    again = vxlab.save_adapter(loaded, tmp_path / "b")
    assert (again / "adapter.safetensors").read_bytes() == (tmp_path / "a" / "adapter.safetensors").read_bytes()


def test_statistics_that_stayed_are_a_part_of_the_base(tmp_path: Path) -> None:
    net = trained(vxlab.LoRA(rank=2), frozen=True)
    folder = vxlab.save_adapter(net, tmp_path / "a")
    assert base_buffers(net)[0] == {}
    assert torch.equal(outputs(vxlab.load_adapter(model(), folder)), outputs(net))
    other = model()
    other[4].running_mean += 1e-6
    before = copy.deepcopy(other)
    for attached in (other, vxlab.attach(copy.deepcopy(other), vxlab.LoRA(rank=2), targets="all-linear")):
        with pytest.raises(
            vxlab.VxlabError, match=r"another base: this Sequential's frozen buffers have another finger"
        ):
            vxlab.load_adapter(attached, folder)
    assert torch.equal(outputs(other), outputs(before))


def test_an_adapter_loads_over_one_whose_statistics_moved_elsewhere(tmp_path: Path) -> None:
    net, other = trained(vxlab.LoRA(rank=2)), vxlab.attach(model(), vxlab.LoRA(rank=2), targets="all-linear")
    other.train()(torch.ones(3, 4))
    vxlab.load_adapter(other, vxlab.save_adapter(net, tmp_path / "a"))
    assert torch.equal(outputs(other), outputs(net))


def test_a_model_without_such_buffers_is_saved_as_before_and_old_files_load(tmp_path: Path) -> None:
    plain = vxlab.attach(nn.Sequential(nn.Linear(4, 4)), vxlab.LoRA(rank=2), targets="all-linear")
    assert "buffers" not in json.loads((vxlab.save_adapter(plain, tmp_path / "a") / "adapter.json").read_text())
    net = trained(vxlab.LoRA(rank=2), frozen=True)
    folder = altered(vxlab.save_adapter(net, tmp_path / "b"))
    settings = json.loads((folder / "adapter.json").read_text())
    del settings["buffers"]
    (folder / "adapter.json").write_text(json.dumps(settings))
    assert torch.equal(outputs(vxlab.load_adapter(model(), folder)), outputs(net))


def test_buffers_outside_the_state_are_no_ones(tmp_path: Path) -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.register_buffer("calls", torch.zeros(()), persistent=False)

    net = nn.Sequential(Counting(), nn.Linear(4, 4))
    vxlab.attach(net, vxlab.LoRA(rank=2), targets="1")
    net[0].calls += 1
    assert base_buffers(net) == ({}, {})
    vxlab.save_adapter(net, tmp_path / "a")
