"""How alike two runs' updates are, layer by layer."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from vxlab.analysis import Update, chance_cosine, chance_overlap, column_overlap, row_overlap
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import require_same_base, require_updates
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar
from vxlab.studies.updates.table import trained_layers

_PAIRS = ["layer", "cosine", "cosine_chance", "columns", "columns_chance", "rows", "rows_chance"]


def pair_table(first: RunRecord, second: RunRecord, *, store: Where = None) -> pd.DataFrame:
    """Return how alike two runs' updates are in every layer that both trained; kept beside the store's runs.

    Args:
        first: a finished run of an adapter, or of ``Full()``.
        second: another one, from the same base model and on the same layers. A full fine-tuning has every layer, so
            beside it an adapter's own are compared.
        store: where to keep the table, as :func:`vxlab.run` takes it.

    Returns:
        One row a layer: ``layer``, the ``cosine`` of the updates, and the overlaps of their ``columns`` (outputs) and
        ``rows`` (inputs), each with what chance gives in ``…_chance``: of the cosine the standard deviation around 0,
        of the overlaps the mean. NaN where an update is zero.

    Raises:
        VxlabError: a run did not finish or trained no updates, or the runs differ in their base model or layers.
    """
    require_updates(first)
    require_updates(second, "other")
    require_same_base(first, second)
    return kept_table(_update_pairs, first, second, store=store)


def _update_pairs(first: RunRecord, second: RunRecord) -> pd.DataFrame:
    return pd.DataFrame(list(_pair_rows(*_shared(first, second))), columns=_PAIRS)


def _shared(first: RunRecord, second: RunRecord) -> tuple[dict[str, Update], dict[str, Update]]:
    runs = [({name: layer.update for name, layer in trained_layers(run).items()}, run) for run in (first, second)]
    adapters = [updates for updates, run in runs if run.spec["method"]["name"] != "full"]
    wanted = adapters[0] if adapters else runs[0][0]
    for updates, run in runs:
        apart = [*(name for name in wanted if name not in updates), *(name for name in updates if name not in wanted)]
        if apart and (run.spec["method"]["name"] != "full" or apart[0] in wanted):
            raise VxlabError(
                f"the two runs trained other layers: `{apart[0]}` is one of {len(apart)} that only one of them has; "
                "give runs of the same targets"
            )
    a, b = ({name: updates[name] for name in wanted} for updates, _ in runs)
    return a, b


def _pair_rows(first: dict[str, Update], second: dict[str, Update]) -> Iterator[dict[str, Any]]:
    with progress_bar(len(first), "how alike the updates are", "layer") as bar:
        for name, a in first.items():
            b = second[name]
            out, into = a.shape
            ranks = [int((each.rounding() < each.singular_values()).sum()) for each in (a, b)]
            zero = min(ranks) == 0
            yield {
                "layer": name, "cosine": a.cosine(b), "cosine_chance": chance_cosine((out, into)),
                "columns": column_overlap(a, b), "columns_chance": math.nan if zero else chance_overlap(out, *ranks),
                "rows": row_overlap(a, b), "rows_chance": math.nan if zero else chance_overlap(into, *ranks),
            }  # fmt: skip
            bar.update()
