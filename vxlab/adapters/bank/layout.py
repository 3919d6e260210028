"""An adapter as one row of numbers: where in it each trained tensor lies."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from vxlab.checks import quote
from vxlab.errors import VxlabError

ROW_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What rows may be stored in, by name."""


class RowPlace(NamedTuple):
    """Where in a row one tensor lies."""

    layer: str
    """the dotted name of the adapted layer, or of the head's"""
    tensor: str
    """its name there, such as ``R`` or ``weight``"""
    shape: tuple[int, ...]
    offset: int
    """in numbers, from the row's beginning"""

    @property
    def name(self) -> str:
        """The name that it has in a model with the adapter alone."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor

    @property
    def end(self) -> int:
        """The offset of what follows."""
        return self.offset + math.prod(self.shape)


@dataclass(frozen=True)
class RowLayout:
    """The order, shapes and precision of the numbers of a row ``(P,)``: the adapter's tensors, then the head's."""

    places: tuple[RowPlace, ...]
    dtype: torch.dtype

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, Iterable[int]], dtype: torch.dtype) -> Self:
        """Lay tensors one after another, by dotted name.

        >>> RowLayout.of_shapes({"query.R": (2, 2), "classifier.bias": (3,)}, torch.float32).places[1].offset
        4
        """
        places: list[RowPlace] = []
        for name, shape in shapes.items():
            layer, _, tensor = name.rpartition(".")
            places.append(RowPlace(layer, tensor, tuple(shape), places[-1].end if places else 0))
        return cls(tuple(places), dtype)

    @property
    def width(self) -> int:
        """P, how many numbers a row has."""
        return self.places[-1].end if self.places else 0

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has."""
        return self.width * self.dtype.itemsize

    def pack(self, tensors: Mapping[str, Tensor], whose: str) -> Tensor:
        """Return tensors as a row, on the CPU.

        Args:
            tensors: by the names that they have in a model with the adapter alone; rounded to the row's precision.
            whose: the beginning of an error, whose subject they are.

        Raises:
            VxlabError: one is missing, of another shape or too much.
        """
        wanted = {place.name: place.shape for place in self.places}
        for name, tensor in tensors.items():
            self._check(name, tensor, whose)
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if differing := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
            first = differing[0]
            told = f"has `{first}` {found[first]}" if first in found else f"lacks `{first}`"
            here = f"the bank's is {wanted[first]}" if first in wanted else "which the bank has not"
            raise VxlabError(f"{whose} {told}, {here} ({len(differing)} such); give exactly the bank's tensors")
        parts = [tensors[place.name].detach().to("cpu", self.dtype).flatten() for place in self.places]
        return torch.cat(parts)

    def _check(self, name: str, tensor: object, whose: str) -> None:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise VxlabError(f"{whose} has {quote(tensor)} as `{name}`; give a tensor of floating-point numbers")
        if tensor.dtype == torch.float64:
            raise VxlabError(f"{whose} has `{name}` in float64, of which a bank would lose digits; cast it to float32")

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the tensors of a row ``(P,)``, or of many ``(n, P)`` as ``(n, *shape)`` each, by name, as views."""
        return {
            place.name: rows[..., place.offset : place.end].view((*rows.shape[:-1], *place.shape))
            for place in self.places
        }
