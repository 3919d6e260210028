"""VeRA, first published as ELoRA: two trained vectors around a frozen random pair."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vxlab.adapters.core import Chain, Family, Rank, Shape, layer_generator
from vxlab.checks import quote, require_choice, require_positive
from vxlab.errors import VxlabError

VECTORS = ("both", "d", "b")
MATRICES = ("kaiming-uniform", "kaiming-normal", "uniform", "given")


@dataclass(frozen=True)
class VeRA(Family):
    """Adapt a layer by ``ΔW = diag(b)·B·diag(d)·A`` with b ``(out,)`` and d ``(r,)`` trained.

    A ``(r, in)`` and B ``(out, r)`` are one frozen random pair for all layers, Kaiming uniform: A within ±√(6/in),
    B within ±√(6/r). b starts at 0 (hence ΔW = 0, and d's first gradient is exactly 0) and d at ``d_initial``. There
    is no α. Trains out + r parameters a layer; the pair is never stored, its seed is.

    Where the adapted layers differ in shape, one pair of the largest ``in`` and ``out`` is drawn and each layer takes
    ``A[:, :in]`` and ``B[:out, :]``, as PEFT does. A's bound then follows the largest ``in``, so the set of adapted
    layers changes every layer's values. The paper describes one shape only. With ranks by layer, layers of one rank
    share the pair that VeRA of that rank draws over them alone.

    Args:
        rank: r, 1 or more; it may exceed in and out (the paper uses 1024 on a 768-wide model). Or each layer's by name
            (:class:`Family`).
        d_initial: the start of every entry of d, above 0; the paper's 0.1. Without effect where d alone trains.
        seed: of the frozen pair; the same number as PEFT's ``projection_prng_key`` gives the same pair. torch's
            generator takes 32 bits of it: 0 to 2**32 - 1 are all the pairs there are.
        vectors: what trains: ``both``, ``d`` or ``b`` alone. The paper's ablation does not state how the other is
            fixed; here d stays at ``d_initial`` where b alone trains (out parameters), and where d alone trains
            (r parameters) b is 1 and d starts at 0, so that ΔW = 0 at the start all the same.
        matrices: how A and B are drawn: ``kaiming-uniform``; ``kaiming-normal``, N(0, 2/in) and N(0, 2/r);
            ``uniform``, from 0 to 0.1; or ``given``, those that an adapter's folder holds and no seed draws, which
            :func:`vxlab.load_adapter` puts on a model, and nothing else does. Given ones alone are stored with an
            adapter, r·(in + out) numbers a layer.
        unique: give every layer a pair of its own, from the seed and the layer's name, in place of the shared one.
            It is never stored either, but each layer then holds r·(in + out) numbers in memory.
        dropout: probability, 0 to below 1, of zeroing an entry of the update's input while training; the paper has
            none, PEFT calls it ``vera_dropout``.

    Raises:
        VxlabError: a setting is out of its range.

    Source: Kopiczko, Blankevoort, Asano, VeRA (ICLR 2024), arXiv 2310.11454, equation 2 and its ablation study; ELoRA
    is the name of the same method in its first version.

    >>> VeRA(rank=64, vectors="d").parameter_count((768, 768))
    64
    """

    name: ClassVar[str] = "vera"
    rank: Rank = 256
    d_initial: float = 0.1
    seed: int = 0
    vectors: str = "both"
    matrices: str = "kaiming-uniform"
    unique: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("VeRA d_initial", self.d_initial)
        require_choice("VeRA vectors", self.vectors, VECTORS)
        require_choice("VeRA matrices", self.matrices, MATRICES)
        if not 0 <= self.dropout < 1:
            raise VxlabError(f"VeRA dropout={self.dropout!r} is not a probability below 1; choose 0 to 0.99")
        if self.matrices == "given" and (self.seed or self.unique):
            raise VxlabError(f"VeRA seed={quote(self.seed)}, unique={self.unique} draw no matrices that are given")
        if not -(2**63) <= self.seed < 2**64:
            raise VxlabError(f"VeRA seed={quote(self.seed)} is no seed of torch's; choose 0 to 2**32 - 1")
        if (same := self.seed % 2**32) != self.seed and not self.unique:
            told = f"VeRA seed={self.seed} draws the matrices of seed={same}: torch's generator takes 32 bits of a seed"
            warnings.warn(f"{told}; choose 0 to 2**32 - 1", stacklevel=3)

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain JSON values; ``dropout`` only where there is one, as earlier runs had none."""
        return {name: value for name, value in super().settings().items() if name != "dropout" or value}

    @property
    def stores_bases(self) -> bool:
        return self.matrices == "given"

    @property
    def dropout_probability(self) -> float:
        return self.dropout

    def shared(self, shapes: Sequence[Shape]) -> dict[str, Tensor]:
        """Return A ``(r, largest in)`` and B ``(largest out, r)``, drawn on the CPU in float32, A first."""
        if self.unique or self.stores_bases:
            return {}
        largest = max(out_features for out_features, _ in shapes), max(in_features for _, in_features in shapes)
        A, B = self._pair(largest, torch.Generator().manual_seed(self.seed))
        return {"A": A, "B": B}

    def frozen(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        if self.stores_bases:
            raise VxlabError(
                "VeRA(matrices='given') acts through matrices that an adapter's folder holds, and none are here; put "
                "the adapter on a model with vxlab.load_adapter(model, folder), or choose other matrices"
            )
        if not self.unique:
            return super().frozen(weights)
        shapes = {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}
        pairs = {layer: self._pair(shape, layer_generator(self.seed, layer)) for layer, shape in shapes.items()}
        return {layer: {"B": B, "A": A} for layer, (A, B) in pairs.items()}

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        if self.vectors == "d":
            return {"lambda_d": torch.zeros(self.r)}
        b, d = torch.zeros(shape[0]), torch.full((self.r,), self.d_initial)
        return {"lambda_b": b} if self.vectors == "b" else {"lambda_b": b, "lambda_d": d}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        out_features, in_features = shape
        if self.stores_bases:
            A, B = tensors["right_basis"], tensors["left_basis"]
        else:
            A, B = tensors["A"][:, :in_features], tensors["B"][:out_features]
        if self.vectors == "d":
            return B * tensors["lambda_d"], A
        if self.vectors == "b":
            return B * (self.d_initial * tensors["lambda_b"])[:, None], A
        # One product b·dᵀ, whose gradients are two matrix-vector products and which makes autograd keep b and d alone.
        return B * (tensors["lambda_b"][:, None] @ tensors["lambda_d"][None, :]), A

    def chain(self) -> Chain:
        if self.vectors == "both":
            return Chain(("A", "lambda_d", "B", "lambda_b"))
        return Chain(("A", "lambda_d", "B")) if self.vectors == "d" else Chain(("A", "B", "lambda_b"), self.d_initial)

    def parameter_count(self, shape: Shape) -> int:
        return {"both": shape[0] + self.r, "d": self.r, "b": shape[0]}[self.vectors]

    def _pair(self, shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        A = _drawn(self.matrices, (self.r, shape[1]), generator)
        return A, _drawn(self.matrices, (shape[0], self.r), generator)


def _drawn(matrices: str, shape: Shape, generator: torch.Generator) -> Tensor:
    """Return a random matrix whose Kaiming spread, where it has one, follows its number of columns."""
    empty = torch.empty(shape)
    if matrices == "uniform":
        return empty.uniform_(0, 0.1, generator=generator)
    if matrices == "kaiming-normal":
        return empty.normal_(0, math.sqrt(2 / shape[1]), generator=generator)
    bound = math.sqrt(6 / shape[1])
    return empty.uniform_(-bound, bound, generator=generator)


ELoRA = VeRA
"""VeRA's first name."""
