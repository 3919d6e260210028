"""Which runs of a sweep are shown."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from vxlab.experiments import ENDED_EARLY
from vxlab.experiments.sweeps import SweepTables

_STATUSES = ("finished", ENDED_EARLY, "diverged", "failed", "running", "stopped")


class Filter(NamedTuple):
    """What a run must be to be shown. A run without a rank passes whatever the ranks are."""

    methods: tuple[str, ...]
    targets: tuple[str, ...]
    statuses: tuple[str, ...]
    ranks: tuple[int, int]
    """lowest and highest"""


def everything(sweeps: Sequence[SweepTables]) -> Filter:
    """Return the filter that every run of some sweeps passes: it says what there is to choose from."""
    runs = pd.concat([sweep.runs for sweep in sweeps])
    ranks = runs["rank"].dropna()
    statuses = set(runs["status"])
    return Filter(
        tuple(dict.fromkeys(runs["method"])),
        tuple(dict.fromkeys(runs["targets"])),
        tuple(status for status in _STATUSES if status in statuses),
        (int(ranks.min()), int(ranks.max())) if len(ranks) else (0, 0),
    )


def filter_sweep(sweep: SweepTables, kept: Filter) -> SweepTables:
    """Return what is left of a sweep: the runs that pass, and the candidates that have one.

    No score changes: a candidate's mean stays that of all its report runs.

    Args:
        sweep: with its runs' ``method`` as shown.
        kept: what passes.
    """
    runs = sweep.runs
    ranks = runs["rank"].isna() | runs["rank"].between(*kept.ranks).fillna(False)
    mask = runs["method"].isin(kept.methods) & runs["targets"].isin(kept.targets) & runs["status"].isin(kept.statuses)
    left = runs[mask & ranks]
    if len(left) == len(runs):
        return sweep
    summary = sweep.summary[sweep.summary["candidate"].isin(left["candidate"])]
    told = (
        f"Filtered: {len(left)} of {len(runs)} runs, {len(summary)} of {len(sweep.summary)} candidates. Scores stay "
        "those of all report runs."
    )
    return sweep._replace(runs=left, summary=summary, notes=(*sweep.notes, told))
