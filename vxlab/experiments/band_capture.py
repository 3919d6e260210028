"""How much of the first gradient LoRA-XS can follow, by the basis that it is given and by rank."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vxlab.adapters import LoRAXS, resolve_targets
from vxlab.errors import VxlabError
from vxlab.experiments.capture_table import capture_table
from vxlab.experiments.gradients import first_batches, weight_gradients
from vxlab.experiments.kept import kept_table
from vxlab.experiments.materials import Materials
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.store import Where
from vxlab.experiments.subspace_study import IN_WORDS
from vxlab.spectra import SubspaceWarning

if TYPE_CHECKING:
    import pandas as pd


def band_capture(
    spec: RunSpec, ranks: Sequence[int], bases: Sequence[str], *, batches: int = 8, store: Where = None
) -> "pd.DataFrame":
    """Return the share of the first gradient's energy in LoRA-XS's tangent space, by basis, rank and layer.

    The gradients are those of a run's first batches before anything is trained, each batch for itself, so that the
    interval tells how far they differ. The table is kept beside the store's runs.

    Args:
        spec: the run: its model, task, targets and seed count, not its method.
        ranks: of LoRA-XS; each must fit the layers.
        bases: of :class:`vxlab.LoRAXS`; ``gradient`` takes its basis from the first batch and is judged on the others.
        batches: how many of the training split's, 2 or more.
        store: where to keep the table, as :func:`vxlab.run` takes it.

    Returns:
        As :func:`vxlab.experiments.capture_table.capture_table`, with the basis, in words, as ``family``.

    Raises:
        VxlabError: fewer than two batches, an unknown basis, or a rank that does not fit.
    """
    if isinstance(batches, bool) or not isinstance(batches, int) or batches < 2:
        raise VxlabError(f"batches={batches!r} is too few for an interval; choose 2 or more")
    materials = Materials()
    methods = [LoRAXS(rank=rank, basis=basis) for basis in bases for rank in ranks]

    def compute() -> "pd.DataFrame":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            model = materials.model(spec)
        gradients = list(_gradients(spec, materials, model, batches))
        with warnings.catch_warnings():
            # A batch's gradient may have fewer directions than the rank: the rest hold nothing, whichever they are.
            warnings.simplefilter("ignore", SubspaceWarning)
            table = capture_table(model, gradients, methods, spec.targets)
        layers = len(table) // len(methods)  # the rows of one method stand together
        return table.assign(family=[IN_WORDS[method.basis] for method in methods for _ in range(layers)])

    identity = {"run": materials.job(spec).key, "ranks": list(ranks), "bases": list(bases), "batches": batches}
    return kept_table("band-capture", identity, compute, store=store)


def _gradients(spec: RunSpec, materials: Materials, model: nn.Module, batches: int) -> Iterator[Mapping[str, Tensor]]:
    layers = resolve_targets(model, spec.targets)
    for batch in first_batches(spec, materials, batches):
        yield weight_gradients(model, [batch], layers)
