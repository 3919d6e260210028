"""What merging in half precision loses is measured, and said where it is much."""

import warnings

import pytest
import torch
from torch import nn

import vxlab


def updated(dtype: torch.dtype, *sizes: float) -> nn.Module:
    """Return layers in a precision, whose float32 updates have these norms beside their weights'."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(64, 64) for _ in sizes)).to(dtype)
    vxlab.attach(net, vxlab.LoRA(rank=4), targets="all-linear")
    with torch.no_grad():
        for layer, size in zip(vxlab.adapted_layers(net).values(), sizes, strict=True):
            layer.B.normal_()
            layer.B.mul_(size * layer.base_weight().float().norm() / layer.delta_weight().norm())
    return net


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [0.3, 0.01, 0.001, 1e-5])
def test_the_lost_share_is_that_of_float64(dtype: torch.dtype, size: float) -> None:
    layer = vxlab.adapted_layers(updated(dtype, size))["0"]
    W, delta = layer.weight.detach().double(), layer.delta_weight().detach().double()
    lost = layer.merge()
    exact = ((layer.weight.detach().double() - W) - delta).norm() / delta.norm()
    assert lost == pytest.approx(float(exact), rel=1e-3)
    assert (lost > 0.9) == (size == 1e-5)


def test_what_bfloat16_loses_is_said_with_the_worst_layer_and_the_repair() -> None:
    net = updated(torch.bfloat16, 0.05, 0.002, 0.01)
    message = (
        r"merging lost \d\d% of the update of `1` to rounding in bfloat16; .* merge in float32 \(see vxlab.merge\)"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        vxlab.merge(net)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.bfloat16, 0.3), (torch.bfloat16, 0.0), (torch.float16, 0.02), (torch.float32, 1e-7), (torch.float64, 1e-9)],
)
def test_merging_is_silent_where_little_is_lost(dtype: torch.dtype, size: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vxlab.merge(updated(dtype, size))
