"""What the rank explorer says of a choice, in words and as a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from vxlab.experiments import has_ranks_by_layer, layers_in_words
from vxlab.experiments.candidates import seeds_in_words
from vxlab.experiments.costs import BYTES
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import Measured
from vxlab.views.style import escape
from vxlab.words import in_bytes, number_of, percent, with_minus, write_number

GIGABYTE = 10**9

Lines = Mapping[str, Mapping[str, Sequence[float]]]
"""By role, the values of each column over blocks."""
Scores = Mapping[tuple[str, str, int], Any]
"""Measured candidates' rows, by target set, method and rank."""


def told_costs(size: Any) -> list[str]:
    """Return what a method at a rank trains and how many such adapters fit in a gigabyte, a line each.

    Args:
        size: its row of the sizes.
    """
    layers = number_of(size.layers, "layer")
    head = f"; {size.head:,} more in the task head" if size.head else ""
    alone = size.bytes - BYTES * size.head
    trained = f"<b>{size.backbone:,}</b> trained parameters, {percent(size.share)} of the model"
    without = f", {GIGABYTE // alone:,} without the head" if size.head else ""
    return [
        f"<b>{escape(size.family)} r={size.rank}</b> on {escape(size.targets)} ({layers}): {trained}{head}",
        f"Saved: about {in_bytes(size.bytes)}{' with the head' if size.head else ''}; "
        f"<b>{GIGABYTE // size.bytes:,}</b> such adapters fit in 1 GB (10⁹ bytes){without}",
    ]


def told_energy(rank: int, energies: Lines) -> str:
    """Return how much of W its first triplets hold."""
    shares = _all(energies, "share")
    first = f"the first {rank} singular triplets hold" if rank > 1 else "the first singular triplet holds"
    spread = f" (layers: {percent(min(shares))} to {percent(max(shares))})" if len(shares) > 1 else ""
    return f"Of W's energy {first} {percent(_mean(shares))}{spread}"


def told_gradient(captured: Lines) -> str:
    """Return how much of the first gradient is in reach before the first step."""
    share, chance, best = (percent(_mean(_all(captured, name))) for name in ("share", "chance", "best"))
    return (
        f"Of the first gradient's energy {share} is in reach at the start (chance {chance}; rank r has at most {best})"
    )


def told_score(row: Any, runs: Measured) -> str:
    """Return a measured candidate's score with its interval.

    Args:
        row: of the measured table.
        runs: what was measured.
    """
    whose = f" {escape(runs.origin)}" if runs.origin else ""
    if not row.n:
        told = f"Measured on {escape(runs.protocol)}{whose and ','}{whose}"
        return f"{told}: no run finished, at learning rate {row.learning_rate:.2g}"
    edge = ", the edge of its range" if row.edge else ""
    front = "; <b>on the Pareto front</b>" if row.front else ""
    where = f"{escape(runs.protocol)}, rate {row.learning_rate:.2g}{edge}"
    return f"<b>Test {in_words(runs.metric)} {measured_in_words(row)}</b>{whose}, {where}{front}"


def measured_in_words(row: Any) -> str:
    """Return a score with what it is of, and its 95 % interval where there is one."""
    several = row.n > 1
    of = seeds_in_words(row.scores, draws=row.draws) if several else "one run"
    over = f"test items and {'draws' if row.draws > 1 else 'seeds'}" if several else "test items"
    bounds = "" if math.isnan(row.low) else with_minus(f"; 95 % over {over} {row.low:.3f} to {row.high:.3f}")
    return f"{write_number(row.mean, '.3f')} ({of}{bounds})"


def beside(sizes: Sequence[Any], size: Any, scores: Scores, runs: Measured) -> pd.DataFrame:
    """Return the chosen one, the other methods' ranks nearest in parameters, and its neighbours on the front.

    Args:
        sizes: rows of the same target set.
        size: the chosen one.
        scores: measured candidates.
        runs: what was measured.
    """
    nearest: dict[str, tuple[float, Any]] = {}
    for row in sizes:
        apart = abs(math.log(row.backbone / size.backbone))
        if row.family != size.family and apart < nearest.get(row.family, (math.inf, row))[0]:
            nearest[row.family] = apart, row
    rows = [("chosen", size), *(("nearest in size", row) for _, row in nearest.values())]
    shown = [_cells(relation, row, scores.get((row.targets, row.family, row.rank)), runs) for relation, row in rows]
    known = {(row.targets, row.family, row.rank) for _, row in rows}
    shown += [_front_cells(relation, row, size, runs) for relation, row in _on_the_front(runs, size, known)]
    return pd.DataFrame(shown)


def _on_the_front(runs: Measured, size: Any, known: set[tuple[str, str, int]]) -> Iterator[tuple[str, Any]]:
    front: list[Any] = list(runs.table[runs.table["front"].astype(bool)].sort_values("backbone").itertuples())
    below = [row for row in front if row.backbone < size.backbone][-1:]
    above = [row for row in front if row.backbone > size.backbone][:1]
    for relation, rows in (("front, smaller", below), ("front, larger", above)):
        yield from ((relation, row) for row in rows if (row.targets, row.family, row.rank) not in known)


def _cells(relation: str, row: Any, measured: Any, runs: Measured) -> dict[str, str]:
    return _named(relation, f"{row.family} r={row.rank}", row.backbone, row.bytes, measured, runs)


def _front_cells(relation: str, row: Any, size: Any, runs: Measured) -> dict[str, str]:
    ranked = pd.notna(row.rank) or has_ranks_by_layer(row.family)
    where = f" on {layers_in_words(row.targets)}" if ranked and row.targets != size.targets else ""
    return _named(relation, row.label + where, row.backbone, row.bytes_stored, row, runs)


def _named(relation: str, method: str, backbone: int, size: float, measured: Any, runs: Measured) -> dict[str, str]:
    known = measured is not None and measured.n > 0
    return {
        "": relation,
        "method": method,
        "parameters": f"{backbone:,}",
        "saved": in_bytes(size),
        "fit in 1 GB": f"{GIGABYTE // int(size):,}",
        f"test {in_words(runs.metric) if runs.metric else 'score'} (95 %)": _in_a_cell(measured)
        if known
        else "not measured",
        "atlas" if runs.origin else "runs": f"{measured.n}{' runs' if runs.origin else ''}" if known else "–",
    }


def _in_a_cell(row: Any) -> str:
    bounds = "" if math.isnan(row.low) else with_minus(f" ({row.low:.3f} to {row.high:.3f})")
    return write_number(row.mean, ".3f") + bounds


def _all(lines: Lines, column: str) -> list[float]:
    return [value for each in lines.values() for value in each[column] if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
