"""How much of the first gradient LoRA-XS can follow, by the basis that it is given and by rank."""

import warnings
from collections.abc import Sequence

import pandas as pd
from torch import Tensor

from vxlab.adapters import LoRAXS, resolve_targets
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.runs import (
    FIRST_BATCHES,
    Job,
    Materials,
    first_batches,
    first_gradients,
    starting_model,
    weight_gradients,
)
from vxlab.experiments.store import Where, kept_table
from vxlab.spectra import SubspaceWarning
from vxlab.studies import capture_table
from vxlab.studies.subspaces.bases import IN_WORDS


def band_capture(
    spec: RunSpec, ranks: Sequence[int], bases: Sequence[str], *, batches: int = 8, store: Where = None
) -> pd.DataFrame:
    """Return the share of the first gradient's energy in LoRA-XS's tangent space, by basis, rank and layer.

    The gradients are those of a run's batches before anything is trained, each batch for itself, so that the interval
    tells how far they differ. They come after the first ``FIRST_BATCHES``, whose mean gradient a run with the basis
    ``gradient`` starts from, so that no basis is judged on what it was made of. A split that has fewer than two
    batches after those is judged by its last ones, without ``gradient``. The table is kept beside the store's runs.

    Args:
        spec: the run: its model, task, targets and seed count, not its method.
        ranks: of LoRA-XS; each must fit the layers.
        bases: of :class:`vxlab.LoRAXS`; ``gradient`` takes the basis that a run takes.
        batches: how many of the training split's, 2 or more.
        store: where to keep the table, as :func:`vxlab.run` takes it.

    Returns:
        As :func:`vxlab.studies.capture.capture_table`, with the basis, in words, as ``family``.

    Raises:
        VxlabError: fewer than two batches, no rank, an unknown basis or a rank that does not fit.
    """
    if isinstance(batches, bool) or not isinstance(batches, int) or batches < 2:
        raise VxlabError(f"batches={batches!r} is too few for an interval; choose 2 or more")
    if not ranks:
        raise VxlabError("ranks is empty; give one rank of LoRA-XS or more")
    methods = [LoRAXS(rank=rank, basis=basis) for basis in bases for rank in ranks]
    return kept_table(_band_capture, Materials().job(spec), methods, batches, store=store)


def _band_capture(job: Job, methods: Sequence[LoRAXS], batches: int) -> pd.DataFrame:
    spec, materials = job.spec, Materials()
    model = starting_model(spec, materials)
    layers = resolve_targets(model, spec.targets)
    judged, fresh = _judged(spec, materials, batches)
    loss = materials.task(spec).kind.batch_loss
    gradients = [weight_gradients(model, [batch], layers, loss) for batch in judged]
    methods = [method for method in methods if fresh or not method.needs_gradients]
    own = any(method.needs_gradients for method in methods)
    start = first_gradients(spec, materials, model=model) if own else None
    with warnings.catch_warnings():
        # A batch's gradient may have fewer directions than the rank: the rest hold nothing, whichever they are.
        warnings.simplefilter("ignore", SubspaceWarning)
        table = capture_table(model, gradients, methods, spec.targets, start=start)
    return table.assign(family=[IN_WORDS[method.basis] for method in methods for _ in layers])  # method by method


def _judged(spec: RunSpec, materials: Materials, batches: int) -> tuple[list[dict[str, Tensor]], bool]:
    """Return the batches to judge by, and whether the basis of the first gradient has seen none of them."""
    first = list(first_batches(spec, materials, FIRST_BATCHES + batches))
    fresh = first[FIRST_BATCHES:]
    return (fresh, True) if len(fresh) >= 2 else (first[-batches:], False)
