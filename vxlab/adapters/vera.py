"""VeRA, first published as ELoRA: two trained vectors around a frozen random pair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vxlab.adapters.family import Family, Shape, positive


@dataclass(frozen=True)
class VeRA(Family):
    """Adapt a layer by ``ΔW = diag(b)·B·diag(d)·A`` with b ``(out,)`` and d ``(r,)`` trained.

    A ``(r, in)`` and B ``(out, r)`` are one frozen random pair for all layers, Kaiming uniform: A within ±√(6/in),
    B within ±√(6/r). b starts at 0 (hence ΔW = 0, and d's first gradient is exactly 0) and d at ``d_initial``. There
    is no α. Trains out + r parameters a layer; the pair is never stored, its seed is.

    Where the adapted layers differ in shape, one pair of the largest ``in`` and ``out`` is drawn and each layer takes
    ``A[:, :in]`` and ``B[:out, :]``, as PEFT does. A's bound then follows the largest ``in``, so the set of adapted
    layers changes every layer's values. The paper describes one shape only.

    Args:
        rank: r, 1 or more; it may exceed in and out (the paper uses 1024 on a 768-wide model).
        d_initial: the start of every entry of d, above 0; the paper's 0.1.
        seed: of the frozen pair; the same number as PEFT's ``projection_prng_key`` gives the same pair.

    Raises:
        VxlabError: a setting is out of its range.

    Source: Kopiczko, Blankevoort, Asano, VeRA (ICLR 2024), arXiv 2310.11454, equation 2; ELoRA is the name of the
    same method in its first version.
    """

    name: ClassVar[str] = "vera"
    rank: int = 256
    d_initial: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("VeRA", "d_initial", self.d_initial)

    def shared(self, shapes: Sequence[Shape]) -> dict[str, Tensor]:
        """Return A ``(r, largest in)`` and B ``(largest out, r)``, drawn on the CPU in float32, A first."""
        generator = torch.Generator().manual_seed(self.seed)
        A = _kaiming_uniform((self.rank, max(in_features for _, in_features in shapes)), generator)
        B = _kaiming_uniform((max(out_features for out_features, _ in shapes), self.rank), generator)
        return {"A": A, "B": B}

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        return {"lambda_b": torch.zeros(shape[0]), "lambda_d": torch.full((self.rank,), self.d_initial)}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        out_features, in_features = shape
        A, B = tensors["A"][:, :in_features], tensors["B"][:out_features]
        # One product b·dᵀ, whose gradients are two matrix-vector products and which makes autograd keep b and d alone.
        return B * (tensors["lambda_b"][:, None] @ tensors["lambda_d"][None, :]), A

    def parameter_count(self, shape: Shape) -> int:
        return shape[0] + self.rank


def _kaiming_uniform(shape: Shape, generator: torch.Generator) -> Tensor:
    bound = math.sqrt(6 / shape[1])
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
