"""The two ends that adapters stand between: the task head alone, and the whole model."""

from dataclasses import dataclass
from typing import ClassVar

from vxlab.adapters.family import Method


@dataclass(frozen=True)
class Head(Method):
    """Train the task head alone; the backbone stays frozen. The floor of a comparison."""

    name: ClassVar[str] = "head"


@dataclass(frozen=True)
class Full(Method):
    """Train every parameter of the model. What adapters try to match at a fraction of the parameters."""

    name: ClassVar[str] = "full"
