"""The full gradient of a task's loss for the weights of a base model, before anything is trained."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vxlab.adapters import resolve_targets
from vxlab.adapters.core import linear_shape, orient, quantisation_of
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.experiments.tasks import stratified_order

if TYPE_CHECKING:
    from vxlab.experiments import RunSpec
    from vxlab.experiments.runs.inputs import Materials

FIRST_BATCHES = 16
"""Batches of the training split whose gradient ``LoRAXS(basis="gradient")`` starts from. Under a head that reads one
token, the last block's queries get one direction from each text, so that too few texts leave a rank unfilled."""

Loss = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]
"""A model and a batch to the batch's mean loss."""


def weight_gradients(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    layers: Mapping[str, nn.Module],
    loss: Loss | None = None,
) -> dict[str, Tensor]:
    """Return ``G = ∂loss/∂W`` for every layer's weight: the mean over batches, each counted by its examples.

    The model is evaluated without dropout, and left as it was, gradients that it holds included. No random number is
    drawn.

    Args:
        model: returns a mean loss for a batch, as transformers' models do where there are labels; without adapters.
        batches: keyword arguments of the model, each tensor with one row an example; moved to the model's device.
        layers: modules by dotted name, as :func:`vxlab.resolve_targets` returns them.
        loss: of a batch, such as a kind's ``batch_loss``; None takes what the model returns.

    Returns:
        ``(out, in)`` in float32 on the CPU, by layer; zeros where the loss does not depend on a weight. Of a quantised
        layer W is what its packed numbers stand for.

    Raises:
        VxlabError: there is no batch or no layer, a batch is empty, or the model returns no loss.
    """
    sums: dict[str, Tensor] = {}
    examples = 0
    for size, found in batch_gradients(model, batches, layers, loss):
        examples += size
        for name, gradient in found.items():
            sums.setdefault(name, torch.zeros_like(gradient)).add_(gradient, alpha=size)
    if not examples:
        raise VxlabError("batches is empty, so there is no gradient; pass one batch or more")
    return {name: (total / examples).contiguous() for name, total in sums.items()}


def batch_gradients(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    layers: Mapping[str, nn.Module],
    loss: Loss | None = None,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the number of examples in each batch, and what :func:`weight_gradients` takes the mean of.

    The model is as that function says while it computes, and as it was once all batches are through. Arguments and
    errors are that function's, but for no batch, which yields nothing.
    """
    weights = [_differentiable_weight(layer) for layer in layers.values()]
    if not weights:
        raise VxlabError("layers is empty; pass vxlab.resolve_targets(model, targets)")
    with _evaluated(model, weights), _reached(layers.values(), weights), torch.enable_grad():
        for batch in batches:
            size, found = _gradients(model, batch, weights, loss or _own_loss)
            each = zip(layers.items(), found, strict=True)
            yield size, {name: orient(layer, gradient.float().cpu()) for (name, layer), gradient in each}


def first_gradients(
    spec: "RunSpec", materials: "Materials", batches: int = FIRST_BATCHES, model: nn.Module | None = None
) -> dict[str, Tensor]:
    """Return the gradients of a run's target layers before its first step.

    They are taken over :func:`first_batches` of the training split, by :func:`weight_gradients`: the mean gradient of
    the loss that steps on these batches have. Where the model writes, such a loss is a mean over its answers' tokens,
    so that a batch counts by its examples here, as it does in training, however many tokens these have.

    Args:
        spec: the run; of its method, nothing counts.
        materials: where the run's rows and base model are.
        batches: how many of the run's batches, 1 or more; fewer where the split ends.
        model: the run's own bare model; None takes :func:`starting_model`.

    Raises:
        VxlabError: as :func:`weight_gradients` and :func:`vxlab.resolve_targets`.
    """
    require_count("batches", batches)
    model = starting_model(spec, materials) if model is None else model
    layers, loss = resolve_targets(model, spec.targets), materials.task(spec).kind.batch_loss
    return weight_gradients(model, first_batches(spec, materials, batches), layers, loss)


def starting_model(spec: "RunSpec", materials: "Materials") -> nn.Module:
    """Return the base with the head that a run's seed gives, without moving the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)  # the GPU's generators are not forked
        return materials.model(spec)


def first_batches(spec: "RunSpec", materials: "Materials", batches: int, parts: int = 1) -> Iterator[dict[str, Tensor]]:
    """Yield batches of a run's training split, each with its mix of labels, padded.

    With ``parts`` the same rows come in so many times as many batches, as equal as they can be, of two rows or more.

    They are the same whatever the run's seed, and no random number of its own is drawn: the rows come in
    :func:`~vxlab.experiments.tasks.stratified_order`, for the first ones of a file sorted by label are of one class.
    """
    rows = materials.splits(spec)["train"].remove_columns(["length", "row"])
    collate = materials.collate(spec, packing=False)
    strata = materials.task(spec).kind.strata(materials.task(spec).splits["train"][:])
    chosen = stratified_order(strata, seed=0)[: batches * spec.batch_size].tolist()
    size = max(2, -(-spec.batch_size // parts)) if parts > 1 else spec.batch_size
    for start in range(0, len(chosen), size):
        yield dict(collate([rows[i] for i in chosen[start : start + size]]))


def _own_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    loss = getattr(model(**batch), "loss", None)
    if not isinstance(loss, Tensor):
        raise VxlabError(f"this {type(model).__name__} returned no loss; give every batch its labels")
    return loss


def _differentiable_weight(layer: nn.Module) -> Tensor:
    """Return a layer's weight, or in the place of a packed one, which has no gradient, zeros of W's shape."""
    weight = layer.get_parameter("weight")
    return (
        torch.zeros(linear_shape(layer), device=weight.device, requires_grad=True) if quantisation_of(layer) else weight
    )


@contextmanager
def _reached(layers: Iterable[nn.Module], weights: list[Tensor]) -> Iterator[None]:
    """Add the zeros that stand for packed weights to what their layers compute with: ∂loss/∂(W + 0) is ∂loss/∂W."""

    def add(zeros: Tensor) -> Any:
        return lambda _, given, y: y + nn.functional.linear(given[0], zeros.to(given[0].dtype))

    pairs = zip(layers, weights, strict=True)
    hooks = [layer.register_forward_hook(add(weight)) for layer, weight in pairs if quantisation_of(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _gradients(model: nn.Module, batch: Mapping[str, Tensor], weights: list[Tensor], loss_of: Loss) -> tuple[int, Any]:
    """Return the number of examples in a batch, and its gradient for each weight."""
    device = weights[0].device
    moved = {name: tensor.to(device) for name, tensor in batch.items()}
    size = min((len(tensor) for tensor in moved.values()), default=0)
    if not size:
        raise VxlabError("a batch without examples has no gradient; leave it out")
    loss = loss_of(model, moved)
    if not loss.requires_grad:  # it reaches none of these weights
        return size, [torch.zeros_like(weight) for weight in weights]
    return size, torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)


@contextmanager
def _evaluated(model: nn.Module, weights: list[Tensor]) -> Iterator[None]:
    """Put a model in evaluation mode with only these weights trainable, and back again, module by module."""
    modes = {module: module.training for module in model.modules()}
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    chosen = {id(weight) for weight in weights}
    try:
        model.eval()
        for parameter in trained:
            parameter.requires_grad_(id(parameter) in chosen)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, trains in trained.items():
            parameter.requires_grad_(trains)
