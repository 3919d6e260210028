"""W of a linear layer, whichever way the layer holds it: as it is, transposed, or quantised."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core.quantisation import dequantised, quantisation_of

Shape = tuple[int, int]
"""(out_features, in_features), the order of ``torch.nn.Linear.weight``."""


def linear_weight(layer: nn.Module) -> Tensor:
    """Return W ``(out, in)`` of a ``torch.nn.Linear``, of a ``Conv1D``, which stores Wᵀ, or dequantised.

    A quantised layer's W is what its numbers stand for, in memory of its own; any other's shares the layer's.
    """
    if quantisation_of(layer):
        return dequantised(layer)
    return orient(layer, layer.get_parameter("weight").detach())


def orient(layer: nn.Module, weight: Tensor) -> Tensor:
    """Return a tensor that is laid out as a linear layer's own weight as ``(out, in)``."""
    return weight if isinstance(layer, nn.Linear) else weight.T


def linear_shape(layer: nn.Module) -> Shape:
    """Return (out_features, in_features) of a ``torch.nn.Linear``, quantised or not, or of a ``Conv1D``."""
    if isinstance(layer, nn.Linear):  # a packed weight has another shape
        return layer.out_features, layer.in_features
    rows, columns = layer.get_parameter("weight").shape
    return columns, rows


@torch.no_grad()
def float_linear(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a linear layer with W of a layer in a precision of its own: see :func:`with_weight`."""
    return with_weight(layer, linear_weight(layer).to(dtype))


def with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a layer in floating point with a W ``(out, in)`` and another layer's bias and mode.

    It is a ``torch.nn.Linear``, or a ``Conv1D`` where transformers put a quantised layer in the place of one: the
    model's own files have Wᵀ then.
    """
    out_features, in_features = linear_shape(layer)
    source: Any = getattr(layer, "source_cls", nn.Linear)
    with torch.device("meta"):
        new: nn.Module = (
            source(out_features, in_features)
            if source.__name__ == "Conv1D"
            else nn.Linear(in_features, out_features, bias=False)
        )
    new.register_parameter("weight", nn.Parameter(orient(new, weight).contiguous()))
    new.register_parameter("bias", getattr(layer, "bias", None))
    return new.train(layer.training)


class LayerWeights(Mapping[str, Tensor]):
    """W of layers by dotted name, each made when it is asked for: of quantised layers all at once would be a model.

    Args:
        layers: by dotted name.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = layers

    def __getitem__(self, name: str) -> Tensor:
        return linear_weight(self._layers[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
