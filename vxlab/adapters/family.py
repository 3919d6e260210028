"""What a family of adapters is: settings, and the pair of thin factors whose product is the update."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vxlab.errors import VxlabError

Shape = tuple[int, int]
"""(out_features, in_features), the order of ``torch.nn.Linear.weight``."""


@dataclass(frozen=True)
class Method:
    """Settings of a way to fine-tune: an adapter family, the task head alone, or the whole model."""

    name: ClassVar[str]
    """The name on the command line and in saved files."""

    def settings(self) -> dict[str, object]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Family(Method, ABC):
    """A family of adapters: **ΔW = left·right** with left ``(out, r)`` and right ``(r, in)``.

    A subclass says which tensors it trains, which it freezes, and how the two factors follow from them. Everything
    else (forward, backward, merging, saving, counting) is written once, in terms of the factors.
    """

    rank: int

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise VxlabError(f"{type(self).__name__} rank={self.rank!r} is not a positive integer; choose 1 or more")

    def check(self, shape: Shape, layer: str) -> None:
        """Raise if this family cannot adapt a layer of this shape."""

    def shared(self, shapes: Sequence[Shape]) -> dict[str, Tensor]:
        """Return the frozen float32 tensors that all layers of these shapes share, on the CPU."""
        return {}

    def frozen(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return every layer's own frozen tensors by dotted name, from each W ``(out, in)``, all layers in one call."""
        return {layer: {} for layer in weights}

    @abstractmethod
    def trained(self, shape: Shape) -> dict[str, Tensor]:
        """Return the initial values of the trained tensors of one layer, drawn from torch's global generator."""

    @abstractmethod
    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        """Return left ``(out, r)`` and right ``(r, in)`` from the layer's trained, frozen and shared tensors."""

    @property
    def dropout_probability(self) -> float:
        """Of zeroing an entry of the update's input while training."""
        return 0.0

    @abstractmethod
    def parameter_count(self, shape: Shape) -> int:
        """Return the number of trained parameters in a layer of this shape."""


def positive(method: str, argument: str, value: float | None) -> None:
    """Raise unless ``value`` is None or a positive, finite number."""
    if value is not None and not (0 < value < float("inf")):
        raise VxlabError(f"{method} {argument}={value!r} is not a positive number; choose one above 0")


def one_of(method: str, argument: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise VxlabError(f"{method} {argument}={value!r} is unknown; choose one of {', '.join(choices)}")
