"""Sentences computed from measured costs: what rank costs, and when cheap storage costs time."""

import math
from typing import TYPE_CHECKING, Any

from vxlab.experiments.conclusions import smoke_warning
from vxlab.experiments.rank_costs import FULL

if TYPE_CHECKING:
    import pandas as pd

SMOKE = "Two rounds of tiny steps"
USUAL_RANK = 8
"""LoRA's, as nearly everybody sets it: the adapter that another has to beat."""


def cost_conclusion(table: "pd.DataFrame", scale: str = "small") -> str:
    """Return what rank costs here, and when VeRA's cheap storage costs compute, in Markdown.

    Two steps are told apart where the quartiles of their ratios to the frozen model's pass do not overlap.

    Args:
        table: from ``rank_costs``.
        scale: ``smoke`` draws no conclusion.
    """
    if scale == "smoke":
        return smoke_warning(scale, SMOKE)
    rows = measured(table)
    sentences = [_price_of_rank(rows[rows["method"] == method]) for method in ("LoRA", "VeRA", "LoRA-XS")]
    sentences += [_storage_against_time(rows), _against_full(rows), _dearest_in_memory(rows)]
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def left_out(table: "pd.DataFrame") -> str:
    """Return a line in Markdown for each row that could not be measured, with the reason; empty where there is none."""
    failed = table[table["error"] != ""]
    return "\n".join(f"- Left out: **{row.label}**. {row.error}" for row in failed.itertuples())


def measured(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows that were measured."""
    return table[table["error"] == ""]


def _price_of_rank(rows: "pd.DataFrame") -> str:
    if len(rows) < 2:
        return ""
    rows = rows.sort_values("rank")
    low, high = rows.iloc[0], rows.iloc[-1]
    both = f"from {_passes(low)} at r={low['rank']} to {_passes(high)} at r={high['rank']}"
    if _overlap(low, high):
        return f"**{low['method']}**: a step takes {both}; the two cannot be told apart."
    change = 100 * (high["ratio"] / low["ratio"] - 1)
    ranks = _times(high["rank"] / low["rank"])
    return f"**{low['method']}**: a step takes {both}, **{change:+.0f} %** for {ranks} the rank."


def _storage_against_time(rows: "pd.DataFrame") -> str:
    vera, lora = rows[rows["method"] == "VeRA"].sort_values("rank"), rows[rows["method"] == "LoRA"]
    if vera.empty or lora.empty:
        return ""
    usual = min(lora.to_dict("records"), key=lambda row: abs(math.log2(row["rank"] / USUAL_RANK)))
    slower = vera[vera["ratio_low"] > usual["ratio_high"]]
    told = f"**When cheap storage costs compute**: beside {usual['label']} ({_passes(usual)}, {_bytes(usual['bytes'])})"
    if slower.empty:
        most = vera.iloc[-1]
        return (
            f"{told} no VeRA measured is slower, up to r={most['rank']} ({_passes(most)}, {_bytes(most['bytes'])}, "
            f"{_share(most, usual)})."
        )
    first, free = slower.iloc[0], vera[vera["rank"] < slower.iloc[0]["rank"]]
    sentence = (
        f"{told} VeRA is slower from r={first['rank']} on: {_passes(first)}, "
        f"{100 * (first['ratio'] / usual['ratio'] - 1):+.0f} % time, for {_bytes(first['bytes'])} on disk "
        f"({_share(first, usual)})."
    )
    if free.empty:
        return f"{sentence} No lower rank was measured."
    last = free.iloc[-1]
    stored = f"{_bytes(last['bytes'])}, {_share(last, usual)}"
    return f"{sentence} Up to r={last['rank']} ({stored}) no difference in time is seen."


def _against_full(rows: "pd.DataFrame") -> str:
    vera, full = rows[rows["method"] == "VeRA"].sort_values("rank"), rows[rows["method"] == FULL]
    if vera.empty or full.empty:
        return ""
    beside = f"Full fine-tuning takes {_passes(full.iloc[0])}"
    slower = vera[vera["ratio_low"] > full.iloc[0]["ratio_high"]]
    alike = vera[[_overlap(row, full.iloc[0]) for _, row in vera.iterrows()]]
    if slower.empty and alike.empty:
        return f"{beside}; every VeRA measured is faster."
    found = []
    if not alike.empty:
        found.append(f"cannot be told from it at r={alike.iloc[0]['rank']} ({_passes(alike.iloc[0])})")
    if not slower.empty:
        found.append(f"is slower than it from r={slower.iloc[0]['rank']} on ({_passes(slower.iloc[0])})")
    return f"{beside}; VeRA {' and '.join(found)}."


def _dearest_in_memory(rows: "pd.DataFrame") -> str:
    adapters = rows[rows["rank"].notna()]
    full = rows[rows["method"] == FULL]
    if adapters.empty or full.empty:
        return ""
    by_peak = adapters.sort_values("peak")
    least, most = by_peak.iloc[0], by_peak.iloc[-1]
    return (
        f"Memory at a step's peak runs from {_mebibytes(least['peak'])} ({least['label']}) to "
        f"{_mebibytes(most['peak'])} ({most['label']}); full fine-tuning needs {_mebibytes(full.iloc[0]['peak'])}."
    )


def _overlap(a: Any, b: Any) -> bool:
    return bool(a["ratio_low"] <= b["ratio_high"] and b["ratio_low"] <= a["ratio_high"])


def _passes(row: Any) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f}) frozen passes"


def _share(row: Any, usual: Any) -> str:
    share = row["bytes"] / usual["bytes"]
    return f"{100 * share:.0f} % of it" if share < 2 else f"{share:.1f} times it"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.3g} times"


def _bytes(number: float) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:,.0f} MiB"
