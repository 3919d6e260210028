"""The papers' claims on cost, each beside what was measured here and a verdict."""

from typing import Any

import pandas as pd

from vxlab.experiments.scoring import exact_evidence
from vxlab.studies import Claim, Part, claims_table, judge, published_table
from vxlab.studies.cost.conclusion import measured_rows, over_rounds, ratio_in_words

STEPS_OF_A_RUN = 1150
"""MRPC's 3,668 training pairs in batches of 32, for 10 epochs: the run of LoRA-XS's table of runtimes."""

_MOST = {"vera": 0.018, "lora_xs": 0.01}
"""How much longer than LoRA's a step takes at most, by the papers' tables: their largest excess, rounded up."""
_ONE = 2
"""A single measurement tells nothing of its noise: it decides where it is so many times off, or more."""
_NAMES = {"vera": "VeRA", "lora_xs": "LoRA-XS", "lora": "LoRA"}


def beside_papers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published claim: ``claim``, ``published``, ``here``, ``verdict`` and ``source``.

    Judged together. A claim on time is judged by the median of the ratio of steps, taken round by round. Memory is
    counted, allocation by allocation, and has no noise. The start with its decompositions is timed once: its share of
    a run decides where it is half or twice the claim, or further off.

    Args:
        table: from ``rank_costs``.
    """
    published, rows = published_table("costs"), measured_rows(table)
    of = published[published["method"] != "lora"].groupby("quantity")
    on_time, on_memory, on_svd = (
        of.get_group(name).itertuples() for name in ("training time", "peak memory", "SVD share of the run")
    )
    claims = [_beside_lora(row, published, rows) for row in (*on_time, *on_memory)]
    return claims_table(judge([*claims, *(_svd(row, rows) for row in on_svd)]))


def _beside_lora(row: Any, published: pd.DataFrame, rows: pd.DataFrame) -> Claim:
    """Lay a claim on the time of a step, or on its memory, beside what was measured at the same rank."""
    timed = row.quantity == "training time"
    more = _MOST[row.method] if timed else 0.0
    said = f"step at most {100 * more:.1f} % longer than LoRA's" if timed else "less peak memory than LoRA"
    same = (published["model"] == row.model) & (published["rank"] == row.rank) & (published["quantity"] == row.quantity)
    lora = float(published[same & (published["method"] == "lora")]["value"].iloc[0])
    claim = Claim(
        f"{_NAMES[row.method]} r={row.rank}: {said}", f"{row.value / lora:.3f} ({row.model})", _source(row), "–"
    )
    found = [rows[(rows["method"] == _NAMES[each]) & (rows["rank"] == row.rank)] for each in (row.method, "lora")]
    if any(each.empty for each in found):
        return claim
    ours, theirs = (each.iloc[0] for each in found)
    ratio = over_rounds(ours, theirs) if timed else exact_evidence(ours["peak"] / theirs["peak"])
    here = ratio_in_words(ratio, ours, 3) if timed else f"{ratio.value:.3f}, counted"
    return claim.beside(here, Part(ratio, most=1 + more))


def _svd(row: Any, rows: pd.DataFrame) -> Claim:
    shown = f"{row.value:g} to {row.to:g} % ({row.model})"
    claim = Claim(f"LoRA-XS: SVD under 1 % of a run ({STEPS_OF_A_RUN:,} steps)", shown, _source(row), "–")
    low_ranks = rows[(rows["method"] == "LoRA-XS") & (rows["rank"] <= 25)]  # the published ones
    if low_ranks.empty:
        return claim
    shares = 100 * low_ranks["attach_seconds"] / (low_ranks["step_seconds"] * STEPS_OF_A_RUN)
    least, most = float(shares.min()), float(shares.max())
    here = f"{least:.2f} %" if len(shares) == 1 else f"{least:.2f} to {most:.2f} %"
    doubts = [f"within {_ONE} times of the claim"] if 1 / _ONE < most < _ONE else []
    return claim.beside(f"{here}, one start of each rank", Part(exact_evidence(most), most=1), doubts=doubts)


def _source(row: Any) -> str:
    return f"{row.source} [{row.mark}]" if row.mark else str(row.source)
