"""Ways to learn a task without an adapter: a probe of the frozen model, the head alone, the biases, the whole model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from vxlab.adapters.core import Method, quantisation_of
from vxlab.adapters.placement import head_parameters
from vxlab.errors import VxlabError
from vxlab.words import number_of


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
    """Train the task head alone, by gradient steps; the backbone stays frozen.

    The papers' floor. It is what it claims only where it is trained for long enough at a tuned rate: :class:`Probe`
    needs neither.
    """

    name: ClassVar[str] = "head"

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        if not head_parameters(model):
            raise VxlabError(
                f"method=Head() needs a task head, and {type(model).__name__} has none; use another method"
            )
        return set()


@dataclass(frozen=True)
class Probe(_Own):
    """Fit a linear classifier, or a ridge regression, on features of the frozen model. The floor of a comparison.

    A run of it reads every text once. Pooling (mean over a text's tokens; the first token, or in a model that sees no
    token ahead the last; the model's own pooled output, where that is pretrained) is chosen on the validation split by
    the task's first metric, the strength of the L2 penalty by cross-validation within the training split. Nothing is
    drawn: learning rates, epochs, batches and seeds do not enter, and two runs of it are one.

    Source: Alain, Bengio, Understanding intermediate layers using linear classifier probes (2016), arXiv 1610.01644.

    >>> Probe().by_gradient, Probe().settings()
    (False, {})
    """

    name: ClassVar[str] = "probe"
    by_gradient: ClassVar[bool] = False

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        raise VxlabError(
            "method=Probe() trains nothing in a model, so there is nothing to attach: it fits a linear classifier on "
            "features of the frozen model; run it with vxlab.run(vxlab.RunSpec(method=vxlab.Probe()))"
        )


@dataclass(frozen=True)
class Base(_Own):
    """Leave a model that writes as it is. The floor of a comparison.

    A run of it trains nothing and scores the model once: learning rates, epochs, batches and seeds do not enter, and
    two runs of it are one.

    >>> Base().by_gradient, Base().settings()
    (False, {})
    """

    name: ClassVar[str] = "base"
    by_gradient: ClassVar[bool] = False

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        raise VxlabError(
            "method=Base() trains nothing in a model, so there is nothing to attach: run it with "
            "vxlab.run(vxlab.RunSpec(method=vxlab.Base()))"
        )


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
    """Train every parameter of the model. What adapters try to match at a fraction of the parameters.

    A quantised weight is no such parameter: no step of a learning rate moves its packed numbers.
    """

    name: ClassVar[str] = "full"

    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        packed = [name for name, module in model.named_modules() if quantisation_of(module)]
        if packed:
            raise VxlabError(
                f"method=Full() trains every weight, and those of {number_of(len(packed), 'layer')} of this "
                f"{type(model).__name__} are quantised and cannot train (`{packed[0]}` first); use another method, or "
                "load the model without quantisation"
            )
        return {name for name, _ in model.named_parameters()}
