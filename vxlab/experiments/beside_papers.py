"""The papers' claims on cost, each beside what was measured here and a verdict."""

from typing import TYPE_CHECKING, Any

import numpy as np

from vxlab.experiments.claims import ABSENT, CONSISTENT, CONTRADICTS, Claim, claims_table, judged
from vxlab.experiments.cost_conclusions import measured
from vxlab.experiments.published import published_table
from vxlab.experiments.step_cost import ratio

if TYPE_CHECKING:
    import pandas as pd

STEPS_OF_A_RUN = 1150
"""MRPC's 3,668 training pairs in batches of 32, for 10 epochs: the run of LoRA-XS's table of runtimes."""

_MOST = {"vera": 0.018, "lora_xs": 0.01}
"""How much longer than LoRA's a step takes at most, by the papers' tables: their largest excess, rounded up."""
_NAMES = {"vera": "VeRA", "lora_xs": "LoRA-XS", "lora": "LoRA"}


def beside_papers(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a row for each published claim: ``claim``, ``published``, ``here``, ``verdict`` and ``source``.

    A claim on time is consistent where the quartiles of the ratio of steps, taken round by round, lie within it,
    contradicted where they lie outside, and otherwise too noisy to judge. Memory and shares are compared as they are.

    Args:
        table: from ``rank_costs``.
    """
    published, rows = published_table("costs"), measured(table)
    claims = [
        *(_time(row, published, rows) for row in _of(published, "training time")),
        *(_memory(row, published, rows) for row in _of(published, "peak memory")),
        *(_svd(row, rows) for row in _of(published, "SVD share of the run")),
    ]
    return claims_table(claims)


def _of(published: "pd.DataFrame", quantity: str) -> list[Any]:
    rows = published[(published["quantity"] == quantity) & (published["method"] != "lora")]
    return list(rows.itertuples())


def _time(row: Any, published: "pd.DataFrame", rows: "pd.DataFrame") -> Claim:
    most = _MOST[row.method]
    claim = f"{_NAMES[row.method]} r={row.rank}: step at most {100 * most:.1f} % longer than LoRA's"
    ours, lora = _row(rows, row.method, row.rank), _row(rows, "lora", row.rank)
    shown = f"{row.value / _lora(row, published):.3f} ({row.model})"
    if ours is None or lora is None:
        return Claim(claim, shown, "–", ABSENT, _source(row))
    median, low, high = ratio(ours["seconds"], lora["seconds"])
    return Claim(
        claim, shown, f"{median:.3f} ({low:.3f} to {high:.3f})", judged(low, high, most=1 + most), _source(row)
    )


def _memory(row: Any, published: "pd.DataFrame", rows: "pd.DataFrame") -> Claim:
    claim = f"{_NAMES[row.method]} r={row.rank}: less peak memory than LoRA"
    ours, lora = _row(rows, row.method, row.rank), _row(rows, "lora", row.rank)
    shown = f"{row.value / _lora(row, published):.3f} ({row.model})"
    if ours is None or lora is None:
        return Claim(claim, shown, "–", ABSENT, _source(row))
    share = ours["peak"] / lora["peak"]
    return Claim(claim, shown, f"{share:.3f}", CONSISTENT if share < 1 else CONTRADICTS, _source(row))


def _svd(row: Any, rows: "pd.DataFrame") -> Claim:
    claim = f"LoRA-XS: SVD under 1 % of a run ({STEPS_OF_A_RUN:,} steps)"
    shown = f"{row.value:g} to {row.to:g} % ({row.model})"
    low_ranks = rows[(rows["method"] == "LoRA-XS") & (rows["rank"] <= 25)]  # the published ones
    if low_ranks.empty:
        return Claim(claim, shown, "–", ABSENT, _source(row))
    shares = 100 * low_ranks["attach_seconds"] / (low_ranks["step_seconds"] * STEPS_OF_A_RUN)
    least, most = float(np.min(shares)), float(np.max(shares))
    here = f"{least:.2f} %" if len(shares) == 1 else f"{least:.2f} to {most:.2f} %"
    return Claim(claim, shown, here, CONSISTENT if most < 1 else CONTRADICTS, _source(row))


def _lora(row: Any, published: "pd.DataFrame") -> float:
    same = (published["model"] == row.model) & (published["rank"] == row.rank) & (published["quantity"] == row.quantity)
    return float(published[same & (published["method"] == "lora")]["value"].iloc[0])


def _row(rows: "pd.DataFrame", method: str, rank: int) -> Any:
    found = rows[(rows["method"] == _NAMES[method]) & (rows["rank"] == rank)]
    return None if found.empty else found.iloc[0]


def _source(row: Any) -> str:
    return f"{row.source} [{row.mark}]" if row.mark else str(row.source)
