"""LoRA: two trained factors; LoRA-FA: the second alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vxlab.adapters.core import Chain, Family, Rank, Shape, layer_generator
from vxlab.checks import quote, require_choice, require_positive
from vxlab.errors import VxlabError

TRAINED = ("both", "B")


@dataclass(frozen=True)
class LoRA(Family):
    """Adapt a layer by ``ΔW = s·B·A`` with A ``(r, in)`` and B ``(out, r)`` trained.

    s = α/r, or α/√r when rank-stabilised. A starts Kaiming uniform (a = √5, so within ±1/√in) and B at 0, hence
    ΔW = 0 and A's first gradient is exactly 0. Trains r·(in + out) parameters a layer.

    **LoRA-FA** is ``trains="B"``: A stays at its start, so r·out parameters train, and the backward pass needs
    z = A·x, r numbers a token, in place of x, in numbers a token. A is each layer's own, drawn from the seed and the
    layer's name and never stored. B's gradient is taken as it is; the paper's later correction of it by (A·Aᵀ)⁻¹
    belongs to the optimizer, and is not applied.

    Args:
        rank: r, 1 or more; or each layer's by name (:class:`Family`).
        alpha: α, above 0; None means α = r, so s = 1 at every rank (√r when rank-stabilised). With ranks by layer s is
            each layer's own, of one α, as PEFT's with ``rank_pattern``.
        rank_stabilised: divide α by √r in place of r.
        dropout: probability, 0 to below 1, of zeroing an entry of the update's input while training. The backward pass
            then keeps which entries, one byte each.
        trains: ``both``, or ``B`` alone with A frozen.
        seed: of a frozen A; where both train, A starts from torch's global generator.

    Raises:
        VxlabError: a setting is out of its range, or a seed is given where both train.

    Source: Hu et al., LoRA (2021), arXiv 2106.09685, section 4.1; rank stabilisation: Kalajdzievski (2023), arXiv
    2312.03732; A frozen: Zhang et al., LoRA-FA (2023), arXiv 2308.03303, which draws A from a normal distribution; here
    it is drawn as LoRA's.

    >>> LoRA(rank=8, alpha=16).scaling
    2.0
    >>> LoRA(rank={"query": 4, "value": 16}, alpha=16).at("encoder.layer.0.attention.self.query").scaling
    4.0
    >>> LoRA(rank=8).parameter_count((768, 768)), LoRA(rank=8, trains="B").parameter_count((768, 768))
    (12288, 6144)
    """

    name: ClassVar[str] = "lora"
    parts_follow_from: ClassVar[tuple[str, ...]] = ("trains",)
    rank: Rank = 8
    alpha: float | None = None
    rank_stabilised: bool = False
    dropout: float = 0.0
    trains: str = "both"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("LoRA alpha", self.alpha)
        if not 0 <= self.dropout < 1:
            raise VxlabError(f"LoRA dropout={self.dropout!r} is not a probability below 1; choose 0 to 0.99")
        require_choice("LoRA trains", self.trains, TRAINED)
        if self.trains == "both" and self.seed:
            raise VxlabError(
                f"LoRA seed={quote(self.seed)} is of an A that is frozen, and with trains='both' A trains from a start "
                "that torch.manual_seed decides, or a run's own seed; leave it out, or give trains='B'"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain JSON values; ``trains`` and ``seed`` only where A is frozen.

        LoRA had neither before, and its runs and adapters of then are those of now.
        """
        frozen = ("trains", "seed") if self.trains == "both" else ()
        return {name: value for name, value in super().settings().items() if name not in frozen}

    @property
    def scaling(self) -> float:
        """s, the factor before B·A."""
        alpha = self.r if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.r) if self.rank_stabilised else self.r)

    def frozen(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        if self.trains == "both":
            return super().frozen(weights)
        return {
            layer: {"A": self._drawn(weight.shape[1], layer_generator(self.seed, layer))}
            for layer, weight in weights.items()
        }

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        B = torch.zeros(shape[0], self.r)
        return {"B": B} if self.trains == "B" else {"A": self._drawn(shape[1]), "B": B}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        B = tensors["B"]
        return B if self.scaling == 1 else self.scaling * B, tensors["A"]

    def chain(self) -> Chain:
        return Chain(("A", "B"), self.scaling)

    @property
    def dropout_probability(self) -> float:
        return self.dropout

    def parameter_count(self, shape: Shape) -> int:
        return self.r * (shape[0] if self.trains == "B" else sum(shape))

    def _drawn(self, in_features: int, generator: torch.Generator | None = None) -> Tensor:
        """Return A as training starts from it; without a generator, from torch's global one."""
        bound = 1 / math.sqrt(in_features)
        return torch.empty(self.r, in_features).uniform_(-bound, bound, generator=generator)
