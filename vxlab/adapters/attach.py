"""Put adapters on a model, count what trains, merge, and take them off again."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from torch import Tensor, nn

from vxlab.adapters.family import Family, Method
from vxlab.adapters.gradient_start import bases_from_gradients
from vxlab.adapters.layer import AdaptedLinear
from vxlab.adapters.targets import head_parameters, resolve_targets
from vxlab.errors import VxlabError

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Attachment:
    """What ``attach`` did to a model, kept on it as ``model.vxlab_attachment``."""

    method: Method
    layers: tuple[str, ...]
    trainable_before: frozenset[str]
    own: frozenset[str]
    """the names of the bare model's parameters"""


class ParameterCount(NamedTuple):
    """Numbers of parameters."""

    backbone: int
    """trained in the backbone: the adapters, or everything under full fine-tuning"""
    head: int
    """trained in the task head"""
    total: int
    """of the model without adapters, trained or frozen"""


def attach(
    model: Model,
    method: Method,
    targets: str | Sequence[str] = "query-value",
    gradients: Mapping[str, Tensor] | None = None,
) -> Model:
    """Freeze a model and make it trainable by one method: adapters on its target layers, and its task head.

    The outputs stay what they were (LoRA-XS, whose R starts at 1e-5, moves them by next to nothing). The task head is
    what transformers places outside the backbone, and trains with every method; a language model's output embedding
    is no task head and stays frozen. Initial values come from torch's global generator: call ``torch.manual_seed``
    first to repeat them.

    Args:
        model: any torch model whose target layers are ``torch.nn.Linear`` or transformers' ``Conv1D``; changed in
            place.
        method: an adapter family's settings, ``PEFT``, ``BitFit()``, ``Head()`` or ``Full()``.
        targets: a target set (``query-value``, ``attention``, ``mlp``, ``all-linear``, ``lora-xs-paper``,
            ``lora-xs-released``), a role, a module-name suffix, a regular expression for the whole dotted name, or a
            sequence of these. ``BitFit``, ``Head`` and ``Full`` take no notice of it.
        gradients: the loss's gradient for each target's W, ``(out, in)``, by dotted name, as
            :func:`vxlab.experiments.gradients.weight_gradients` returns them; for ``LoRAXS(basis="gradient")``, which
            starts from them, and for no other.

    Returns:
        The same model.

    Raises:
        VxlabError: the model already has adapters, the targets match no layer or one that is not linear, the rank
            does not fit a layer, or gradients are missing, unfit, or given where none are used. The model is then as
            it was.

    >>> import torch, vxlab
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> vxlab.trainable_parameters(vxlab.attach(model, vxlab.LoRA(rank=1), targets="all-linear")).backbone
    12
    """
    _require_unattached(model)
    layers = resolve_targets(model, targets) if method.on_layers else {}
    return attach_layers(model, method, layers, bases_from_gradients(method, layers, gradients))


def attach_layers(
    model: Model,
    method: Method,
    layers: Mapping[str, nn.Module],
    bases: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Model:
    """Put a method on exactly these layers, by dotted name; otherwise like :func:`attach`.

    ``bases`` are the layers' frozen tensors where they come from gradients.
    """
    _require_unattached(model)
    before = _trainable_names(model)
    own = frozenset(name for name, _ in model.named_parameters())
    trained = method.put_on(model, layers, bases) if isinstance(method, Family) else method.put_on(model, layers)
    _train_only(model, trained | set(head_parameters(model)))
    model.vxlab_attachment = Attachment(method, tuple(layers), before, own)  # type: ignore[assignment]
    return model


def detach(model: Model) -> Model:
    """Take the adapters off and restore which parameters train.

    The weights stay as they are: the base model's own bit for bit, or, after :func:`merge`, with every ΔW in them, as
    a plain model to save and serve. The head keeps what it learnt.

    Raises:
        VxlabError: nothing is attached.
    """
    attachment = attachment_of(model)
    attachment.method.take_off(model, attachment.layers)
    del model.vxlab_attachment
    _train_only(model, attachment.trainable_before)
    return model


def merge(model: Model) -> Model:
    """Fold every ΔW into its layer's weight, so that the model runs at the base model's own speed.

    Keeps a copy of each weight until :func:`unmerge`; a merged model does not train.

    Raises:
        VxlabError: the model has no adapters, or is merged already.
    """
    for layer in _layers_that_are(model, merged=False, otherwise="is merged already; call unmerge(model) first"):
        layer.merge()
    return model


def unmerge(model: Model) -> Model:
    """Undo :func:`merge`: every weight is again what it was, bit for bit.

    Raises:
        VxlabError: the model has no adapters, or is not merged.
    """
    for layer in _layers_that_are(model, merged=True, otherwise="is not merged; call merge(model) first"):
        layer.unmerge()
    return model


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by dotted name, in model order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def attachment_of(model: nn.Module) -> Attachment:
    """Return what was attached to a model.

    Raises:
        VxlabError: nothing was.
    """
    attachment = getattr(model, "vxlab_attachment", None)
    if not isinstance(attachment, Attachment):
        raise VxlabError(f"this {type(model).__name__} has no adapter; call vxlab.attach(model, method) first")
    return attachment


def trainable_parameters(model: nn.Module) -> ParameterCount:
    """Count what trains, in the backbone and in the task head apart, and the model's parameters without adapters."""
    head, base = set(head_parameters(model)), base_parameters(model)
    counts = {"backbone": 0, "head": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts["head" if name in head else "backbone"] += parameter.numel()
    return ParameterCount(**counts, total=sum(parameter.numel() for parameter in base.values()))


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the bare model's own parameters, under the names that they have without adapters."""
    attachment = getattr(model, "vxlab_attachment", None)
    if attachment is None:
        return dict(model.named_parameters())
    # PEFT wraps a layer, whose own parameters then stand one level deeper.
    bare = {
        name if name in attachment.own else name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters()
    }
    return {name: parameter for name, parameter in bare.items() if name in attachment.own}


def adapter_parameters(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Return the adapters' parameters by layer and by name within it, a shared one in the first layer that has it."""
    known = {id(parameter) for parameter in base_parameters(model).values()}
    found: dict[str, dict[str, nn.Parameter]] = {}
    for layer in attachment_of(model).layers:
        inside = model.get_submodule(layer).named_parameters()
        found[layer] = {name: parameter for name, parameter in inside if id(parameter) not in known}
        known |= {id(parameter) for parameter in found[layer].values()}
    return found


def stored_bases(model: nn.Module) -> dict[str, Tensor]:
    """Return the frozen tensors that are saved, by dotted name: those that came from gradients."""
    own = {name: layer for name, layer in adapted_layers(model).items() if layer.family.needs_gradients}
    return {f"{name}.{key}": basis for name, layer in own.items() for key, basis in layer.frozen_tensors().items()}


def _trainable_names(model: nn.Module) -> frozenset[str]:
    return frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def _train_only(model: nn.Module, names: Container[str]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def _require_unattached(model: nn.Module) -> None:
    attachment = getattr(model, "vxlab_attachment", None)
    if attachment is not None:
        raise VxlabError(f"the model already has {attachment.method} attached; call vxlab.detach(model) first")


def _layers_that_are(model: nn.Module, *, merged: bool, otherwise: str) -> list[AdaptedLinear]:
    layers = list(adapted_layers(model).values())
    if not layers:
        attachment = getattr(model, "vxlab_attachment", None)
        lacking = f"this {type(model).__name__}" if attachment is None else f"a model with {attachment.method}"
        raise VxlabError(f"{lacking} has no adapted layers to merge; attach a LoRA, VeRA, LoRAXS or LiDB")
    if any(layer.merged is not merged for layer in layers):
        raise VxlabError(f"the model {otherwise}")
    return layers
