"""LiDB: LoRA's two factors, each seen through a frozen random orthonormal basis."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vxlab.adapters.core import Chain, Family, Rank, Shape, random_basis
from vxlab.checks import require_count
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class LiDB(Family):
    """Adapt a layer by ``ΔW = A_aux·A·B·B_aux`` with A ``(a, r)`` and B ``(r, b)`` trained.

    A_aux ``(out, a)`` has orthonormal columns and B_aux ``(b, in)`` orthonormal rows; both are frozen, random, of each
    layer's own, drawn from the seed and the layer's name, and never stored. Trains r·(a + b) parameters a layer,
    whatever its size. The paper gives no initial values: here A starts at 0 (hence ΔW = 0, and B's first gradient is
    exactly 0) and B as LoRA's A does, within ±1/√b. There is no α.

    Args:
        rank: r, 1 to min(a, b); the paper's 1. Or each layer's by name (:class:`Family`).
        aux_out: a, 1 to the out_features of every adapted layer; the paper's 100.
        aux_in: b, 1 to the in_features of every adapted layer; the paper's 50.
        seed: of the two frozen bases.

    Raises:
        VxlabError: a setting is out of its range, or a or b exceeds a layer's side.

    Source: Ruiz et al., HyperDreamBooth (2023), arXiv 2307.06949, Lightweight DreamBooth, where A is on the output
    side and B on the input side, as here.

    >>> LiDB().parameter_count((768, 768))
    150
    """

    name: ClassVar[str] = "lidb"
    rank: Rank = 1
    aux_out: int = 100
    aux_in: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("aux_out", "aux_in"):
            require_count(f"LiDB {name}", getattr(self, name))
        if self.highest_rank > min(self.aux_out, self.aux_in):
            raise VxlabError(
                f"LiDB rank={self.highest_rank} is more than min(aux_out, aux_in)={min(self.aux_out, self.aux_in)}; "
                f"choose 1-{min(self.aux_out, self.aux_in)}, or larger bases"
            )

    def check(self, shape: Shape, layer: str) -> None:
        for name, side, most in zip(("aux_out", "aux_in"), ("out_features", "in_features"), shape, strict=True):
            if getattr(self, name) > most:
                raise VxlabError(
                    f"LiDB {name}={getattr(self, name)} is more than {side}={most} of `{layer}`; choose 1-{most}"
                )

    def frozen(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        bases = {
            layer: random_basis(weight.shape, self.aux_out, self.seed, layer, self.aux_in)
            for layer, weight in weights.items()
        }
        return {layer: {"left_basis": U, "right_basis": Vh} for layer, (U, Vh) in bases.items()}

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        bound = 1 / math.sqrt(self.aux_in)
        B = torch.empty(self.r, self.aux_in).uniform_(-bound, bound)
        return {"A": torch.zeros(self.aux_out, self.r), "B": B}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        return tensors["left_basis"] @ tensors["A"], tensors["B"] @ tensors["right_basis"]

    def chain(self) -> Chain:
        return Chain(("right_basis", "B", "A", "left_basis"))

    def parameter_count(self, shape: Shape) -> int:
        return self.r * (self.aux_out + self.aux_in)
