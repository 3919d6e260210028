"""LoRA: two trained factors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vxlab.adapters.core import Family, Shape
from vxlab.checks import require_positive
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class LoRA(Family):
    """Adapt a layer by ``ΔW = s·B·A`` with A ``(r, in)`` and B ``(out, r)`` trained.

    s = α/r, or α/√r when rank-stabilised. A starts Kaiming uniform (a = √5, so within ±1/√in) and B at 0, hence
    ΔW = 0 and A's first gradient is exactly 0. Trains r·(in + out) parameters a layer.

    Args:
        rank: r, 1 or more.
        alpha: α, above 0; None means α = r, so s = 1 at every rank (√r when rank-stabilised).
        rank_stabilised: divide α by √r in place of r.
        dropout: probability, 0 to below 1, of zeroing an entry of the update's input while training.

    Raises:
        VxlabError: a setting is out of its range.

    Source: Hu et al., LoRA (2021), arXiv 2106.09685, section 4.1; rank stabilisation: Kalajdzievski (2023), arXiv
    2312.03732.

    >>> LoRA(rank=8, alpha=16).scaling
    2.0
    """

    name: ClassVar[str] = "lora"
    rank: int = 8
    alpha: float | None = None
    rank_stabilised: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("LoRA alpha", self.alpha)
        if not 0 <= self.dropout < 1:
            raise VxlabError(f"LoRA dropout={self.dropout!r} is not a probability below 1; choose 0 to 0.99")

    @property
    def scaling(self) -> float:
        """s, the factor before B·A."""
        alpha = self.rank if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        out_features, in_features = shape
        bound = 1 / math.sqrt(in_features)
        A = torch.empty(self.rank, in_features).uniform_(-bound, bound)
        return {"A": A, "B": torch.zeros(out_features, self.rank)}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        B = tensors["B"]
        return B if self.scaling == 1 else self.scaling * B, tensors["A"]

    @property
    def dropout_probability(self) -> float:
        return self.dropout

    def parameter_count(self, shape: Shape) -> int:
        return self.rank * sum(shape)
