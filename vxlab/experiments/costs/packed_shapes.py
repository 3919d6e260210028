"""What quantised weights add to a step and take from it, on a model of shapes alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from vxlab.adapters.core import linear_shape
from vxlab.experiments.models import quantised_layers


def pack_shapes(model: nn.Module, scheme: str) -> int:
    """Let a model of shapes hold in a step what it would if it were quantised; return what its weights take less.

    Each layer makes its dequantised weight in either pass, and lets it go.

    Args:
        model: of shapes; its layers get hooks.
        scheme: one of :data:`vxlab.experiments.models.QUANTISATIONS`.
    """
    saved = 0
    for layer in quantised_layers(model, scheme).values():
        layer.register_forward_hook(_step_of(layer.get_parameter("weight")))
        weight = layer.get_parameter("weight")
        saved += weight.numel() * weight.element_size() - packed_bytes(scheme, *linear_shape(layer))
    return saved


def packed_bytes(scheme: str, out_features: int, in_features: int) -> int:
    """Return the bytes that a weight takes by a scheme, as :func:`vxlab.load_model` quantises it.

    >>> [round(packed_bytes(scheme, 576, 576) / (4 * 576 * 576), 3) for scheme in ("nf4", "int8", "torchao-int8")]
    [0.13, 0.252, 0.252]
    """
    numbers = out_features * in_features
    if scheme == "nf4":
        blocks = -(-numbers // 64)
        tables = 4 * (16 + 256 + 1)  # the values of 4 and of 8 bits, and the mean of the scales
        return -(-numbers // 2) + blocks + 4 * -(-blocks // 256) + tables
    return numbers + (4 if scheme == "int8" else 5) * out_features  # torchao has a zero point beside the scale


def _step_of(weight: Tensor) -> Any:
    return lambda _layer, _given, y: _Dequantised.apply(y, weight)  # type: ignore[no-untyped-call]


class _Dequantised(Function):
    """Allocate a weight in each pass."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        torch.empty_like(weight)
        ctx.weight = weight
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        torch.empty_like(ctx.weight)
        return grads[0], None
