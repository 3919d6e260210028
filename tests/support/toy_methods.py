"""A user's own methods, in a module of their own: LoRA with A frozen, and one that is not registered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import vxlab
from vxlab.adapters import Family
from vxlab.adapters.core.frozen_weight import Shape

SPREAD = 0.5


def drawn(rank: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rank, columns, generator=torch.Generator().manual_seed(seed)) / columns**SPREAD


@vxlab.register
@dataclass(frozen=True)
class FrozenA(Family):
    """LoRA whose A stays at its random start."""

    name: ClassVar[str] = "frozen_a"
    rank: int = 8
    seed: int = 0

    def shared(self, shapes: Sequence[Shape]) -> dict[str, Tensor]:
        return {"A": drawn(self.rank, max(shape[1] for shape in shapes), self.seed)}

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        return {"B": torch.zeros(shape[0], self.rank)}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        return tensors["B"], tensors["A"][:, : shape[1]]

    def parameter_count(self, shape: Shape) -> int:
        return self.rank * shape[0]


@dataclass(frozen=True)
class Unregistered(FrozenA):
    """The same, of a name that nobody told vxlab."""

    name: ClassVar[str] = "unregistered"
