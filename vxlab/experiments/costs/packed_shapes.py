"""What quantised weights add to a step and take from it, on a model of shapes alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from vxlab.adapters.core import AdaptedLinear, linear_shape
from vxlab.experiments.models import quantised_layers


def pack_shapes(model: nn.Module, scheme: str) -> int:
    """Let a model of shapes hold in a step what it would if it were quantised; return what its weights take less.

    Each layer makes its dequantised weight in either pass, and lets it go. Those of ``int8`` keep their inputs, but for
    those under an adapter.

    Args:
        model: of shapes; its layers get hooks.
        scheme: one of :data:`vxlab.experiments.models.QUANTISATIONS`.
    """
    saved = 0
    for layer in quantised_layers(model, scheme).values():
        layer.register_forward_hook(_step_of(layer.get_parameter("weight"), keeps=scheme == "int8"))
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


def _step_of(weight: Tensor, *, keeps: bool) -> Any:
    # A layer's hooks are its adapted layer's while there is one.
    return lambda layer, given, y: _Dequantised.apply(  # type: ignore[no-untyped-call]
        y, given[0] if keeps and not isinstance(layer, AdaptedLinear) else None, weight
    )


class _Dequantised(Function):
    """Allocate a weight in each pass, and keep an input between them."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor | None, weight: Tensor) -> Tensor:
        torch.empty_like(weight)
        ctx.save_for_backward(x)
        ctx.weight = weight
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        torch.empty_like(ctx.weight)
        return grads[0], None, None
