"""What a way to fine-tune is, and what a family of adapters adds: the two thin factors whose product is the update."""

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from vxlab.adapters.core.chain import Chain
from vxlab.adapters.core.fingerprint import frozen_probe, weights_fingerprint
from vxlab.adapters.core.frozen_weight import LayerWeights, Shape, linear_shape
from vxlab.adapters.core.layer import AdaptedLinear, SharedTensors, replace_layer
from vxlab.adapters.core.own_code import code_version, is_own
from vxlab.adapters.core.own_home import pack_method
from vxlab.adapters.core.quantisation import quantisation_of
from vxlab.adapters.core.quantised_layer import AdaptedQuantisedLinear
from vxlab.adapters.core.ranks import Rank, rank_at, require_all_met
from vxlab.checks import quote, require_count, settle_fields
from vxlab.errors import VxlabError

Each = TypeVar("Each")


@dataclass(frozen=True)
class Method(ABC):
    """Settings of a way to fine-tune, and how it is put on a model. The task head trains with every one of them."""

    name: ClassVar[str]
    """The name on the command line and in saved files."""
    on_layers: ClassVar[bool] = True
    """Whether it goes on target layers; else it takes no notice of them."""
    by_gradient: ClassVar[bool] = True
    """Whether it trains by gradient steps; else rates, epochs, batches and seeds do not enter its numbers."""

    @property
    def needs_gradients(self) -> bool:
        """Whether it starts from the gradients of the target layers' weights, which ``attach`` must be given."""
        return False

    def __post_init__(self) -> None:
        settle_fields(self, f"{type(self).__name__} ")

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self)

    @abstractmethod
    def put_on(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
        """Change the model in place, or raise and leave it; return the names of what trains in the backbone."""

    @abstractmethod
    def take_off(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Undo :meth:`put_on`; which parameters train is restored by the caller."""

    @abstractmethod
    def count(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> int:
        """Return how many parameters of the backbone would train on a bare model, or raise as :meth:`put_on` does."""

    def fingerprints(self, layers: Mapping[str, nn.Module]) -> dict[str, Any]:
        """Return what tells whether the frozen tensors of the adapted layers are the ones trained with, as JSON."""
        return {}

    def versions(self) -> dict[str, str]:
        """Return the versions, beside vxlab's own, on which its numbers depend: of a class of yours, its code's."""
        return code_version(type(self))

    def schedule(self, model: nn.Module) -> "Schedule | None":
        """Return what a training loop must do for the method that is on this model, if anything."""
        return None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return pack_method(self) if is_own(type(self)) else super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it never changes


def require_method(method: object) -> None:
    """Refuse what is no method, such as a method's name or its class."""
    if not isinstance(method, Method):
        raise VxlabError(
            f"method={quote(method)} is not a method; pass vxlab.LoRA(rank=8), VeRA, LoRAXS, PEFT, Head, ..."
        )


class Schedule(Protocol):
    """What a method does between optimizer steps."""

    def after_step(self, step: int, steps: int) -> None:
        """Act after optimizer step ``step``, from 1, of ``steps``, while its gradients are there."""

    def state(self) -> dict[str, Tensor]:
        """Return what it remembers, for a checkpoint."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` returned."""


@dataclass(frozen=True)
class Family(Method):
    """A family of adapters: **ΔW = left·right** with left ``(out, r)`` and right ``(r, in)``.

    A subclass says which tensors it trains, which it freezes, and how the two factors follow from them. Everything
    else (forward, backward, merging, saving, counting) is written once, in terms of the factors.

    The rank is one for all layers, or a mapping with each layer's own: by role (``{"query": 4, "value": 16}``), by the
    end of a dotted name, or by a whole one; the closest name counts. What a subclass defines is always asked of the
    family :meth:`at` a layer, or at layers of one rank, whose rank is one number. So a subclass takes ranks by layer
    where it leaves the field alone or annotates it ``rank: Rank``, and reads :attr:`r`; one that annotates
    ``rank: int`` takes one rank alone. A check of its own in ``__post_init__``, which sees all ranks, takes
    :attr:`highest_rank`.
    """

    parts_follow_from: ClassVar[tuple[str, ...]] = ()
    """The settings that decide which tensors it trains and freezes; adapters that differ in them do not stack."""

    rank: Rank

    @property
    def stores_bases(self) -> bool:
        """Whether the layers' own frozen tensors are saved with the adapter: neither weights nor a seed make them."""
        return self.needs_gradients

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        if isinstance(self.rank, int):
            require_count(f"{owner} rank", self.rank)
            return
        if not self.rank:
            raise VxlabError(f"{owner} rank={{}} names no layer; give one rank, or such as {{'query': 4, 'value': 16}}")
        for name, rank in self.rank.items():
            require_count(f"{owner} rank of {name!r}", rank)

    def __str__(self) -> str:
        if isinstance(self.rank, int):
            return repr(self)
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        told = [f"{name}={quote(value) if name == 'rank' else repr(value)}" for name, value in fields.items()]
        return f"{type(self).__name__}({', '.join(told)})"  # which errors say, and of 36 layers the ranks are long

    @property
    def r(self) -> int:
        """The rank, where it is one number, as it is of the family :meth:`at` a layer."""
        if not isinstance(self.rank, int):
            raise VxlabError(f"{self} has ranks by layer; ask {type(self).__name__}.at(layer) for one layer's")
        return self.rank

    @property
    def highest_rank(self) -> int:
        """The rank, or the highest of those by layer."""
        return self.rank if isinstance(self.rank, int) else max(self.rank.values())

    def at(self, layer: str) -> Self:
        """Return the family as one layer has it, with that layer's rank.

        Raises:
            VxlabError: no rank is for this layer.
        """
        if isinstance(self.rank, int):
            return self
        return dataclasses.replace(self, rank=rank_at(self.rank, layer, type(self).__name__))

    def by_rank(self, layers: Mapping[str, Each]) -> list[tuple[Self, dict[str, Each]]]:
        """Return the layers of each rank with the family at it, in the order in which ranks first come."""
        groups: dict[int, tuple[Self, dict[str, Each]]] = {}  # by rank: a family of one's own may have no hash
        for name, each in layers.items():
            family = self.at(name)
            groups.setdefault(family.r, (family, {}))[1][name] = each
        return list(groups.values())

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        rank = self.rank if isinstance(self.rank, int) else dict(self.rank)
        return super().settings() | {"rank": rank}

    def check(self, shape: Shape, layer: str) -> None:
        """Raise if this family cannot adapt a layer of this shape."""

    def shared(self, shapes: Sequence[Shape]) -> dict[str, Tensor]:
        """Return the frozen float32 tensors that all layers of these shapes, and of one rank, share, on the CPU."""
        return {}

    def frozen(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Return every layer's own frozen tensors by dotted name, all layers in one call.

        Where there are two bases, that of the output side comes first.

        Args:
            weights: W ``(out, in)``, by layer.
            gradients: the loss's gradient for each W, where :attr:`needs_gradients`.
        """
        return {layer: {} for layer in weights}

    @abstractmethod
    def trained(self, shape: Shape) -> dict[str, Tensor]:
        """Return the initial values of the trained tensors of one layer, drawn from torch's global generator."""

    @abstractmethod
    def factors(self, tensors: Mapping[str, Tensor], shape: Shape) -> tuple[Tensor, Tensor]:
        """Return left ``(out, r)`` and right ``(r, in)`` from the layer's trained, frozen and shared tensors."""

    def chain(self) -> Chain | None:
        """Return the update as maps that x goes through one after another; None where the two factors are all there is.

        Many adapters at once go through it, where what they share is multiplied once and what is their own is small.
        """
        return None

    @property
    def dropout_probability(self) -> float:
        """Of zeroing an entry of the update's input while training."""
        return 0.0

    @abstractmethod
    def parameter_count(self, shape: Shape) -> int:
        """Return the number of trained parameters in a layer of this shape."""

    def put_on(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        frozen: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> set[str]:
        """As :meth:`Method.put_on`; ``frozen`` are the layers' own frozen tensors where weights do not make them."""
        self.checked_shapes(layers)
        weights = [module.get_parameter("weight") for module in layers.values()]
        # In the widest precision of the layers, as their own tensors are in the layer's.
        dtype = functools.reduce(torch.promote_types, [weight.dtype for weight in weights], torch.float32)
        shared: dict[str, SharedTensors] = {}
        own: dict[str, Mapping[str, Tensor]] = dict(frozen or {})
        for family, group in self.by_rank(layers):
            drawn = family.shared([linear_shape(module) for module in group.values()])
            shared |= dict.fromkeys(group, SharedTensors(drawn).to(weights[0].device, dtype))
            own |= {} if frozen else family.frozen(LayerWeights(group))
        adapted = {
            name: (AdaptedQuantisedLinear if quantisation_of(module) else AdaptedLinear)(
                module, self.at(name), shared[name], own[name], name
            )
            for name, module in layers.items()
        }
        if is_own(type(self)):
            for layer in {(layer.shape, layer.family.r): layer for layer in adapted.values()}.values():
                self._check_promises(layer)
        for name, layer in adapted.items():
            layer.train(
                model.get_submodule(name.rpartition(".")[0]).training
            )  # a quantised layer may not tell its mode
            replace_layer(model, name, layer)
        return {f"{name}.{tensor}" for name, layer in adapted.items() for tensor in layer.trained_tensors()}

    def take_off(self, model: nn.Module, layers: Sequence[str]) -> None:
        for name in layers:
            adapted: Any = model.get_submodule(name)
            replace_layer(model, name, adapted.restored_base())

    def count(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> int:
        return sum(self.at(name).parameter_count(shape) for name, shape in self.checked_shapes(layers).items())

    def fingerprints(self, layers: Mapping[str, nn.Module]) -> dict[str, Any]:
        if self.stores_bases:
            return {}  # saved whole, so there is nothing to reproduce
        adapted: list[Any] = list(layers.values())
        each_shared = list({id(layer.shared): layer.shared for layer in adapted}.values())  # one of each rank
        shared = dict(each_shared[0].named_buffers())
        for number, further in enumerate(each_shared[1:], 1):
            shared |= {f"{number}.{name}": tensor for name, tensor in further.named_buffers()}
        frozen = [tensors for tensors in (layer.frozen_tensors() for layer in adapted) if tensors]
        # As they were drawn, whatever the layers' precision.
        found: dict[str, Any] = {"shared_sha256": weights_fingerprint(shared, torch.float32)} if shared else {}
        return found | ({"basis_probes": [frozen_probe(list(each.values())) for each in frozen]} if frozen else {})

    def _check_promises(self, layer: Any) -> None:
        """Raise where a family of a user's own does not do on a layer what :class:`Family` asks of it."""
        (out_features, in_features), cls = layer.shape, type(self).__name__
        left, right = (tuple(factor.shape) for factor in layer.factors())
        if len(left) != 2 or len(right) != 2 or (left[0], left[1], right[1]) != (out_features, right[0], in_features):
            raise VxlabError(
                f"{cls}.factors gives left {left} and right {right} on `{layer.layer}`; they must be (out, r) and "
                f"(r, in) with (out, in) = {layer.shape}"
            )
        told = layer.family.parameter_count(layer.shape)
        found = sum(each.numel() for each in layer.trained_tensors().values())
        if told != found:
            raise VxlabError(
                f"{cls}.parameter_count gives {told:,} for (out, in) = {layer.shape}; trained gives {found:,}"
            )

    def checked_shapes(self, layers: Mapping[str, nn.Module]) -> dict[str, Shape]:
        """Return the layers' shapes, or raise if this family cannot adapt one of them, or has a rank for none."""
        if not isinstance(self.rank, int):
            require_all_met(self.rank, layers, type(self).__name__)
        shapes = {name: linear_shape(module) for name, module in layers.items()}
        for name, shape in shapes.items():
            self.at(name).check(shape, name)
        return shapes
