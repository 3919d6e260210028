"""The share of the first gradient that each method can follow at every rank, block by block."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from vxlab.adapters import Family, resolve_targets
from vxlab.adapters.core.layer import linear_weight
from vxlab.experiments.runs.gradients import FIRST_BATCHES, first_gradients
from vxlab.experiments.runs.inputs import Materials
from vxlab.experiments.spec import RunSpec
from vxlab.experiments.store.computed_tables import kept_table
from vxlab.experiments.store.store import Where
from vxlab.progress import progress_bar
from vxlab.spectra.cache import entry_key
from vxlab.studies.capture import Gradients, capture_table
from vxlab.studies.ranks.table import FAMILIES, Targets, adapter, targets_name

if TYPE_CHECKING:
    import pandas as pd


def captured_table(
    model: nn.Module,
    gradients: Gradients | RunSpec,
    sizes: "pd.DataFrame",
    targets: Targets = "query-value",
    *,
    store: Where = None,
) -> "pd.DataFrame":
    """Return the share of the first gradient that each of vxlab's families can follow before its first step.

    Of a family of your own it is not known.

    Columns: ``family, rank, role, block``, and the means of ``share``, ``chance`` and ``best`` of
    :func:`~vxlab.studies.capture.capture_table` where a block has several layers of a role.

    Args:
        model: without adapters.
        gradients: ∂loss/∂W of every target layer; or the run from whose first batches to compute them.
        sizes: from :func:`rank_tables`.
        targets: the target set.
        store: where the table is kept; None keeps none.

    Raises:
        VxlabError: a layer's gradient is missing or does not fit; or as :func:`vxlab.run`.
    """
    layers = resolve_targets(model, targets)
    own = sizes[(sizes["targets"] == targets_name(targets)) & sizes["family"].isin(FAMILIES)]
    places = [(str(family), int(rank)) for family, rank in zip(own["family"], own["rank"], strict=True)]
    origin, found = _gradients(gradients, targets, layers)

    def compute() -> "pd.DataFrame":
        return _captured(model, found(), [adapter(*each, layers) for each in places], targets)

    if store is None:
        return compute()
    weights = {name: entry_key(linear_weight(layer), "weight") for name, layer in layers.items()}
    return kept_table("captured", {"weights": weights, "gradients": origin, "methods": places}, compute, store=store)


def _gradients(
    given: Gradients | RunSpec, targets: Targets, layers: Iterable[str]
) -> tuple[dict[str, Any], Callable[[], Gradients]]:
    """Return what decides the gradients, and how to have them."""
    if not isinstance(given, RunSpec):
        return {name: entry_key(given[name], "gradient") for name in layers if name in given}, lambda: given
    spec, materials = replace(given, targets=targets if isinstance(targets, str) else tuple(targets)), Materials()
    settings = {name: value for name, value in spec.settings().items() if name != "method"}
    origin = {"run": settings, "identity": materials.job(spec).identity, "batches": FIRST_BATCHES}
    return origin, lambda: first_gradients(spec, materials)


def _captured(model: nn.Module, gradients: Gradients, methods: Sequence[Family], targets: Targets) -> "pd.DataFrame":
    import pandas as pd

    bar = progress_bar(len(methods), "captured shares", "method")
    tables = []
    for method in methods:  # one at a time, so that the bar moves
        tables.append(capture_table(model, gradients, [method], targets))
        bar.update()
    bar.close()
    keys = ["family", "rank", "role", "block"]
    return pd.concat(tables).groupby(keys, sort=False)[["share", "chance", "best"]].mean().reset_index()
