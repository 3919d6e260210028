"""Few-shot runs by their draw: what their scores and predictions go by, and what a reader must know of the draws."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vxlab.experiments import RunRecord
from vxlab.experiments.scoring import Array, widening
from vxlab.words import list_in_words, number_of, percent

_TOLD = 1.1
"""times the variance, from which it is said that intervals are widened"""


def lucks_of(reports: pd.DataFrame) -> "list[int | tuple[int, int]]":
    """Return by what each reported run goes: its seed; where a candidate is on several draws, the draw and the seed.

    A probe has no seed, and so the same one on every draw: by seeds alone its runs would be one.

    Args:
        reports: rows of a store's table that are compared with each other, with ``candidate``.
    """
    several = reports.groupby("candidate")["draw"].nunique().max() > 1
    rows = zip(reports["draw"], reports["seed"].fillna(0), strict=True)
    return [(int(draw), int(seed)) if several and pd.notna(draw) else int(seed) for draw, seed in rows]


def scores_by_luck(reports: pd.DataFrame) -> Array:
    """Return a candidate's test scores that there are, by seed, or by draw where it ran on several: the mean of each.

    Args:
        reports: its reported runs.
    """
    done = reports.dropna(subset=["test"])
    if done["draw"].nunique() > 1:
        return done.groupby("draw", sort=True)["test"].mean().to_numpy(dtype=np.float64)
    return done.sort_values("seed")["test"].to_numpy(dtype=np.float64)


def drawn_shares(reports: pd.DataFrame, records: Mapping[str, RunRecord]) -> dict[str, float]:
    """Return of the candidates on several draws what share of its class's rows a draw takes.

    Args:
        reports: rows of the runs that finished, with ``candidate``.
        records: theirs, by key.
    """
    draws = reports.groupby("candidate", sort=False)["draw"].nunique()
    keys = reports.groupby("candidate", sort=False)["key"].first()
    return {str(name): _share(records, key) for name, key in keys[draws > 1].items()}


def draw_notes(reports: pd.DataFrame, records: Mapping[str, RunRecord]) -> list[str]:
    """Say where the luck of the draw is in no interval, and where intervals are widened; nothing without shots.

    Args:
        reports: as :func:`drawn_shares` takes them.
        records: theirs, by key.
    """
    drawn = reports.dropna(subset=["draw"])
    by_candidate = drawn.groupby("candidate", sort=False)
    one = [str(name) for name, own in by_candidate if own["draw"].nunique() == 1]
    notes = [_of_one(drawn[drawn["candidate"].isin(one)], by_candidate.ngroups, records)] if one else []
    shares = drawn_shares(reports, records)
    draws = {name: int(own["draw"].nunique()) for name, own in by_candidate if name in shares}
    wider = [name for name, share in shares.items() if widening(draws[name], share) >= _TOLD]
    if wider:
        shown = list_in_words([percent(share) for share in sorted({shares[name] for name in wider})])
        notes.append(
            f"A draw takes {shown} of a class's training rows: draws share rows, and differ less than fresh ones "
            "would. Intervals and tests are widened for what other rows would change."
        )
    return notes


def _of_one(runs: pd.DataFrame, candidates: int, records: Mapping[str, RunRecord]) -> str:
    """Say that some candidates' runs are each on one draw."""
    names = list(dict.fromkeys(runs["candidate"]))
    who = "All runs" if len(names) == candidates else f"The runs of {list_in_words(names)}"
    shots = list_in_words([number_of(int(each), "shot") for each in sorted(runs["shots"].unique())])
    if all(_share(records, key) == 1 for key in runs["key"]):
        return f"{who} learned from all there is ({shots} a class): no interval covers what other rows would change."
    which = f" (draw {int(runs['draw'].iloc[0])})" if runs["draw"].nunique() == 1 else ""
    each = "one draw" if which else "one draw each"
    return f"{who} learned from {each} of {shots} a class{which}: the luck of the draw is in no interval or test."


def _share(records: Mapping[str, RunRecord], key: str) -> float:
    return float(records[key].task.get("drawn", 0.0)) if key in records else 0.0
