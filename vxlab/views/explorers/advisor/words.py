"""What the advice explorer says of a budget."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import score_in_words, seeds_in_words, write_score
from vxlab.experiments.scoring import in_words
from vxlab.experiments.sweeps import Measured
from vxlab.studies.advisor import ALLOCATION, UNIFORM
from vxlab.views.style import escape
from vxlab.words import in_bytes, number_of, percent, with_minus

NEAR = 1.1
"""Up to which factor of the budget a measured adapter has as many parameters: by layer a budget is seldom met whole."""
_BYTES = 4


def told_ranks(layers: pd.DataFrame, row: Mapping[Any, Any], family: str) -> str:
    """Say which ranks are advised at a budget.

    Args:
        layers: of the advice, at that budget.
        row: of the advice's budgets.
        family: the method, such as ``LoRA``.
    """
    size = f"<b>{row['budget']:,} parameters</b> ({in_bytes(_BYTES * row['budget'])} in float32)"
    uniform = f"{escape(family)} r={row['uniform_rank']} on every layer"
    if row["verdict"] == ALLOCATION:
        kept, left_out = layers.loc[layers["rank"] > 0, "rank"], int((layers["rank"] == 0).sum())
        none = f", {number_of(left_out, 'layer')} left out" if left_out else ""
        return f"{size}: <b>ranks {kept.min()} to {kept.max()} by layer{none}</b>, in place of {uniform}"
    if row["verdict"] == UNIFORM:
        return f"{size}: <b>one rank is as good</b> as ranks by layer, as far as the batches tell: {uniform}"
    return f"{size}: <b>the batches do not tell</b> whether ranks by layer gain anything; so take {uniform}"


def told_capture(row: Mapping[Any, Any]) -> str:
    """Say what the allocation and one rank capture of the gradient's energy, and what held-out batches say of it.

    Args:
        row: of the advice's budgets.
    """
    if math.isnan(row["kept"]):
        return "Of the first gradients' energy none is told from noise, so that there are no shares to show"
    gain = with_minus(f"{100 * row['gain']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})")
    return (
        f"Of the first gradients' energy the allocation captures {percent(row['kept'])}, one rank "
        f"{percent(row['kept_uniform'])}; on held-out batches {gain} points"
    )


def told_measured(budget: int, runs: Measured) -> str:
    """Say what was measured at a budget: scores are looked up, and never predicted.

    Args:
        budget: in trained parameters.
        runs: measured candidates of the advice's method.
    """
    known = runs.table[(runs.table["n"] > 0) & (runs.table["backbone"] > 0)]
    if known.empty:
        return "<b>Score to expect: not measured</b>, at this budget or another; energy is no prediction of a score"
    apart = known["backbone"].astype(float).map(lambda own: abs(math.log(own / budget)))
    here = known[apart <= math.log(NEAR)].sort_values("backbone")
    if len(here):
        several = "; ".join(measured_text(row, runs) for row in here.to_dict("records"))
        return f"<b>Score to expect, as measured</b> on {escape(runs.protocol)}: {several}"
    nearest = known[apart == apart.min()].to_dict("records")[0]
    return f"<b>Score to expect: not measured</b> at this budget; the nearest is {measured_text(nearest, runs)}"


def measured_text(row: Mapping[Any, Any], runs: Measured) -> str:
    """Return a measured candidate with its parameters, its score and what that is of.

    Args:
        row: of the measured table.
        runs: what was measured.
    """
    score = score_in_words(row["mean"], runs.metric)
    of = seeds_in_words(row["scores"], lambda value: write_score(value, runs.metric), draws=row["draws"])
    return f"{escape(row['label'])}, {row['backbone']:,} parameters: {in_words(runs.metric)} {score} ({of})"
