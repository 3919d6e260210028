"""A linear layer of the task head, as many times as there are slots."""

import torch
from torch import Tensor, nn

from vxlab.adapters.stacked.slots import Slots


class StackedHead(nn.Module):
    """Compute ``y = x·H[k]ᵀ + b[k]``, all of it trained, where k is the slot of each row of x.

    Rows without an adapter go through the replaced layer, which stays as it is.

    Args:
        base: the layer of the head; every slot starts from its values.
        layer: its dotted name.
        slots: which rows are whose.
    """

    def __init__(self, base: nn.Linear, layer: str, slots: Slots) -> None:
        super().__init__()
        self.base_layer, self.layer, self.slots = base, layer, slots
        self.training = base.training
        for name, parameter in base.named_parameters():
            copies = parameter.detach().expand(slots.count, *parameter.shape).clone()
            self.register_parameter(name, nn.Parameter(copies))
        self.has_bias = base.bias is not None

    @torch.no_grad()
    def put(self, slot: int, tensors: dict[str, Tensor]) -> None:
        """Give one slot, numbered from 1, its head."""
        for name, parameter in self.named_parameters(recurse=False):
            parameter[slot - 1].copy_(tensors[name])

    def take(self, slot: int) -> dict[str, Tensor]:
        """Return one slot's head, as views."""
        return {name: parameter[slot - 1].detach() for name, parameter in self.named_parameters(recurse=False)}

    def forward(self, x: Tensor) -> Tensor:
        groups = self.slots.groups(x, self.layer)
        grouped = x.reshape(groups, -1, x.shape[-1])
        weight = self._of_rows("weight")
        y = grouped @ weight.mT
        if self.has_bias:
            y = y + self._of_rows("bias")[:, None, :]
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def _of_rows(self, name: str) -> Tensor:
        stacked: Tensor = getattr(self, name)
        if self.slots.rows is None:
            return self.slots.of_groups(stacked)
        return self.slots.gather(stacked, self.base_layer.get_parameter(name))
