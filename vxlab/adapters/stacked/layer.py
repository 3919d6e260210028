"""A linear layer with many adapters of one family on it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters.core import (
    AdaptedLinear,
    Family,
    chain_of,
    linear_shape,
    operation,
    orient,
    quantisation_of,
)
from vxlab.adapters.stacked.operation import Link, chain_links, stacked_linear
from vxlab.adapters.stacked.padding import keep_once, leading_block, pad_together, padding_mask
from vxlab.adapters.stacked.shared_product import SharedProduct
from vxlab.adapters.stacked.slots import Slots


class StackedLinear(nn.Module):
    """Compute ``y = x·Wᵀ + bias + x·ΔWₖᵀ`` with W and bias frozen, where k is the slot of each row of x.

    The trained tensors are parameters ``(K, ...)`` under the family's own names. Where slots differ in rank, theirs are
    padded to the largest, and neither the padding's values nor its gradients are anything but 0. Families that state a
    :class:`~vxlab.adapters.core.Chain` go through it, and what is the same in all slots is kept once; others go through
    the two factors of each slot. A quantised base layer computes its own part.

    Args:
        base: the layer to adapt.
        singles: for each slot, the layer as its adapter alone would have it.
        shared: what the families share over layers, by name, all slots together.
        slots: which rows are whose.
    """

    base_layer: nn.Module
    scales: Tensor
    """every slot's, ``(K,)``"""
    keep: Tensor
    """the share of the update's input that dropout leaves each slot in training, ``(K,)``"""

    def __init__(
        self, base: nn.Module, singles: Sequence[AdaptedLinear], shared: "SharedTogether", slots: Slots
    ) -> None:
        super().__init__()
        self.base_layer, self.shared, self.slots = base, shared, slots
        self.layer, self.shape = singles[0].layer, linear_shape(base)
        self.families = tuple(each.family for each in singles)
        self.training = base.training
        self._quantised = quantisation_of(base) is not None
        chains = {chain_of(family) for family in self.families}
        names = {None if chain is None else chain.tensors for chain in chains}
        self._chain = names.pop() if len(names) == 1 else None
        self._hold_trained([each.trained_tensors() for each in singles])
        self._hold_frozen([each.frozen_tensors() for each in singles])
        device = singles[0].weight.device
        scales = [self._scale_of(family) for family in self.families]
        keep = [1 - family.dropout_probability for family in self.families]
        self.register_buffer("scales", torch.tensor(scales, device=device), persistent=False)
        self.register_buffer("keep", torch.tensor(keep, device=device), persistent=False)
        self._scaled, self._drops = set(scales) != {1.0}, set(keep) != {1.0}

    def _scale_of(self, family: Family) -> float:
        chain = None if self._chain is None else chain_of(family)
        return 1.0 if chain is None else chain.scale  # which factors have in them

    def _hold_trained(self, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        self.sizes = {name: tuple(each[name].shape for each in tensors) for name in tensors[0]}
        self._masks = {}
        for name, sizes in self.sizes.items():
            padded = pad_together([each[name].detach() for each in tensors], f"`{self.layer}.{name}`")
            self.register_parameter(name, nn.Parameter(padded))
            mask = padding_mask(sizes, padded)
            self.register_buffer(f"mask_of_{name}", mask, persistent=False)
            self._masks[name] = mask is not None

    def _hold_frozen(self, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        self.frozen = SharedTogether(tensors)

    @torch.no_grad()
    def put(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Give one slot, numbered from 1, its adapter's trained tensors."""
        for name, sizes in self.sizes.items():
            leading_block(self.get_parameter(name)[slot - 1], sizes[slot - 1]).copy_(tensors[name])

    def take(self, slot: int) -> dict[str, Tensor]:
        """Return one slot's trained tensors, in their own sizes, as views."""
        return {
            name: leading_block(self.get_parameter(name)[slot - 1].detach(), sizes[slot - 1])
            for name, sizes in self.sizes.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        groups = self.slots.groups(x, self.layer)
        links = self._links()
        if self.slots.rows is not None or self.slots.chosen is not None:
            meet = self.slots.of_groups if self.slots.rows is None else self.slots.gather
            links = [Link(meet(link.tensor), link.diagonal) if link.of_groups else link for link in links]
        grouped = x.reshape(groups, -1, x.shape[-1])
        mask = self._draw_mask(grouped) if self._drops and self.training else None
        if self._quantised:
            y: Tensor = self.base_layer(x)
            update = stacked_linear(grouped, None, None, links, mask=mask, product=self._product)
            return y + update.reshape(y.shape).to(y.dtype)
        W = orient(self.base_layer, self.base_layer.get_parameter("weight"))
        bias: Any = self.base_layer.bias
        y = stacked_linear(grouped, W, bias, links, mask=mask, product=self._product)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    @property
    def _product(self) -> SharedProduct | None:
        """What remembers the chain's first product, where other layers have the same first matrix."""
        return self.slots.product if self._chain is not None and self._chain[0] in self.shared.sizes else None

    def _links(self) -> list[Link]:
        with operation.without_autocast(self.scales.device):
            return self._factors() if self._chain is None else self._chained(self._chain)

    def _chained(self, names: Sequence[str]) -> list[Link]:
        """Return the families' chain, the slots' scales in the last of its trained tensors."""
        tensors = {**self.shared.tensors(), **self.frozen.tensors(), **self._trained()}
        last = [name for name in names if name in self.sizes][-1]
        tensors[last] = self._scale(tensors[last])
        return chain_links(names, tensors, {name: len(self._size(name)) for name in names}, self.shape)

    def _factors(self) -> list[Link]:
        """Return right and left of every slot, by its own family."""
        trained, found = self._trained(), []
        for number, family in enumerate(self.families):
            own = {name: leading_block(each[number], self.sizes[name][number]) for name, each in trained.items()}
            found.append(
                family.factors({**self.shared.of_slot(number), **self.frozen.of_slot(number), **own}, self.shape)
            )
        rank = max(right.shape[0] for _, right in found)
        pad = nn.functional.pad
        left = torch.stack([pad(left, (0, rank - left.shape[1])) for left, _ in found])
        right = torch.stack([pad(right, (0, 0, 0, rank - right.shape[0])) for _, right in found])
        return [Link(right), Link(self._scale(left))]

    def _trained(self) -> dict[str, Tensor]:
        # getattr and not get_parameter: torch.func.functional_call puts plain tensors in the parameters' place.
        return {
            name: getattr(self, name) * getattr(self, f"mask_of_{name}") if self._masks[name] else getattr(self, name)
            for name in self.sizes
        }

    def _size(self, name: str) -> torch.Size:
        return (self.sizes.get(name) or self.frozen.sizes.get(name) or self.shared.sizes[name])[0]

    def _scale(self, tensor: Tensor) -> Tensor:
        """Return a tensor ``(K, ...)`` times the slots' scales, and in training what dropout makes up for."""
        drops = self._drops and self.training
        if not (self._scaled or drops):
            return tensor
        scales = self.scales / self.keep if drops else self.scales
        return tensor * scales.to(tensor.dtype).reshape(-1, *(1,) * (tensor.dim() - 1))

    def _draw_mask(self, grouped: Tensor) -> Tensor:
        keep = self.slots.of_groups(self.keep) if self.slots.rows is None else self.slots.gather(self.keep, 1.0)
        if self.slots.draw_mask is not None:
            return self.slots.draw_mask(grouped, keep)
        return torch.rand_like(grouped, dtype=torch.float32) < keep[:, None, None]

    def extra_repr(self) -> str:
        out_features, in_features = self.shape
        return f"in_features={in_features}, out_features={out_features}, {self.slots.count} of {self.families[0]}"


class SharedTogether(nn.Module):
    """Frozen tensors of all slots, each kept once where it is the same in all.

    As one module that every layer refers to, what layers share moves once; it is never part of a state dict.

    Args:
        tensors: by name, for every slot.
    """

    def __init__(self, tensors: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.sizes: dict[str, tuple[torch.Size, ...]] = {}
        for name in tensors[0]:
            together = keep_once([each[name] for each in tensors], name)
            self.register_buffer(name, together.tensor, persistent=False)
            self.sizes[name] = together.sizes

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, with a first dimension of slots or without."""
        return {name: getattr(self, name) for name in self.sizes}

    def of_slot(self, number: int) -> dict[str, Tensor]:
        """Return one slot's own, numbered from 0."""
        found = {}
        for name, sizes in self.sizes.items():
            tensor = getattr(self, name)
            own = tensor[number] if tensor.dim() > len(sizes[number]) else tensor
            found[name] = leading_block(own, sizes[number])
        return found
