"""What a task's labels teach each layer, by batch: the gradients that the advice rests on, and what they cost."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from vxlab.adapters import resolve_targets
from vxlab.adapters.core import Shape, linear_shape
from vxlab.errors import DataWarning, VxlabError
from vxlab.experiments import RunSpec, hardware
from vxlab.experiments.runs import Materials, batch_gradients, first_batches, starting_model
from vxlab.progress import progress_bar
from vxlab.warn import warn_once
from vxlab.words import in_bytes

USUAL_BATCHES, FEWEST_BATCHES, MOST_COST = 16, 4, 0.05
"""Batches taken where none is named; fewer where the run's steps are few, but never below the fewest."""
MOST_MEMORY = 0.8
"""Of what is free, for the gradients of all layers side by side; the energies of one take a little more."""
PARTS = 8
"""Gradients that the batches' rows give at least: with fewer there are too few ways to halve them."""
MOST_REPEATED = 0.05
"""Of the rows that are read, those that may be ones that were read before."""


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
        VxlabError: all rows that are read have one label; or a layer's gradient is zero, or not finite.
    """
    device = hardware.own_device(materials.job(spec).device)
    model = starting_model(spec, materials).to(device)
    layers = resolve_targets(model, spec.targets)
    given = list(first_batches(spec, materials, batches, -(-PARTS // batches)))
    sizes = {next(len(each) for each in batch.values()) for batch in given[:-1]}
    given = given if len(given[-1]["labels"]) in sizes else given[:-1]  # parts of one size count alike
    _warn_of_repeats(given)
    kind = materials.task(spec).kind
    if kind.trains_head:
        _require_two_labels(given)
    shapes = {name: linear_shape(layer) for name, layer in layers.items()}
    _require_memory(len(given), shapes.values())
    signal = {name: torch.empty(len(given), *shape) for name, shape in shapes.items()}
    with progress_bar(len(given), "gradients", "part", shown=progress) as bar:
        for place, (_, gradients) in enumerate(batch_gradients(model, given, layers, kind.lesson)):
            for name, gradient in gradients.items():
                signal[name][place] = gradient
            bar.update()
    for name, parts in signal.items():
        _require_signal(name, parts)
    return signal


def _require_memory(parts: int, shapes: Iterable[Shape]) -> None:
    """Refuse gradients that the memory cannot hold, before any is taken."""
    import psutil

    needed, free = 4 * parts * sum(out * inner for out, inner in shapes), psutil.virtual_memory().available
    if needed > MOST_MEMORY * free:
        raise VxlabError(
            f"the gradients of {parts} batches for all targets take {in_bytes(needed)}, and {in_bytes(free)} of memory "
            "is free; name fewer targets, such as 'query-value', or take fewer batches"
        )


def _require_two_labels(batches: Sequence[Mapping[str, Tensor]]) -> None:
    """Refuse labels whose lesson is zero in every layer, which no choice of layers mends."""
    if all(bool((batch["labels"] == batch["labels"][0]).all()) for batch in batches):
        rows = sum(len(batch["labels"]) for batch in batches)
        raise VxlabError(
            f"all labels in each batch of the {rows} rows that are read are the same, so that they teach nothing "
            "beside one another; take more batches or a larger batch_size, or rows of which more have another label"
        )


def _warn_of_repeats(batches: Sequence[Mapping[str, Tensor]]) -> None:
    """Warn where batches share rows: what these have in common by chance is then no longer told from signal."""
    rows = [row for batch in batches for row in _rows_of(batch)]
    repeated = len(rows) - len(set(rows))
    if repeated > MOST_REPEATED * len(rows):
        warn_once(
            f"of the {len(rows)} rows that the advice reads, {repeated} repeat others: batches that share rows agree "
            "with one another whatever their labels, so that the advice is surer than it should be; leave repeated "
            "rows out of the training split",
            DataWarning,
        )


def _rows_of(batch: Mapping[str, Tensor]) -> Iterator[tuple[bytes, ...]]:
    """Yield what tells a batch's rows apart, whatever they are padded to."""
    read = batch.get("attention_mask")
    for i in range(len(batch["labels"])):
        each = [tensor[i] for tensor in batch.values()]
        kept = [own if read is None or own.shape != read[i].shape else own[read[i] > 0] for own in each]
        yield tuple(own.reshape(-1).view(torch.uint8).numpy().tobytes() for own in kept)


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
