"""A linear layer with an adapter on it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vxlab.adapters.core.frozen_weight import linear_shape
from vxlab.adapters.core.operation import Rebuild, adapted_linear, without_autocast
from vxlab.errors import VxlabError

if TYPE_CHECKING:
    from vxlab.adapters.core.family import Family

_HOOKS = tuple(name for name in nn.Module().__dict__ if "_hook" in name)
"""The attributes in which torch keeps a module's hooks: forward, backward and those of its state dict."""


class SharedTensors(nn.Module):
    """Frozen tensors that many layers use.

    One module referenced from every layer, so that ``.to()`` moves them once and they stay one copy in memory. They
    are never part of a state dict: their seed reproduces them.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)


class AdaptedLinear(nn.Module):
    """Compute ``y = x·(W + ΔW)ᵀ + bias`` with W and bias frozen and ``ΔW = left·right`` from a family.

    It takes the place of a ``torch.nn.Linear`` or of transformers' ``Conv1D`` (which stores Wᵀ), under the same
    parameter names, so the model's own state dict keeps its keys. x is ``(*, in)``, y ``(*, out)``.

    Args:
        base: the layer to adapt.
        family: the adapter's settings.
        shared: what ``family.shared`` returned, as one module for all layers.
        frozen: what ``family.frozen`` returned for this layer.
        layer: the layer's dotted name.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, base: nn.Module, family: "Family", shared: SharedTensors, frozen: Mapping[str, Tensor], layer: str
    ) -> None:
        super().__init__()
        self.family = family
        self.layer = layer
        self.shape = linear_shape(base)
        self._hold(base)
        self.training = base.training

        # Adapters train in float32 at least: half precision cannot add a step of 1e-5 to a value of 0.02.
        dtype, device = torch.promote_types(self.weight.dtype, torch.float32), self.weight.device
        trained = family.trained(self.shape)
        self._trained_names, self._frozen_names = tuple(trained), tuple(frozen)
        for name, tensor in trained.items():
            self.register_parameter(name, nn.Parameter(tensor.to(device, dtype)))
        for name, tensor in frozen.items():
            # What neither weights nor a seed reproduce belongs to the state that is saved.
            self.register_buffer(name, tensor.to(device, dtype), persistent=family.stores_bases)
        self.shared = shared

    def _hold(self, base: nn.Module) -> None:
        """Take over what the replaced layer computes with."""
        self.transposed = not isinstance(base, nn.Linear)
        # In a tuple, so that the replaced layer is not registered as a submodule: it comes back on detach.
        self._base = (base,)
        self.register_parameter("weight", base.get_parameter("weight"))
        self.register_parameter("bias", getattr(base, "bias", None))
        self._original_weight: Tensor | None = None

    @property
    def in_features(self) -> int:
        """As of the layer that it replaces, which other code may ask."""
        return self.shape[1]

    @property
    def out_features(self) -> int:
        """As of the layer that it replaces, which other code may ask."""
        return self.shape[0]

    def orient(self, weight: Tensor) -> Tensor:
        """Return ``weight`` as (out, in), whichever way the layer stores it."""
        return weight.T if self.transposed else weight

    def trained_tensors(self) -> dict[str, nn.Parameter]:
        """Return the adapter's trained parameters by name."""
        # getattr and not get_parameter: torch.func.functional_call puts plain tensors in the parameters' place.
        return {name: getattr(self, name) for name in self._trained_names}

    def frozen_tensors(self) -> dict[str, Tensor]:
        """Return the adapter's own frozen tensors by name; what all layers share is in ``shared``."""
        return {name: getattr(self, name) for name in self._frozen_names}

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return left ``(out, r)`` and right ``(r, in)``, differentiable in the trained parameters."""
        return self._factors_of(*self._all_tensors().values())

    def _all_tensors(self) -> dict[str, Tensor]:
        trained = self.trained_tensors()
        dtype = next(iter(trained.values())).dtype  # of this layer, where layers of several precisions share tensors
        shared = {name: tensor.to(dtype) for name, tensor in self.shared.named_buffers()}
        return {**shared, **self.frozen_tensors(), **trained}

    def _factors_of(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        # Factors are made in the adapter's own precision: autocast rounds them once, when they meet the tokens.
        with without_autocast(self.weight.device):
            return self.family.factors(dict(zip(self._all_tensors(), tensors, strict=True)), self.shape)

    def delta_weight(self) -> Tensor:
        """Return ``ΔW = left·right``, ``(out, in)``."""
        left, right = self.factors()
        return left @ right

    def base_weight(self) -> Tensor:
        """Return the frozen W ``(out, in)`` without the update, also while merged."""
        return self.orient(self.weight if self._original_weight is None else self._original_weight).detach()

    @property
    def merged(self) -> bool:
        """Whether the weight holds ΔW."""
        return self._original_weight is not None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            if self.training and torch.is_grad_enabled():
                raise VxlabError(f"`{self.layer}` is merged, so its adapter cannot train; call unmerge(model) first")
            return self._merged_forward(x)
        return self._adapted_forward(x)

    def _merged_forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.orient(self.weight), self.bias)

    def _adapted_forward(self, x: Tensor) -> Tensor:
        tensors = tuple(self._all_tensors().values())
        return adapted_linear(
            x,
            self.orient(self.weight),
            self.bias,
            *self._factors_of(*tensors),
            dropout=self._dropout(),
            rebuild=self._rebuild(tensors),
        )

    def _dropout(self) -> float:
        return self.family.dropout_probability if self.training else 0.0

    def _rebuild(self, tensors: tuple[Tensor, ...]) -> Rebuild:
        return Rebuild(self._factors_of, tensors)

    @torch.no_grad()
    def merge(self) -> float:
        """Add ΔW to the weight, keeping a copy of it; return ‖(W′ - W) - ΔW‖ / ‖ΔW‖, the share that rounding lost.

        It is measured where W is in half precision, and 0 otherwise.
        """
        self._original_weight = self.weight.detach().clone()
        delta = self.delta_weight()
        self.orient(self.weight).copy_(delta + self.orient(self.weight))  # summed in float32 at least, rounded once
        return self._lost(self.orient(self.weight), self.base_weight(), delta)

    @staticmethod
    def _lost(merged: Tensor, W: Tensor, delta: Tensor) -> float:
        """Return ‖(W′ - W) - ΔW‖ / ‖ΔW‖ where W′ is in half precision, else 0."""
        if merged.dtype.itemsize >= 4 or not delta.any():
            return 0.0
        lost = merged.to(delta.dtype) - W - delta
        return float(lost.norm() / delta.norm())

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the kept copy of the weight back, bit for bit."""
        if self._original_weight is not None:
            self.weight.copy_(self._original_weight)
            self._original_weight = None

    def restored_base(self) -> nn.Module:
        """Return the replaced layer with the weight and bias as they are now."""
        (base,) = self._base
        base.register_parameter("weight", self.weight)
        base.register_parameter("bias", self.bias)
        return base.train(self.training)

    def extra_repr(self) -> str:
        out_features, in_features = self.shape
        return f"in_features={in_features}, out_features={out_features}, {self.family}"


def replace_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one with this dotted name, under that one's hooks."""
    exchange_hooks(layer, model.get_submodule(name))
    model.set_submodule(name, layer)


def exchange_hooks(one: nn.Module, other: nn.Module) -> None:
    """Give each of two modules the other's hooks.

    The dictionaries themselves change hands, so that the handle that a hook's owner holds removes it wherever it is.
    """
    for kind in _HOOKS:
        one.__dict__[kind], other.__dict__[kind] = other.__dict__[kind], one.__dict__[kind]
