"""How far training moved the weights of every block, by role."""

from typing import Any

import pandas as pd

from vxlab.adapters import Full
from vxlab.experiments import RunRecord
from vxlab.experiments.runs import base_weights, blocks_and_roles, layer_updates, load_trained, updates_of
from vxlab.experiments.store import Where, kept_table
from vxlab.experiments.sweeps import Comparison
from vxlab.progress import progress_bar

_COLUMNS = ["candidate", "key", "seed", "block", "role", "relative_norm"]


def changes_by_block(result: Comparison, store: Where = None) -> pd.DataFrame:
    """Return one row a reported run and layer that it changed: ``relative_norm`` = ‖ΔW‖_F / ‖W‖_F.

    Columns: ``candidate``, ``key`` of the run, ``seed``, ``block`` (from 0), ``role``, ``relative_norm``. Of full
    fine-tuning all linear layers of the backbone. What was computed is kept beside the runs.

    Args:
        result: of a fair sweep.
        store: as :func:`vxlab.run` takes it.
    """
    trains = [name for name, each in result.fair.names.items() if each.method.on_layers or _full(each.method)]
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    reports = reports[reports["candidate"].isin(trains)].sort_values("seed")
    tables = [pd.DataFrame(columns=_COLUMNS)]
    with progress_bar(len(reports), "updates by block", "run", delay=5.0) as bar:
        for row in reports.to_dict("records"):
            found = kept_table(_layers, result.records[row["key"]], store=store)
            told = {"candidate": row["candidate"], "key": row["key"], "seed": int(row["seed"])}
            tables.append(found.assign(**told)[_COLUMNS])
            bar.update()
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def most_changed(changes: pd.DataFrame, candidate: str) -> pd.DataFrame:
    """Return a candidate's blocks by how far they moved: ``block``, ``mean`` over its runs and the adapted roles,
    ``first``, in how many of its ``runs`` it moved furthest; the furthest first.

    Args:
        changes: from :func:`changes_by_block`.
        candidate: one of its.
    """
    own = changes[changes["candidate"] == candidate]
    by_run: Any = own.groupby(["key", "block"])["relative_norm"].mean().unstack()
    first = by_run.idxmax(axis=1).value_counts()
    table = pd.DataFrame({"mean": by_run.mean(), "first": first, "runs": len(by_run)}).fillna({"first": 0})
    table = table.astype({"first": int}).rename_axis("block").reset_index()
    return table.sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)


def _layers(record: RunRecord) -> pd.DataFrame:
    if record.spec["method"]["name"] != "full":
        return layer_updates(load_trained(record))[["layer", "block", "role", "relative_norm"]]
    weights, updates = base_weights(record), updates_of(record)
    places = blocks_and_roles(weights)
    rows = [(name, *places[name], each.relative_norm(weights[name])) for name, each in updates.items()]
    return pd.DataFrame(rows, columns=["layer", "block", "role", "relative_norm"])


def _full(method: object) -> bool:
    return isinstance(method, Full)
