"""Layers of a model under a bank: each row of their input meets an adapter of its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.bank.batch import NamedRows, Spread
from vxlab.adapters.core import AdaptedLinear, chain_of, orient, quantisation_of
from vxlab.adapters.stacked import Link, SharedProduct, chain_links, stacked_linear


class BankLinear(nn.Module):
    """Compute ``y = x·Wᵀ + bias + x·ΔWᵀ`` with each row's own ΔW, for inference: dropout and gradients have no part.

    A row without an adapter gets y = x·Wᵀ + bias. The layer keeps the parameters and their names of the one that it
    replaces, so that the model's state dict is the base's; a quantised one computes its own part.

    Args:
        base: the layer to serve on.
        single: the same with one adapter of the bank's method.
        rows: which adapters the rows meet.
    """

    _base: tuple[nn.Module]
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, base: nn.Module, single: AdaptedLinear, rows: NamedRows) -> None:
        super().__init__()
        self.layer, self.shape, self.family = single.layer, single.shape, single.family
        self.training, self.rows = base.training, rows
        self._quantised = quantisation_of(base) is not None
        if self._quantised:
            self.base_layer = base
        else:
            _hold(self, base)
        self._chain = chain_of(self.family)
        trained = single.trained_tensors()
        self.dtype = next(iter(trained.values())).dtype
        self._dimensions = {name: each.dim() for name, each in trained.items()}
        self._frozen_names = tuple(single.frozen_tensors())
        for name, tensor in single.frozen_tensors().items():
            self.register_buffer(name, tensor, persistent=False)
        self.shared = single.shared

    def prepare(self, tensors: Mapping[str, Tensor], spread: Spread) -> list[Link]:
        """Return the update of every row.

        Args:
            tensors: what the different adapters of the batch trained here, ``(adapters, ...)`` each, by name.
            spread: from these to rows.
        """
        device = next(self.parameters()).device
        tensors = {name: each.to(device, self.dtype) for name, each in tensors.items()}
        shared = {name: each.to(self.dtype) for name, each in self.shared.named_buffers()}
        frozen = {**shared, **{name: getattr(self, name) for name in self._frozen_names}}
        if self._chain is None:
            return self._factors(frozen, tensors, spread)
        names, scale = self._chain
        last = [name for name in names if name in tensors][-1]
        own = {name: spread(each * scale if name == last and scale != 1 else each) for name, each in tensors.items()}
        dimensions = {name: each.dim() for name, each in frozen.items()} | self._dimensions
        return chain_links(names, frozen | own, dimensions, self.shape)

    @property
    def _product(self) -> SharedProduct | None:
        """What remembers the chain's first product, where other layers have the same first matrix."""
        shared = dict(self.shared.named_buffers())
        return self.rows.product if self._chain is not None and self._chain.tensors[0] in shared else None

    def _factors(self, frozen: Mapping[str, Tensor], tensors: Mapping[str, Tensor], spread: Spread) -> list[Link]:
        found = [
            self.family.factors({**frozen, **{name: each[number] for name, each in tensors.items()}}, self.shape)
            for number in range(len(spread.different))
        ]
        left, right = (torch.stack(each) for each in zip(*found, strict=True))
        return [Link(spread(right)), Link(spread(left))]

    def forward(self, x: Tensor) -> Tensor:
        grouped, links = self.rows.groups(x, self.layer)
        if self._quantised:
            y: Tensor = self.base_layer(x)
            if not links:
                return y
            update = stacked_linear(grouped, None, None, links, product=self._product)
            return y + update.reshape(y.shape).to(y.dtype)
        W = orient(self._base[0], self.weight)
        if not links:
            return nn.functional.linear(x, W, self.bias)
        y = stacked_linear(grouped, W, self.bias, links, product=self._product)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def restored_base(self) -> nn.Module:
        """Return the replaced layer."""
        return self.base_layer.train(self.training) if self._quantised else _give_back(self)

    def extra_repr(self) -> str:
        out_features, in_features = self.shape
        return f"in_features={in_features}, out_features={out_features}, a bank of {self.family}"


class BankHead(nn.Module):
    """Compute ``y = x·Hᵀ + b`` with each row's own H and b, and the replaced layer's for a row without an adapter.

    Args:
        base: the layer of the task head.
        layer: its dotted name.
        rows: which adapters the rows meet.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, base: nn.Linear, layer: str, rows: NamedRows) -> None:
        super().__init__()
        self.layer, self.rows, self.training = layer, rows, base.training
        _hold(self, base)

    def prepare(self, tensors: Mapping[str, Tensor], spread: Spread) -> dict[str, Tensor]:
        """Return the weight and the bias of every row; arguments as of :meth:`BankLinear.prepare`."""
        own = dict(self.named_parameters())
        return {name: spread(each.to(own[name]), own[name].detach()) for name, each in tensors.items()}

    def forward(self, x: Tensor) -> Tensor:
        grouped, own = self.rows.groups(x, self.layer)
        if not own:
            return nn.functional.linear(x, self.weight, self.bias)
        weight, bias = own["weight"].mT, own.get("bias")
        y = grouped @ weight if bias is None else torch.baddbmm(bias[:, None, :], grouped, weight)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def restored_base(self) -> nn.Module:
        """Return the replaced layer."""
        return _give_back(self)


def _hold(layer: Any, base: nn.Module) -> None:
    """Take over a layer's parameters; it itself, in a tuple, becomes no submodule."""
    layer._base = (base,)
    layer.register_parameter("weight", base.get_parameter("weight"))
    layer.register_parameter("bias", getattr(base, "bias", None))


def _give_back(layer: Any) -> nn.Module:
    (base,) = layer._base
    base.register_parameter("weight", layer.weight)
    base.register_parameter("bias", layer.bias)
    return base.train(layer.training)  # type: ignore[no-any-return]
