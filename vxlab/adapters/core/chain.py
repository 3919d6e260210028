"""An update as the maps that x goes through one after another, where some of them are many adapters' own and small."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vxlab.adapters.core.family import Family


class Chain(NamedTuple):
    """``x·ΔWᵀ = scale·x·T₁ᵀ·T₂ᵀ···``, a matrix Tᵢ being (out, in) of its own part, a vector the diagonal of one.

    The first and the last may be larger than the layer: it takes the leading columns, or rows.
    """

    tensors: tuple[str, ...]
    """names of the family's trained, frozen and shared tensors, in the order that x meets them"""
    scale: float = 1.0


def chain_of(family: "Family") -> Chain | None:
    """Return a family's chain, unless it has none, or only inherits one beside factors of its own."""
    for cls in type(family).__mro__:
        if "chain" in vars(cls):
            return family.chain()
        if "factors" in vars(cls):
            return None
    return None
