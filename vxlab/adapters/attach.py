"""Put adapters on a model, count what trains, merge, and take them off again."""

import warnings
from collections.abc import Container, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from vxlab.adapters.core import (
    AdaptedLinear,
    Family,
    Method,
    bases_from_gradients,
    guard_kernels,
    has_values,
    require_method,
)
from vxlab.adapters.placement import (
    Attachment,
    adapted_layers,
    attachment_of,
    bare,
    buffer_print,
    find_attachment,
    guard_calls,
    head_parameters,
    lift_guards,
    persistent_buffers,
    require_before_sharing_out,
    require_unattached,
    resolve_targets,
    shared_parameters,
)
from vxlab.adapters.saving import give_checkpoints_back, take_checkpoints
from vxlab.errors import VxlabError

Model = TypeVar("Model", bound=nn.Module)

LOST_AT_MOST = 0.1
"""The share of an update that rounding may take in merging without a word.

On MiniLM in bfloat16 a random update then loses about as much of its effect on the logits, and a trained one a
hundredth of it, which is no more than bfloat16 moves them by without any adapter.
"""


def attach(
    model: Model,
    method: Method,
    targets: str | Sequence[str] = "query-value",
    gradients: Mapping[str, Tensor] | None = None,
) -> Model:
    """Freeze a model and make it trainable by one method: adapters on its target layers, and its task head.

    The outputs stay what they were (LoRA-XS, whose R starts at 1e-5, moves them by next to nothing). The task head is
    what stands outside the backbones from transformers, in a model of theirs or in one's own module around them, and
    trains with every method; a language model's output embedding is no task head and stays frozen. A model with nothing
    of transformers' inside is all backbone: there, adapters alone train. Initial values come from torch's global
    generator: call ``torch.manual_seed`` first to repeat them.

    Args:
        model: any torch model whose target layers are ``torch.nn.Linear`` or transformers' ``Conv1D``; changed in
            place. Inside DataParallel or torch.compile's wrapper, the model inside is adapted.
        method: an adapter family's settings, ``PEFT``, ``BitFit()``, ``Head()`` or ``Full()``.
        targets: a target set (``query-value``, ``attention``, ``mlp``, ``all-linear``, ``lora-xs-paper``,
            ``lora-xs-released``), a role, a module-name suffix, a regular expression for the whole dotted name, or a
            sequence of these. ``BitFit``, ``Head`` and ``Full`` take no notice of it.
        gradients: the loss's gradient for each target's W, ``(out, in)``, by dotted name, as
            :func:`vxlab.experiments.runs.weight_gradients` returns them; for ``LoRAXS(basis="gradient")``, which
            starts from them, and for no other.

    Returns:
        The same model.

    Raises:
        VxlabError: the model already has adapters (peft's, too) or is inside DistributedDataParallel, the targets match
            no layer or one that is not linear or not called, the rank does not fit a layer, or gradients are missing,
            unfit, or given where none are used. The model is then as it was.

    >>> import torch, vxlab
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> vxlab.trainable_parameters(vxlab.attach(model, vxlab.LoRA(rank=1), targets="all-linear")).backbone
    12
    """
    require_before_sharing_out(model)
    require_method(method)
    inside = bare(model)
    require_unattached(inside)
    layers = resolve_targets(inside, targets) if method.on_layers else {}
    attach_layers(inside, method, layers, bases_from_gradients(method, layers, gradients))
    return model


def attach_layers(
    model: Model,
    method: Method,
    layers: Mapping[str, nn.Module],
    bases: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Model:
    """Put a method on exactly these layers, by dotted name; otherwise like :func:`attach`.

    ``bases`` are the layers' frozen tensors where the method does not make them of the weights or a seed.
    """
    require_unattached(model)
    guard_kernels(model)
    own = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    buffers = {name: buffer_print(buffer) for name, buffer in persistent_buffers(model).items()}
    trained = method.put_on(model, layers, bases) if isinstance(method, Family) else method.put_on(model, layers)
    guard_calls(model, layers)
    _train_only(model, trained | set(head_parameters(model)))
    adapted = {name: model.get_submodule(name) for name in layers}
    tensors = (tensor for layer in adapted.values() for tensor in (*layer.parameters(), *layer.buffers()))
    prints = method.fingerprints(adapted) if all(map(has_values, tensors)) else {}  # shapes are not saved
    _let_trainers_train(model, attached=True)
    attachment = Attachment(method, tuple(layers), own, buffers, prints)
    model.vxlab_attachment = attachment  # type: ignore[assignment]
    if layers:
        take_checkpoints(model)
    return model


def detach(model: Model) -> Model:
    """Take the adapters off and restore which parameters train.

    The weights stay as they are: the base model's own bit for bit, or, after :func:`merge`, with every ΔW in them, as
    a plain model to save and serve. The head keeps what it learnt, and buffers that training moved (BatchNorm's
    statistics) stay where they are.

    Raises:
        VxlabError: nothing is attached.
    """
    attachment, inside = attachment_of(model), bare(model)
    lift_guards(inside)
    give_checkpoints_back(inside)
    attachment.method.take_off(inside, attachment.layers)
    _let_trainers_train(inside, attached=False)
    del inside.vxlab_attachment
    _train_only(inside, {name for name, trained in attachment.own.items() if trained})
    return model


def merge(model: Model) -> Model:
    """Fold every ΔW into its layer's weight, so that the model runs at the base model's own speed.

    Keeps a copy of each weight until :func:`unmerge`; a merged model does not train.

    In half precision a weight cannot hold an update that is small beside it. What rounding takes of each layer's,
    ‖(W′ - W) - ΔW‖ / ‖ΔW‖, is measured there, and warned of above a tenth. Nothing is lost where the model is served
    unmerged, and next to nothing in float32: load the base in float32 and the adapter on it, and merge. Cast the
    result to half precision only where it must be, and compare the two on your own texts.

    Raises:
        VxlabError: the model has no adapters, is merged already, an adapted weight has since been tied to another,
            which merging would change too, or an update holds NaN or infinite values. Every weight is then as it was.
    """
    layers = _layers_that_are(model, merged=False, otherwise="is merged already; call unmerge(model) first")
    _require_untied(model, layers)
    _require_finite(layers)
    lost = {layer.layer: layer.merge() for layer in layers}
    worst = max(lost, key=lambda name: lost[name])
    if lost[worst] > LOST_AT_MOST:
        dtype = str(adapted_layers(model)[worst].weight.dtype).removeprefix("torch.")
        warnings.warn(
            f"merging lost {lost[worst]:.0%} of the update of `{worst}` to rounding in "
            f"{dtype}; for all of it serve the model unmerged, or merge in float32 (see vxlab.merge)",
            stacklevel=2,
        )
    return model


def unmerge(model: Model) -> Model:
    """Undo :func:`merge`: every weight is again what it was, bit for bit.

    Raises:
        VxlabError: the model has no adapters, or is not merged.
    """
    for layer in _layers_that_are(model, merged=True, otherwise="is not merged; call merge(model) first"):
        layer.unmerge()
    return model


def _let_trainers_train(model: nn.Module, *, attached: bool) -> None:
    """Tell transformers' Trainer that there is something to train on a quantised model: it knows peft's adapters only.

    The flag stands for nothing else but whether ``half()`` and ``float()`` are refused.
    """
    for module in model.modules():
        if getattr(module, "hf_quantizer", None) is not None:
            module.is_quantized = not attached  # type: ignore[assignment]


def _train_only(model: nn.Module, names: Container[str]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def _require_untied(model: nn.Module, layers: Sequence[AdaptedLinear]) -> None:
    shared = shared_parameters(bare(model))
    for layer in layers:
        if twins := shared.get(f"{layer.layer}.weight"):
            raise VxlabError(
                f"the weight of `{layer.layer}` has been tied to `{twins[0]}` since the adapter was attached, so "
                "merging would change both; serve the model unmerged, or give the layer a weight of its own"
            )


def _require_finite(layers: Sequence[AdaptedLinear]) -> None:
    for layer in layers:
        if not all(bool(each.isfinite().all()) for each in layer.trained_tensors().values()):
            raise VxlabError(
                f"the update of `{layer.layer}` holds NaN or infinite values, as after a run that diverged, and "
                "merging would spoil the base's weight; train again"
            )


def _layers_that_are(model: nn.Module, *, merged: bool, otherwise: str) -> list[AdaptedLinear]:
    layers = list(adapted_layers(model).values())
    if not layers:
        attachment = find_attachment(model)
        lacking = f"this {type(model).__name__}" if attachment is None else f"a model with {attachment.method}"
        raise VxlabError(f"{lacking} has no adapted layers to merge; attach a LoRA, VeRA, LoRAXS or LiDB")
    if any(layer.merged is not merged for layer in layers):
        raise VxlabError(f"the model {otherwise}")
    return layers
