"""What a task's labels teach each layer, by batch: the gradients that the advice rests on, and what they cost."""

import math

import torch
from torch import Tensor

from vxlab.adapters import resolve_targets
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, hardware
from vxlab.experiments.runs import Materials, batch_gradients, first_batches, starting_model
from vxlab.progress import progress_bar

USUAL_BATCHES, FEWEST_BATCHES, MOST_COST = 16, 4, 0.05
"""Batches taken where none is named; fewer where the run's steps are few, but never below the fewest."""
PARTS = 8
"""Gradients that the batches' rows give at least: with fewer there are too few ways to halve them."""


def steps_of(spec: RunSpec, rows: int) -> int:
    """Return how many steps a run takes on so many training rows."""
    return max(1, round(spec.ends_after * spec.epochs * math.ceil(rows / spec.batch_size)))


def settle_batches(batches: int | None, steps: int, in_split: int) -> int:
    """Return how many batches to take: those asked for, or the usual ones as far as a run's steps allow.

    Args:
        batches: asked for; None takes the usual ones, at most :data:`MOST_COST` of the steps and at least the fewest.
        steps: of the run.
        in_split: batches that the training split has.

    Raises:
        VxlabError: fewer than the fewest are asked for, or there are no so many.
    """
    usual = min(USUAL_BATCHES, max(FEWEST_BATCHES, int(MOST_COST * steps)))
    wanted = usual if batches is None else batches
    if wanted < FEWEST_BATCHES:
        raise VxlabError(f"batches={wanted} is too few to tell signal from noise; choose {FEWEST_BATCHES} or more")
    if wanted > in_split:
        raise VxlabError(
            f"batches={wanted} is more than the {in_split} that the training split has; take a smaller batch_size, "
            f"{'fewer batches, ' if batches else ''}or more rows"
        )
    return wanted


def require_lesson(spec: RunSpec, materials: Materials) -> None:
    """Raise where a batch is one row, whose label teaches nothing beside others."""
    if materials.task(spec).kind.trains_head and spec.batch_size < 2:
        raise VxlabError(
            f"batch_size={spec.batch_size}: what a label teaches is told by other labels in its batch; choose 2 or more"
        )


def signal_by_layer(spec: RunSpec, materials: Materials, batches: int, progress: bool = True) -> dict[str, Tensor]:
    """Return the gradients of what the labels teach (:meth:`Kind.lesson`), by layer, of parts of the first batches.

    Args:
        spec: the run; of its method, nothing counts.
        materials: where its rows and base model are.
        batches: of the run's.
        progress: show a bar.

    Returns:
        ``(parts, out, in)`` float32 for every target layer.

    Raises:
        VxlabError: a layer's gradient is zero, or not finite.
    """
    device = hardware.own_device(materials.job(spec).device)
    model = starting_model(spec, materials).to(device)
    layers = resolve_targets(model, spec.targets)
    given = list(first_batches(spec, materials, batches, -(-PARTS // batches)))
    sizes = {next(len(each) for each in batch.values()) for batch in given[:-1]}
    given = given if len(given[-1]["labels"]) in sizes else given[:-1]  # parts of one size count alike
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    lesson = materials.task(spec).kind.lesson
    with progress_bar(len(given), "gradients", "batch", shown=progress) as bar:
        for _, gradients in batch_gradients(model, given, layers, lesson):
            for name, gradient in gradients.items():
                found[name].append(gradient)
            bar.update()
    signal = {name: torch.stack(each) for name, each in found.items()}
    for name, parts in signal.items():
        _require_signal(name, parts)
    return signal


def _require_signal(layer: str, gradients: Tensor) -> None:
    if not gradients.isfinite().all():
        raise VxlabError(
            f"the gradient of `{layer}` holds NaN or infinite values, so that nothing can be said of it; try "
            "precision='float32', and look at the data"
        )
    if not gradients.any():
        raise VxlabError(
            f"the gradient of `{layer}` is zero in every batch: the loss does not depend on it; leave it out of targets"
        )
