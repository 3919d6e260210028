"""LoRA-XS: one small trained matrix between two frozen bases taken from the layer's own weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vxlab.adapters.core import Chain, Family, Rank, Shape, random_basis, random_weight
from vxlab.checks import require_choice, require_positive
from vxlab.errors import VxlabError
from vxlab.spectra import BANDS, Triplets, singular_triplets, singular_values

SIGMA_SIDES = ("input", "output", "split", "none")
BASES = (*BANDS, "random", "random-svd", "gradient", "given")


@dataclass(frozen=True)
class LoRAXS(Family):
    """Adapt a layer by ``ΔW = (α/r)·left₀·R·right₀`` with R ``(r, r)`` trained and the two bases frozen.

    The bases are r singular triplets U, Σ, Vᵀ of the layer's own W, exact, or of a large W as exact as their residuals
    show (:func:`vxlab.spectra.singular_triplets`). Where Σ stands changes training, for ∂L/∂R carries it:

    ======== ======= ========
    sigma    left₀   right₀
    ======== ======= ========
    input    U       Σ·Vᵀ
    output   U·Σ     Vᵀ
    split    U·√Σ    √Σ·Vᵀ
    none     U       Vᵀ
    ======== ======= ========

    The released code puts Σ on the input side (the default here); the paper's formula, written for x·W, reads the same
    way. The released code also uses a randomised SVD, which misses the top subspace where the spectrum is flat. R
    starts from N(0, (1e-5)²), so outputs move by next to nothing at the start. Trains r² parameters.

    Args:
        rank: r, 1 to min(in, out) of every adapted layer; or each layer's by name (:class:`Family`).
        alpha: α, above 0; None means α = r, so that the scale stays 1 at every rank. The released GLUE scripts keep
            α = 16, whose scale falls from 4 (r = 4) to 0.64 (r = 25).
        sigma: where Σ stands: ``input``, ``output``, ``split`` or ``none``.
        basis: where U, Σ and Vᵀ come from:

            - ``top``, ``middle`` or ``bottom``: W's own singular triplets of that band.
            - ``random``: random orthonormal directions, with the top band's Σ.
            - ``random-svd``: the top triplets of a Gaussian matrix with W's shape and Frobenius norm.
            - ``gradient``: the top singular vectors of the loss's gradient for W before training, which
              :func:`vxlab.attach` must be given (``vxlab.run`` computes them), with the top band's Σ: the directions
              that LoRA-SB starts from.
            - ``given``: the bases that an adapter's folder holds, Σ among them on the input side, such as the released
              code's; :func:`vxlab.load_adapter` puts them on a model, and nothing else does.

            Those from gradients and given ones are stored with an adapter, r·(in + out) numbers a layer, for neither
            the weights nor a seed reproduce them.

            ``random`` and ``gradient`` keep W's top Σ so as to differ from ``top`` in their directions alone.
        seed: of the bases ``random`` and ``random-svd``.

    Raises:
        VxlabError: a setting is out of its range, or the rank exceeds a layer's smaller side.

    Source: Bałazy et al., LoRA-XS (2024), arXiv 2405.17604, section 3; the gradient's directions: Ponkshe et al.,
    LoRA-SB (2024), arXiv 2411.19557, which sets Σ and R from the gradient too, as this does not.
    """

    name: ClassVar[str] = "lora_xs"
    rank: Rank = 16
    alpha: float | None = None
    sigma: str = "input"
    basis: str = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("LoRAXS alpha", self.alpha)
        require_choice("LoRAXS sigma", self.sigma, SIGMA_SIDES)
        require_choice("LoRAXS basis", self.basis, BASES)
        if self.basis == "given" and self.sigma != "input":
            raise VxlabError(f"LoRAXS sigma={self.sigma!r} moves nothing in bases that are given; leave it out")

    @property
    def scaling(self) -> float:
        """α/r, the factor before the product."""
        return 1.0 if self.alpha is None else self.alpha / self.r

    @property
    def needs_gradients(self) -> bool:
        return self.basis == "gradient"

    @property
    def stores_bases(self) -> bool:
        return self.basis in ("gradient", "given")

    def check(self, shape: Shape, layer: str) -> None:
        if self.r > min(shape):
            raise VxlabError(
                f"LoRAXS rank={self.r} is more than min(in_features, out_features)={min(shape)} of `{layer}`; "
                f"choose 1-{min(shape)}"
            )

    def frozen(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        if self.basis == "given":
            raise VxlabError(
                "LoRAXS(basis='given') acts on bases that an adapter's folder holds, and none are here to act on; put "
                "the adapter on a model with vxlab.load_adapter(model, folder), or choose another basis"
            )
        left, right = {"input": (0.0, 1.0), "output": (1.0, 0.0), "split": (0.5, 0.5), "none": (0.0, 0.0)}[self.sigma]
        return {
            layer: {"left_basis": U * S**left if left else U, "right_basis": S[:, None] ** right * Vh if right else Vh}
            for layer, (U, S, Vh) in self._triplets(weights, gradients or {}).items()
        }

    def _triplets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Triplets]:
        if self.basis in BANDS:
            return singular_triplets(weights, self.r, self.basis)
        if self.basis == "random-svd":
            gaussians = {layer: random_weight(weight, self.seed, layer) for layer, weight in weights.items()}
            return singular_triplets(gaussians, self.r)
        values, directions = singular_values(weights), self._directions(weights, gradients)
        return {layer: Triplets(U, values[layer][: self.r], Vh) for layer, (U, Vh) in directions.items()}

    def _directions(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return U and Vh of every layer that W's spectrum is put between."""
        if self.basis == "gradient":
            # Named as what they are in a warning that a gradient's directions are fewer than the rank.
            triplets = singular_triplets({f"{layer}.weight.grad": gradients[layer] for layer in weights}, self.r)
            return {layer: (U, Vh) for layer, (U, _, Vh) in zip(weights, triplets.values(), strict=True)}
        return {layer: random_basis(each.shape, self.r, self.seed, layer) for layer, each in weights.items()}

    def trained(self, shape: Shape) -> dict[str, Tensor]:
        return {"R": torch.randn(self.r, self.r) * 1e-5}

    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        R = tensors["R"] if self.scaling == 1 else self.scaling * tensors["R"]
        return tensors["left_basis"] @ R, tensors["right_basis"]

    def chain(self) -> Chain:
        return Chain(("right_basis", "R", "left_basis"), self.scaling)

    def parameter_count(self, shape: Shape) -> int:
        return self.r**2
