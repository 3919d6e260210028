"""What the update explorer says of a layer, in sentences."""

import math
from collections.abc import Mapping
from typing import Any

from vxlab.adapters.core import rank_at
from vxlab.studies.updates import CELLS, THRESHOLD
from vxlab.words import write_number


def own_words(name: str, row: Mapping[str, Any], method: Mapping[str, Any]) -> list[str]:
    """Return what a run did to a layer: how far it moved it, what it trained, and which directions are new.

    Args:
        name: of the run.
        row: of the layer in :class:`vxlab.studies.updates.table.UpdateTables`.
        method: the settings of the run's method.
    """
    if not row["norm"]:
        return [f"<b>{name}</b> left this layer as it was: ΔW is zero."]
    size = f"‖ΔW‖ is {row['relative_norm']:.2%} of ‖W‖; ΔW has rank {row['rank']}"
    ranks = f"stable rank {row['stable_rank']:.1f} and effective rank {row['effective_rank']:.1f}"
    top = f"σ₁ = {row['top']:.3g} (W's {row['weight_top']:.3g})"
    return [f"<b>{name}</b>: {size}, {ranks}; {top}.", *_trained_words(row, method), _intruder_words(row)]


def alike_words(row: Mapping[str, Any]) -> list[str]:
    """Return how alike two updates of a layer are, each number with what chance would give.

    Args:
        row: of the layer in :func:`vxlab.studies.updates.pairs.pair_table`.
    """
    if math.isnan(row["cosine"]):
        return ["<b>Beside each other</b>: an update of zero has no direction, so there is nothing to compare."]
    cosine = write_number(row["cosine"], ".3f")
    outputs = f"{row['columns']:.3f} (chance {row['columns_chance']:.3f})"
    inputs = f"{row['rows']:.3f} (chance {row['rows_chance']:.3f})"
    return [
        f"<b>Beside each other</b>: the updates' cosine is {cosine} (unrelated ones: 0 ± {row['cosine_chance']:.2g}).",
        f"The outputs that they move overlap by {outputs}, the inputs that they read by {inputs}.",
    ]


def _trained_words(row: Mapping[str, Any], method: Mapping[str, Any]) -> list[str]:
    said = []
    if not math.isnan(row["d_norm"]):
        ranks, layer = method["rank"], row["layer"]
        rank = rank_at(ranks, layer, "VeRA") if isinstance(ranks, Mapping) else ranks
        start = 0.0 if method.get("vectors") == "d" else method.get("d_initial", 0.1) * math.sqrt(rank)
        said.append(f"‖d‖ = {row['d_norm']:.3g} ({start:.3g} before training)")
    if not math.isnan(row["b_norm"]):
        said.append(f"‖b‖ = {row['b_norm']:.3g} (0 before)")
    if not math.isnan(row["core_norm"]):
        rank, step = int(row["core_rank"]), math.ceil(row["core_rank"] / CELLS)
        cells = f" (a cell is the strongest of {step} × {step})" if step > 1 else ""
        size = f"‖R‖ = {row['core_norm']:.3g}, largest entry {row['core_largest']:.3g} in magnitude"
        said.append(f"R is {rank} × {rank}{cells}: {size}")
    return [f"{', '.join(said)}."] if said else []


def _intruder_words(row: Mapping[str, Any]) -> str:
    count = {0: "None", row["leading"]: "All"}.get(row["intruders"], row["intruders"])
    verb = "is an intruder" if row["intruders"] == 1 else "are intruders"
    how = f"cosine below {THRESHOLD} with all of W's (by chance {row['chance']:.2f})"
    return f"{count} of the {row['leading']} leading left directions of W + ΔW {verb}: {how}."
