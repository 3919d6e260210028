"""Every family's forward and backward pass on the device against float64 on the CPU, so that a fast wrong way shows."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import Family

FAMILIES: dict[str, Family] = {
    "LoRA r=8": vxlab.LoRA(rank=8),
    "LoRA r=384": vxlab.LoRA(rank=384),
    "VeRA r=256": vxlab.VeRA(rank=256),
    "VeRA r=1024": vxlab.VeRA(rank=1024),
    "LoRA-XS r=16": vxlab.LoRAXS(rank=16),
    "LiDB": vxlab.LiDB(),
}
SHAPES = ((768, 768), (3072, 768), (768, 3072))
TOKENS = (48, 3200)
"""Few and many: other ways through the layer."""
TINY = ((128, 128), (128, 256)), (8, 300)


class Mode(NamedTuple):
    """What is computed in, and how far the result may be from float64, as a share of its norm."""

    weights: torch.dtype
    autocast: torch.dtype | None
    output: float
    gradients: float


MODES = {
    "float32": Mode(torch.float32, None, 1e-5, 3e-5),
    "bfloat16 autocast": Mode(torch.float32, torch.bfloat16, 1e-2, 2.5e-2),
    "float16 autocast": Mode(torch.float32, torch.float16, 1.5e-3, 4e-3),
    "bfloat16 weights": Mode(torch.bfloat16, None, 6e-3, 1e-2),
    "float16 weights": Mode(torch.float16, None, 1e-3, 2e-3),
}
"""Tolerances are about four times what a CPU shows. Under autocast the weights are rounded too."""


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    places = list(product(*(TINY if tiny else (SHAPES, TOKENS))))
    plain = {f"{name}, {mode}": partial(compare, name, mode, device, places) for name in FAMILIES for mode in MODES}
    packed = FAMILIES if find_spec("bitsandbytes") else ()
    return plain | {f"{name}, nf4 base": partial(compare_packed, name, device, places) for name in packed}


def compare(name: str, mode: str, device: str, places: Sequence[tuple[tuple[int, int], int]]) -> dict[str, Any]:
    """Return the largest relative errors over shapes and numbers of tokens, and whether all are in their bounds."""
    output = gradients = 0.0
    for shape, tokens in places:
        found = relative_errors(name, shape, tokens, MODES[mode], device)
        output, gradients = max(output, found[0]), max(gradients, *found[1:])
    bounds = MODES[mode]
    ok = output <= bounds.output and gradients <= bounds.gradients
    return {"ok": ok, "output": output, "gradients": gradients, "bounds": [bounds.output, bounds.gradients]}


def compare_packed(name: str, device: str, places: Sequence[tuple[tuple[int, int], int]]) -> dict[str, Any]:
    """Return as :func:`compare` does what becomes of a 4-bit base, held against its dequantised weight in float64."""
    import bitsandbytes.nn

    output = gradients = 0.0
    for (out_features, in_features), tokens in places:
        plain, x, gy = _given(name, (out_features, in_features), tokens, torch.float32)
        packed: Any = bitsandbytes.nn.Linear4bit(in_features, out_features, quant_type="nf4")
        packed.load_state_dict(vxlab.detach(copy.deepcopy(plain))[0].state_dict())
        layer = vxlab.attach(nn.Sequential(packed.to(device)), FAMILIES[name], "all-linear")
        for own, other in zip(_trained(layer), _trained(plain), strict=True):
            own.data.copy_(other)
        with torch.no_grad():
            layer.eval()(x.to(device))  # where a processor would repack the weight
        found = _results(layer.train(), x.to(device), gy.to(device), nullcontext())
        exact = _results(_dequantised(layer, plain), x.double(), gy.double(), nullcontext())
        errors = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
        output, gradients = max(output, errors[0]), max(gradients, *errors[1:])
    bounds = MODES["float32"]
    ok = output <= bounds.output and gradients <= bounds.gradients
    return {"ok": ok, "output": output, "gradients": gradients, "bounds": [bounds.output, bounds.gradients]}


def _dequantised(layer: nn.Module, plain: nn.Module) -> nn.Module:
    """Return the adapter on the dequantised weight, in float64 on the CPU."""
    (adapted,) = vxlab.adapted_layers(layer).values()
    exact = nn.Sequential(nn.Linear(*reversed(adapted.shape)))
    exact[0].weight.data, exact[0].bias.data = adapted.base_weight().cpu(), adapted.bias.detach().cpu()
    vxlab.attach(exact, adapted.family, "all-linear")
    for own, other in zip(_trained(exact), _trained(plain), strict=True):
        own.data.copy_(other)
    return exact.double()


def _trained(layer: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in layer.parameters() if parameter.requires_grad]


def relative_errors(name: str, shape: tuple[int, int], tokens: int, mode: Mode, device: str) -> list[float]:
    """Return the errors ‖found − exact‖_F / ‖exact‖_F of the output, the input's gradient and the trained ones."""
    layer, x, gy = _given(name, shape, tokens, mode.weights)
    context: AbstractContextManager[object] = torch.autocast(device, mode.autocast) if mode.autocast else nullcontext()
    found = _results(layer.to(device), x.to(device), gy.to(device), context)
    exact = _exact(name, shape, tokens, mode.weights)
    return [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]


@lru_cache(maxsize=2 * len(SHAPES))  # the modes that share it come one after the other
def _exact(name: str, shape: tuple[int, int], tokens: int, weights: torch.dtype) -> list[Tensor]:
    layer, x, gy = _given(name, shape, tokens, weights)
    return _results(layer.double(), x.double(), gy.double(), nullcontext())


def _given(name: str, shape: tuple[int, int], tokens: int, weights: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a layer with its adapter, rows of input and the output's gradient, on the CPU."""
    layer = copy.deepcopy(_adapted(FAMILIES[name], shape))
    for adapted in vxlab.adapted_layers(layer).values():  # as in a model in half precision: the adapter stays float32
        for parameter in (adapted.weight, adapted.bias):
            parameter.data = parameter.data.to(weights)
    generator = torch.Generator().manual_seed(1)
    x, gy = (torch.randn(tokens, n, generator=generator).to(weights) for n in (shape[1], shape[0]))
    return layer, x, gy


@lru_cache(maxsize=len(SHAPES))
def _adapted(family: Family, shape: tuple[int, int]) -> nn.Module:
    """Return one layer with an adapter that has moved from its start: zeros would hide half of the terms."""
    torch.manual_seed(0)
    layer = vxlab.attach(nn.Sequential(nn.Linear(shape[1], shape[0])), family, targets="all-linear")
    with torch.no_grad():
        for adapted in vxlab.adapted_layers(layer).values():
            for tensor in adapted.trained_tensors().values():
                tensor.normal_(std=0.05)
    return layer


def _results(layer: nn.Module, x: Tensor, gy: Tensor, context: AbstractContextManager[object]) -> list[Tensor]:
    x = x.clone().requires_grad_()
    with context:
        y = layer(x)
    trained = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    gx, *gradients = torch.autograd.grad(y, [x, *trained], gy.to(y.dtype))
    return [y.detach(), gx, *gradients]
