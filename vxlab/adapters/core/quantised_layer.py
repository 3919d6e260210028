"""A linear layer with a quantised weight and an adapter on it."""

from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core.frozen_weight import linear_weight, with_weight
from vxlab.adapters.core.layer import AdaptedLinear
from vxlab.adapters.core.operation import adapted_linear


class AdaptedQuantisedLinear(AdaptedLinear):
    """Compute ``y = x·(W + ΔW)ᵀ + bias``, where W is what a quantised layer's numbers stand for.

    While gradients are taken W is dequantised in each pass, the update folded into it where that is cheaper, and kept
    in none. Without gradients the layer computes its own part: in 4 bits by kernels that on a GPU never unpack it. The
    base layer stays a submodule, ``base_layer``, for what it keeps beside its weight
    has to move and to change mode with it.
    """

    base_layer: nn.Module
    merged_weight: Tensor | None

    def _hold(self, base: nn.Module) -> None:
        self.base_layer = base
        self.register_buffer("merged_weight", None, persistent=False)

    @property
    def weight(self) -> nn.Parameter:  # type: ignore[override]
        """The packed weight."""
        return self.base_layer.get_parameter("weight")

    @property
    def bias(self) -> nn.Parameter | None:  # type: ignore[override]
        """The frozen bias."""
        bias: Any = self.base_layer.bias
        return bias  # type: ignore[no-any-return]

    @property
    def merged(self) -> bool:
        return self.merged_weight is not None

    def base_weight(self) -> Tensor:
        return linear_weight(self.base_layer)

    def _merged_forward(self, x: Tensor) -> Tensor:
        assert self.merged_weight is not None
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.merged_weight.to(x.dtype), bias)

    def _adapted_forward(self, x: Tensor) -> Tensor:
        tensors = tuple(self._all_tensors().values())
        factors, dropout = self._factors_of(*tensors), self._dropout()
        if torch.is_grad_enabled():
            rebuild = self._rebuild(tensors)
            return adapted_linear(x, None, self.bias, *factors, dropout=dropout, rebuild=rebuild, unpack=self._unpack)
        y: Tensor = self.base_layer(x)
        return y + adapted_linear(x, None, None, *factors, dropout=dropout).to(y.dtype)

    def _unpack(self) -> Tensor:
        return linear_weight(self.base_layer)

    @torch.no_grad()
    def merge(self) -> float:
        """Make W + ΔW of the dequantised W, in its precision; return the share of ΔW that rounding lost, as a float's.

        The packed weight stays as it is, for :meth:`unmerge`.
        """
        W, delta = self.base_weight(), self.delta_weight()
        self.merged_weight = (delta + W).to(W.dtype)  # summed in float32 at least, rounded once
        return self._lost(self.merged_weight, W, delta)

    def unmerge(self) -> None:
        self.merged_weight = None

    def restored_base(self) -> nn.Module:
        """Return the quantised layer, or where the update is merged one in floating point with W + ΔW."""
        if self.merged_weight is None:
            self.base_layer.train(self.training)
            return self.base_layer
        return with_weight(self.base_layer, self.merged_weight).train(self.training)
