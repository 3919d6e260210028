"""The share of the first gradient that each method can follow at every rank, block by block."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from torch import nn

from vxlab.adapters import Family, resolve_targets
from vxlab.experiments import RunSpec
from vxlab.experiments.runs import Job, Materials, first_gradients
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar
from vxlab.studies import Gradients, capture_table
from vxlab.studies.ranks.table import FAMILIES, Targets, adapter, targets_name


def captured_table(
    model: nn.Module,
    gradients: Gradients | RunSpec,
    sizes: pd.DataFrame,
    targets: Targets = "query-value",
    *,
    store: Where = None,
) -> pd.DataFrame:
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
    origin: Gradients | Job
    if isinstance(gradients, RunSpec):
        named = targets if isinstance(targets, str) else tuple(targets)
        origin = Materials().job(replace(gradients, targets=named))
    else:
        origin = {name: gradients[name] for name in layers if name in gradients}
    asked = model, origin, [adapter(*each, layers) for each in places], targets
    return _captured(*asked) if store is None else kept_table(_captured, *asked, store=store)


def _captured(model: nn.Module, origin: Gradients | Job, methods: Sequence[Family], targets: Targets) -> pd.DataFrame:
    gradients = first_gradients(origin.spec, Materials()) if isinstance(origin, Job) else origin
    bar = progress_bar(len(methods), "captured shares", "method")
    tables = []
    for method in methods:  # one at a time, so that the bar moves
        tables.append(capture_table(model, gradients, [method], targets))
        bar.update()
    bar.close()
    keys = ["family", "rank", "role", "block"]
    return pd.concat(tables).groupby(keys, sort=False)[["share", "chance", "best"]].mean().reset_index()
