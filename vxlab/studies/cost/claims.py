"""The papers' claims on cost, each beside what was measured here and a verdict."""

from typing import TYPE_CHECKING, Any

from vxlab.experiments.scoring.evidence import exact_evidence
from vxlab.studies.claims import Case, Part, claims_table, judge
from vxlab.studies.cost.conclusion import measured_rows, over_rounds, ratio_in_words
from vxlab.studies.published import published_table

if TYPE_CHECKING:
    import pandas as pd

STEPS_OF_A_RUN = 1150
"""MRPC's 3,668 training pairs in batches of 32, for 10 epochs: the run of LoRA-XS's table of runtimes."""

_MOST = {"vera": 0.018, "lora_xs": 0.01}
"""How much longer than LoRA's a step takes at most, by the papers' tables: their largest excess, rounded up."""
_ONE = 2
"""A single measurement tells nothing of its noise: it decides where it is so many times off, or more."""
_NAMES = {"vera": "VeRA", "lora_xs": "LoRA-XS", "lora": "LoRA"}


def beside_papers(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a row for each published claim: ``claim``, ``published``, ``here``, ``verdict`` and ``source``.

    Judged together. A claim on time is judged by the median of the ratio of steps, taken round by round. Memory is
    counted, allocation by allocation, and has no noise. The start with its decompositions is timed once: its share of
    a run decides where it is half or twice the claim, or further off.

    Args:
        table: from ``rank_costs``.
    """
    published, rows = published_table("costs"), measured_rows(table)
    cases = [
        *(_time(row, published, rows) for row in _of(published, "training time")),
        *(_memory(row, published, rows) for row in _of(published, "peak memory")),
        *(_svd(row, rows) for row in _of(published, "SVD share of the run")),
    ]
    return claims_table(judge(cases))


def _of(published: "pd.DataFrame", quantity: str) -> list[Any]:
    rows = published[(published["quantity"] == quantity) & (published["method"] != "lora")]
    return list(rows.itertuples())


def _time(row: Any, published: "pd.DataFrame", rows: "pd.DataFrame") -> Case:
    most = _MOST[row.method]
    claim = f"{_NAMES[row.method]} r={row.rank}: step at most {100 * most:.1f} % longer than LoRA's"
    ours, lora = _row(rows, row.method, row.rank), _row(rows, "lora", row.rank)
    shown = f"{row.value / _lora(row, published):.3f} ({row.model})"
    if ours is None or lora is None:
        return Case(claim, shown, "–", _source(row))
    found = over_rounds(ours, lora)
    return Case(claim, shown, ratio_in_words(found, ours, 3), _source(row), (Part(found, most=1 + most),))


def _memory(row: Any, published: "pd.DataFrame", rows: "pd.DataFrame") -> Case:
    claim = f"{_NAMES[row.method]} r={row.rank}: less peak memory than LoRA"
    ours, lora = _row(rows, row.method, row.rank), _row(rows, "lora", row.rank)
    shown = f"{row.value / _lora(row, published):.3f} ({row.model})"
    if ours is None or lora is None:
        return Case(claim, shown, "–", _source(row))
    share = ours["peak"] / lora["peak"]
    return Case(claim, shown, f"{share:.3f}, counted", _source(row), (Part(exact_evidence(share), most=1),))


def _svd(row: Any, rows: "pd.DataFrame") -> Case:
    claim = f"LoRA-XS: SVD under 1 % of a run ({STEPS_OF_A_RUN:,} steps)"
    shown = f"{row.value:g} to {row.to:g} % ({row.model})"
    low_ranks = rows[(rows["method"] == "LoRA-XS") & (rows["rank"] <= 25)]  # the published ones
    if low_ranks.empty:
        return Case(claim, shown, "–", _source(row))
    shares = 100 * low_ranks["attach_seconds"] / (low_ranks["step_seconds"] * STEPS_OF_A_RUN)
    least, most = float(shares.min()), float(shares.max())
    here = f"{least:.2f} %" if len(shares) == 1 else f"{least:.2f} to {most:.2f} %"
    doubts = (f"within {_ONE} times of the claim",) if 1 / _ONE < most < _ONE else ()
    here = f"{here}, one start of each rank"
    return Case(claim, shown, here, _source(row), (Part(exact_evidence(most), most=1),), doubts)


def _lora(row: Any, published: "pd.DataFrame") -> float:
    same = (published["model"] == row.model) & (published["rank"] == row.rank) & (published["quantity"] == row.quantity)
    return float(published[same & (published["method"] == "lora")]["value"].iloc[0])


def _row(rows: "pd.DataFrame", method: str, rank: int) -> Any:
    found = rows[(rows["method"] == _NAMES[method]) & (rows["rank"] == rank)]
    return None if found.empty else found.iloc[0]


def _source(row: Any) -> str:
    return f"{row.source} [{row.mark}]" if row.mark else str(row.source)
