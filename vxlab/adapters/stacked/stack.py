"""Many adapters of one family on one model: put on, exchanged with single ones, taken off."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters import AdaptedLinear, Family, Head, Method, adapted_layers, attach_layers, detach, resolve_targets
from vxlab.adapters.core import guard_kernels, replace_layer
from vxlab.adapters.placement import (
    Attachment,
    attachment_of,
    bare,
    find_attachment,
    guard_calls,
    head_parameters,
    lift_guards,
    require_before_sharing_out,
    require_unattached,
)
from vxlab.adapters.saving import give_checkpoints_back, take_checkpoints
from vxlab.adapters.stacked.head import StackedHead
from vxlab.adapters.stacked.layer import SharedTogether, StackedLinear
from vxlab.adapters.stacked.padding import leading_block
from vxlab.adapters.stacked.slots import Slots
from vxlab.checks import quote, settle_list
from vxlab.errors import VxlabError

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def stack_adapters(
    model: nn.Module, methods: Sequence[Method], targets: str | Sequence[str] = "query-value"
) -> "Stack":
    """Put K adapters of one family on a model at once, each with a task head of its own, and freeze the rest.

    In training a batch is K equal parts, one a slot, in their order; under :meth:`Stack.rows` every row names its own.
    Slots are numbered from 1. Each starts as :func:`vxlab.attach` would start it, drawn in their order from torch's
    global generator, with the head that the model has now.

    Args:
        model: a bare model; changed in place until :meth:`Stack.remove`.
        methods: one for each slot, of one class; ranks, scales, dropout and other settings may differ, but what trains
            must be of the same kind. ``Head()`` stacks heads alone.
        targets: as for :func:`vxlab.attach`; the same for all.

    Returns:
        The stack, by which to reach a slot's tensors, or the model with one adapter alone.

    Raises:
        VxlabError: the methods are none, of several classes, or no adapters of this project's; the model has an adapter
            already, normalises over its batch, or a head of more than linear layers; or a method cannot be attached.
            The model is then as it was.
    """
    require_before_sharing_out(model)
    inside, methods = bare(model), _checked_methods(methods)
    require_unattached(inside)
    _require_rows_apart(inside)
    layers = resolve_targets(inside, targets) if methods[0].on_layers else {}
    return Stack(inside, methods, layers)


class Stack:
    """K adapters of one family on a model, as :func:`stack_adapters` puts them there.

    Args:
        model: the bare model.
        methods: one for each slot.
        layers: the target layers by dotted name.
    """

    def __init__(self, model: nn.Module, methods: Sequence[Method], layers: Mapping[str, nn.Module]) -> None:
        self.model, self.methods, self.slots = model, tuple(methods), Slots(len(methods))
        self._bases, self._heads = dict(layers), _head_layers(model)
        self._trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        self._singles: dict[int, dict[str, AdaptedLinear]] = {}
        self._attachments: dict[int, Attachment] = {}
        starts = self._attach_each()
        self.layers = self._stack_layers()
        self.heads = {name: StackedHead(head, name, self.slots) for name, head in self._heads.items()}
        self._sizes = {slot: self._sizes_of(slot) for slot in self._numbers}
        for slot, start in enumerate(starts, 1):
            self.put(slot, start)
        self._own_heads = {name: copy.deepcopy(head) for name, head in self._heads.items()}
        guard_kernels(model)
        self._install()

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what trains, by layer and name: ``(K, ...)`` each, a slot a row."""
        return {
            f"{place}.{name}": parameter
            for place, module in self._places()
            for name, parameter in module.named_parameters(recurse=False)
        }

    @contextmanager
    def rows(self, slots: Sequence[int] | Tensor) -> Iterator[nn.Module]:
        """Say of every row of the batches in this context which slot's it is, 0 meaning no adapter; yield the model."""
        with self.slots.assign(slots, next(self.model.parameters()).device):
            yield self.model

    @contextmanager
    def only(self, slots: Sequence[int]) -> Iterator[nn.Module]:
        """Say that the batches in this context are equal parts of these slots alone, in this order; yield the model."""
        with self.slots.only(slots, next(self.model.parameters()).device):
            yield self.model

    def take(self, slot: int) -> dict[str, Tensor]:
        """Return copies of one slot's trained tensors, by the names that they have in a model with it alone."""
        return {name: tensor.clone() for name, tensor in self.values(slot).items()}

    def values(self, slot: int) -> dict[str, Tensor]:
        """Return one slot's trained tensors in the stack's own memory, by the names of :meth:`take`."""
        return self._of_slot(slot, {name: parameter.detach() for name, parameter in self.parameters().items()})

    def gradients(self, slot: int) -> dict[str, Tensor]:
        """Return one slot's gradients in the stack's own memory, where there are any, as :meth:`take` names them."""
        found = {name: parameter.grad for name, parameter in self.parameters().items()}
        return self._of_slot(slot, {name: gradient for name, gradient in found.items() if gradient is not None})

    def put(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Give one slot trained tensors, by the names and in the sizes that :meth:`take` returns.

        Raises:
            VxlabError: they are not exactly these. The slot is then as it was.
        """
        wanted = {name: tuple(each.shape) for name, each in self.take(slot).items()}
        found = {name: tuple(each.shape) for name, each in tensors.items()}
        if differing := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
            raise VxlabError(
                f"the tensors do not fit slot {slot}: {', '.join(f'`{name}`' for name in differing[:3])} missing, "
                "unexpected or of another shape; give those that take(slot) returns"
            )
        for place, module in self._places():
            module.put(slot, {name: tensors[f"{place}.{name}"] for name in module.take(slot)})

    @contextmanager
    def single(self, slot: int) -> Iterator[nn.Module]:
        """Yield the model with one slot's adapter and head alone on it, as :func:`vxlab.attach` has them there.

        All that is done with an adapted model can be done here: evaluate it, save its adapter, load one into it, train
        it. What the adapter and the head hold in the end goes back into the slot. After an error the slot is as it was.

        Raises:
            VxlabError: the adapter was taken off inside.
        """
        self._require_slot(slot)
        alone = self._put_alone(slot)
        try:
            yield self.model
            if find_attachment(self.model) is None:
                raise VxlabError(f"the adapter of slot {slot} was taken off inside single({slot}); leave it on there")
            found = {name: parameter.detach().clone() for name, parameter in alone.items()}
        finally:
            self._take_alone(slot)
            self._install()
        self.put(slot, found)

    def remove(self) -> nn.Module:
        """Take all adapters and heads off, and return the model as it was before them."""
        for name, head in self._heads.items():
            replace_layer(self.model, name, head)
        for name, base in self._bases.items():
            base.train(self.layers[name].training)
            replace_layer(self.model, name, base)
        self._forget()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trained[name])
        return self.model

    def _attach_each(self) -> list[dict[str, Tensor]]:
        """Attach and detach every method that differs, keep its layers, and return every slot's initial values."""
        starts = []
        for method in self.methods:
            kind = self.methods.index(method)
            if kind not in self._singles:
                attach_layers(self.model, method, self._bases)
                self._singles[kind] = adapted_layers(self.model)
                self._attachments[kind] = attachment_of(self.model)
                detach(self.model)
                drawn: Any = {name: each.trained_tensors() for name, each in self._singles[kind].items()}
            else:
                drawn = {name: each.family.trained(each.shape) for name, each in self._singles[kind].items()}
            heads = {name: dict(head.named_parameters()) for name, head in self._heads.items()}
            places = (drawn | heads).items()
            starts.append({f"{place}.{key}": each.detach().clone() for place, t in places for key, each in t.items()})
        return starts

    def _stack_layers(self) -> dict[str, StackedLinear]:
        if not self._bases:
            return {}
        alone = {name: [self._singles_of(slot)[name] for slot in self._numbers] for name in self._bases}
        for each in alone.values():
            _require_alike(each)
        together: dict[tuple[int, ...], SharedTogether] = {}  # with ranks by layer, layers of one rank share alone
        for each in alone.values():
            if (these := _shared_by(each)) not in together:
                together[these] = SharedTogether([dict(single.shared.named_buffers()) for single in each])
        return {
            name: StackedLinear(base, alone[name], together[_shared_by(alone[name])], self.slots)
            for name, base in self._bases.items()
        }

    def _of_slot(self, slot: int, stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._require_slot(slot)
        return {name: leading_block(tensor[slot - 1], self._sizes[slot][name]) for name, tensor in stacked.items()}

    def _sizes_of(self, slot: int) -> dict[str, torch.Size]:
        return {
            f"{place}.{name}": tensor.shape
            for place, module in self._places()
            for name, tensor in module.take(slot).items()
        }

    def _places(self) -> list[tuple[str, StackedLinear | StackedHead]]:
        return [*self.layers.items(), *self.heads.items()]

    @property
    def _numbers(self) -> range:
        return range(1, len(self.methods) + 1)

    def _singles_of(self, slot: int) -> dict[str, AdaptedLinear]:
        return self._singles[self.methods.index(self.methods[slot - 1])]

    def _install(self) -> None:
        for name, layer in self._places():
            layer.train(self.model.get_submodule(name).training)
            replace_layer(self.model, name, layer)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.parameters().values():
            parameter.requires_grad_(True)
        guard_calls(self.model, self._bases)
        before = self.model.register_forward_pre_hook(self.slots.note_batch, with_kwargs=True)
        after = self.model.register_forward_hook(self.slots.forget_batch, always_call=True)
        self._hooks = (before, after)
        self.model.vxlab_stack = self  # type: ignore[assignment]

    def _forget(self) -> None:
        lift_guards(self.model)
        for hook in self._hooks:
            hook.remove()
        del self.model.vxlab_stack

    def _put_alone(self, slot: int) -> dict[str, nn.Parameter]:
        """Put one slot's adapter and head in the stacked ones' place, and return what trains of them."""
        values = self.take(slot)
        self._forget()
        alone: dict[str, nn.Parameter] = {}
        for name, layer in self._singles_of(slot).items():
            alone |= {f"{name}.{key}": each for key, each in layer.trained_tensors().items()}
            device = self._bases[name].get_parameter("weight").device
            replace_layer(self.model, name, layer.train(self.layers[name].training).to(device))
        for name, head in self._own_heads.items():
            alone |= {f"{name}.{key}": each for key, each in head.named_parameters()}
            device = self._heads[name].weight.device
            replace_layer(self.model, name, head.train(self.heads[name].training).to(device))
        with torch.no_grad():
            for name, parameter in alone.items():
                parameter.copy_(values[name])
                parameter.requires_grad_(True)
        self.model.vxlab_attachment = self._attachments[self.methods.index(self.methods[slot - 1])]  # type: ignore[assignment]
        guard_calls(self.model, self._bases)
        if self._bases:
            take_checkpoints(self.model)
        return alone

    def _take_alone(self, slot: int) -> None:
        """Make the model ready for the stacked layers again, whatever was done to it."""
        for layer in self._singles_of(slot).values():
            if layer.merged:
                layer.unmerge()
        lift_guards(self.model)
        give_checkpoints_back(self.model)
        if find_attachment(self.model) is not None:
            del self.model.vxlab_attachment
        self.model.zero_grad()

    def _require_slot(self, slot: int) -> None:
        if isinstance(slot, bool) or not isinstance(slot, int) or not 1 <= slot <= len(self.methods):
            raise VxlabError(f"slot={quote(slot)} is none of the stack's; choose 1-{len(self.methods)}")


def _checked_methods(methods: Sequence[Method]) -> list[Method]:
    wanted = "one method for each slot, such as [vxlab.LoRA(rank=8), vxlab.LoRA(rank=4)]"
    found: list[Method] = settle_list("methods", methods, Method, wanted)
    if not found:
        raise VxlabError(f"methods={quote(methods)} is empty; give {wanted}")
    kinds = {type(method).__name__ for method in found}
    if len(kinds) > 1:
        raise VxlabError(f"methods of several classes ({', '.join(sorted(kinds))}) do not stack; stack each by itself")
    if not isinstance(found[0], Family | Head):
        raise VxlabError(f"{found[0]} does not stack: only families of adapters and Head do; train it alone")
    if basis := next((method for method in found if isinstance(method, Family) and method.stores_bases), None):
        raise VxlabError(f"{basis} does not stack: its bases are those of one adapter's folder; train it alone")
    return found


def _shared_by(alone: Sequence[AdaptedLinear]) -> tuple[int, ...]:
    """Return what tells which shared tensors the slots have in a layer."""
    return tuple(id(each.shared) for each in alone)


def _require_alike(alone: Sequence[AdaptedLinear]) -> None:
    """Refuse adapters that train tensors of different names, or act on frozen ones of different names."""
    parts = [(each.trained_tensors(), each.frozen_tensors(), dict(each.shared.named_buffers())) for each in alone]
    names = [[sorted(part) for part in each] for each in parts]
    for layer, each in zip(alone, names, strict=True):
        if each != names[0]:
            raise VxlabError(
                f"{alone[0].family} and {layer.family} do not stack, for they train or share other tensors "
                f"({names[0]}, {each}); stack each kind by itself"
            )


def _require_rows_apart(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BATCH_NORM):
            raise VxlabError(
                f"`{name}` ({type(module).__name__}) normalises over all rows of a batch, so that stacked adapters "
                "would see one another; train them alone"
            )


def _head_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the task head's layers by dotted name."""
    head, found = head_parameters(model), {}
    places: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        places[id(parameter)] = places.get(id(parameter), 0) + 1
    for name, parameter in head.items():
        place = name.rpartition(".")[0]
        module = model.get_submodule(place)
        if not place or type(module) is not nn.Linear or places[id(parameter)] > 1:
            raise VxlabError(
                f"the task head holds `{name}` of {type(module).__name__}, and only plain torch.nn.Linear layers of a "
                "head stack, with weights of their own; train the adapters alone"
            )
        found[place] = module
    return found
