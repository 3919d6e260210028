"""A bank's adapters on its base, where every row of a batch meets the one that is named for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import getattr_static
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from vxlab.adapters import adapted_layers, attach_layers, detach
from vxlab.adapters.bank.base import check_base, check_frozen
from vxlab.adapters.bank.batch import Batch, NamedRows, Spread
from vxlab.adapters.bank.description import BankDescription
from vxlab.adapters.bank.device_rows import DeviceRows, Find, Read, default_slots
from vxlab.adapters.bank.layers import BankHead, BankLinear
from vxlab.adapters.core import code_version, guard_kernels, operation, replace_layer
from vxlab.adapters.placement import (
    attachment_of,
    bare,
    guard_calls,
    lift_guards,
    require_before_sharing_out,
    require_unattached,
)
from vxlab.checks import quote, settle_list
from vxlab.errors import VxlabError

_EXPAND = "_expand_inputs_for_generation"
"""What transformers' ``generate`` repeats the rows of a batch by, for beams and for several answers to a prompt."""


class Serving:
    """Put a bank's layers in the place of its base's; :meth:`remove` puts those back.

    Args:
        model: the base, with no adapter on it; frozen until :meth:`remove`.
        description: the bank's.
        find: the bank's entries of names.
        read: the same with their rows.
        slots: how many rows to keep on the model's device; None chooses (:func:`default_slots`) for ``count`` rows.
        count: how many adapters the bank has.
        bank: what an error calls the bank.

    Raises:
        VxlabError: the model is another base, has an adapter on it, or a task head of more than linear layers. It is
            then as it was.
    """

    def __init__(
        self,
        model: nn.Module,
        description: BankDescription,
        find: Find,
        read: Read,
        slots: int | None,
        count: int,
        bank: str,
    ) -> None:
        require_before_sharing_out(model)
        self.model, self._outer, self._description = bare(model), model, description
        require_unattached(self.model)
        check_base(description, self.model, bank)
        heads = _head_layers(self.model, description, bank)
        self._trained = {name: parameter.requires_grad for name, parameter in self.model.named_parameters()}
        self._rows = NamedRows()
        self._layers: dict[str, BankLinear | BankHead] = {
            **_bank_layers(self.model, description, self._rows, bank),
            **{name: BankHead(head, name, self._rows) for name, head in heads.items()},
        }
        device = next(self.model.parameters()).device
        if slots is None:
            slots = default_slots(device, count, description.layout.row_bytes)
        like = torch.empty(0, description.layout.width, dtype=description.layout.dtype, device=device)
        self._on_device = DeviceRows(find, read, slots, like)
        self._install()

    @contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator[nn.Module]:
        """Say of every row of the batches in this context whose it is; yield the model."""
        if not hasattr(self.model, "vxlab_bank"):
            raise VxlabError("the bank was taken off this model; attach it again: bank.attach(model)")
        with self._rows.assign(self._prepare(_checked(names))):
            yield self._outer

    def remove(self) -> nn.Module:
        """Put the base's own layers back, and return the model as it was."""
        lift_guards(self.model)
        for name, layer in self._layers.items():
            replace_layer(self.model, name, layer.restored_base())
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trained[name])
        for name in ("vxlab_bank", "generate", _EXPAND):
            vars(self.model).pop(name, None)
        return self._outer

    def _install(self) -> None:
        guard_kernels(self.model)
        for name, layer in self._layers.items():
            layer.train(self.model.get_submodule(name).training)
            replace_layer(self.model, name, layer)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        guard_calls(self.model, self._description.layers)
        self.model.vxlab_bank = self._rows  # type: ignore[assignment]
        if hasattr(self.model, _EXPAND):
            # Methods and no closures: a copy of the model has its own.
            setattr(self.model, "generate", MethodType(_generate, self.model))  # noqa: B010
            setattr(self.model, _EXPAND, MethodType(_expand, self.model))

    @torch.no_grad()
    def _prepare(self, names: Sequence[str | None]) -> Batch:
        """Read the batch's adapters, each once, and make of them what the layers need."""
        spread = Spread(names)
        if not spread.different:
            return Batch(tuple(names), dict.fromkeys(self._layers))
        tensors: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self._description.layout.unpack(self._on_device.take(spread.different)).items():
            layer, _, key = name.rpartition(".")
            tensors.setdefault(layer, {})[key] = tensor
        with operation.without_autocast(next(self.model.parameters()).device):
            prepared = {name: layer.prepare(tensors[name], spread) for name, layer in self._layers.items()}
        return Batch(tuple(names), prepared)


def _bank_layers(model: nn.Module, description: BankDescription, rows: NamedRows, bank: str) -> dict[str, BankLinear]:
    """Return the bank's layers, made by putting one adapter on the model and taking it off again."""
    bases = {name: model.get_submodule(name) for name in description.layers}
    if not bases:
        return {}
    with torch.random.fork_rng(devices=[]):  # initial values, of which none counts
        attach_layers(model, description.method, bases)
    try:
        prints = {**attachment_of(model).fingerprints, **code_version(type(description.method))}
        check_frozen(description, prints, f"the model for {bank}")
        singles = adapted_layers(model)
    finally:
        detach(model)
    return {name: BankLinear(base, singles[name], rows) for name, base in bases.items()}


def _head_layers(model: nn.Module, description: BankDescription, bank: str) -> dict[str, nn.Linear]:
    """Return the layers of the task head by dotted name."""
    found: dict[str, nn.Linear] = {}
    places = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    for name in description.head:
        place = name.rpartition(".")[0]
        module = model.get_submodule(place)
        if not place or type(module) is not nn.Linear or places.count(id(model.get_parameter(name))) > 1:
            raise VxlabError(
                f"{bank} is of a task head with `{name}` of {type(module).__name__}, and only heads of plain "
                "torch.nn.Linear layers, with weights that nothing else has, differ from row to row; use the bank's "
                "adapters one at a time: bank.load(model, name)"
            )
        found[place] = module
    return found


def _checked(names: object) -> list[str | None]:
    wanted = 'one name for each row of the batch, None for a row without an adapter, such as ["ann", None]'
    found: list[str | None] = settle_list("rows", names, (str, type(None)), wanted)
    if not found:
        raise VxlabError(f"rows={quote(names)} is empty; give {wanted}")
    return found


def _generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Generate as the model's class does, and forget how many rows it made of each."""
    try:
        return type(model).generate(model, *args, **kwargs)
    finally:
        model.vxlab_bank.repeat(1)


def _expand(model: Any, expand_size: int = 1, *args: Any, **kwargs: Any) -> Any:
    """Repeat rows as the model's class does, each one in its place, and take down how many times."""
    own = getattr_static(type(model), _EXPAND).__get__(model, type(model))  # static in some versions
    expanded = own(expand_size, *args, **kwargs)
    model.vxlab_bank.repeat(expand_size)
    return expanded
