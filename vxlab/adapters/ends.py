"""Ways to fine-tune without an adapter: the task head alone, the biases, and the whole model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from vxlab.adapters.family import Method
from vxlab.adapters.targets import head_parameters
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class _Own(Method):
    """A choice among the model's own parameters."""

    on_layers: ClassVar[bool] = False

    def take_off(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Nothing was put on."""

    def count(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> int:
        chosen = self.put_on(model, layers) - set(head_parameters(model))
        return sum(model.get_parameter(name).numel() for name in chosen)


@dataclass(frozen=True)
class Head(_Own):
    """Train the task head alone; the backbone stays frozen. The floor of a comparison."""

    name: ClassVar[str] = "head"

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        if not head_parameters(model):
            raise VxlabError(
                f"method=Head() needs a task head, and {type(model).__name__} has none; use another method"
            )
        return set()


@dataclass(frozen=True)
class BitFit(_Own):
    """Train every bias of the backbone, those of layer norms included, and the task head.

    It has no settings and no targets.

    Source: Ben Zaken, Goldberg, Ravfogel, BitFit (ACL 2022), arXiv 2106.10199.

    >>> BitFit().settings()
    {}
    """

    name: ClassVar[str] = "bitfit"

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        names = {name for name, _ in model.named_parameters() if name.rpartition(".")[2].endswith("bias")}
        biases = names - set(head_parameters(model))
        if not biases:
            raise VxlabError(
                f"method=BitFit() trains biases, and the backbone of this {type(model).__name__} has none; "
                "use another method"
            )
        return biases


@dataclass(frozen=True)
class Full(_Own):
    """Train every parameter of the model. What adapters try to match at a fraction of the parameters."""

    name: ClassVar[str] = "full"

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        return {name for name, _ in model.named_parameters()}
