"""Weights that lie in one memory are no targets: merging one would change the other."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import vxlab


def pair() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))


def _the_same_parameter(net: nn.Sequential) -> None:
    net[2].weight = net[0].weight


def _the_same_data(net: nn.Sequential) -> None:
    net[2].weight = nn.Parameter(net[0].weight.data)


def _a_transposed_view(net: nn.Sequential) -> None:
    net[2].weight = nn.Parameter(net[0].weight.data.T)


def _rows_of_it(net: nn.Sequential) -> None:
    net[2] = nn.Linear(4, 2, bias=False)
    net[2].weight = nn.Parameter(net[0].weight.data[1:3])


def _rows_of_an_embedding(net: nn.Sequential) -> None:
    net.add_module("words", nn.Embedding(9, 4))
    net[0].weight = nn.Parameter(net.words.weight.data[5:])
    net[2].weight = nn.Parameter(net.words.weight.data[:4])


@pytest.mark.parametrize(
    "share", [_the_same_parameter, _the_same_data, _a_transposed_view, _rows_of_it, _rows_of_an_embedding]
)
@pytest.mark.parametrize("targets", ["0", "2", "all-linear"])
def test_a_weight_that_shares_memory_is_refused(share: Callable[[nn.Sequential], None], targets: str) -> None:
    net = pair()
    share(net)
    with pytest.raises(vxlab.VxlabError, match=r"`[02]`, whose weight `\w+` shares; merging would change both"):
        vxlab.attach(net, vxlab.LoRA(rank=2), targets=targets)


def test_weights_beside_each_other_in_one_buffer_share_nothing(tmp_path: Path) -> None:
    net, flat = pair(), torch.arange(32.0)
    net[0].weight, net[2].weight = (nn.Parameter(flat[at : at + 16].view(4, 4)) for at in (0, 16))
    untouched = flat[16:].clone()
    vxlab.attach(net, vxlab.LoRA(rank=2), targets="0")
    with torch.no_grad():
        vxlab.adapted_layers(net)["0"].B.fill_(1.0)
    vxlab.merge(net)
    assert torch.equal(flat[16:], untouched)


@pytest.mark.parametrize("share", [_the_same_data, _a_transposed_view, _rows_of_it])
def test_parameters_that_share_memory_are_saved_and_loaded(
    share: Callable[[nn.Sequential], None], tmp_path: Path
) -> None:
    net, again = pair(), pair()
    for each in (net, again):
        share(each)
    vxlab.attach(net, vxlab.Full())
    with torch.no_grad():
        net[0].weight.add_(1.0)
    loaded = vxlab.load_adapter(again, vxlab.save_adapter(net, tmp_path / "a"))
    assert torch.equal(loaded(torch.eye(4)), net(torch.eye(4)))


def test_weights_on_the_meta_device_share_nothing() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert len(vxlab.resolve_targets(net, "all-linear")) == 2
    assert len(vxlab.adapted_layers(vxlab.attach(net, vxlab.VeRA(rank=2), targets="all-linear"))) == 2
