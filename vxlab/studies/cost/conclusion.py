"""Sentences computed from measured costs: what rank costs, and when cheap storage costs time."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from vxlab.experiments.costs import FULL
from vxlab.experiments.scoring import Evidence, of_median
from vxlab.studies import CONSISTENT, CONTRADICTS, Part, smoke_warning, verdicts
from vxlab.words import in_bytes

SMOKE = "Two rounds of tiny steps"
USUAL_RANK = 8
"""LoRA's, as nearly everybody sets it: the adapter that another has to beat."""
_ADAPTERS = ("LoRA", "VeRA", "LoRA-XS")


def cost_conclusion(table: pd.DataFrame, scale: str = "small") -> str:
    """Return what rank costs here, and when VeRA's cheap storage costs compute, in Markdown.

    Two steps are told apart by the median of their ratio, taken round by round, after Holm's correction for all of
    these comparisons.

    Args:
        table: from ``rank_costs``.
        scale: ``smoke`` draws no conclusion.
    """
    if scale == "smoke":
        return smoke_warning(scale, SMOKE)
    rows = measured_rows(table)
    steps = _Steps(rows)
    sentences = [_price_of_rank(*each, steps) for each in steps.ends]
    sentences += [_storage_against_time(steps), _against_full(steps), _dearest_in_memory(rows)]
    return "\n".join(f"- {sentence}" for sentence in [*sentences, steps.noted()] if sentence)


def left_out(table: pd.DataFrame) -> str:
    """Return a line in Markdown for each row that could not be measured, with the reason; empty where there is none."""
    failed = table[table["error"] != ""]
    return "\n".join(f"- Left out: **{row.label}**. {row.error}" for row in failed.itertuples())


def measured_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that were measured."""
    return table[table["error"] == ""]


def over_rounds(ours: Any, theirs: Any) -> Evidence:
    """Return the evidence of the median of ours ÷ theirs, their steps paired by round."""
    return of_median([a / b for a, b in zip(ours["seconds"], theirs["seconds"], strict=True)])


def ratio_in_words(found: Evidence, row: Any, digits: int = 2, after: str = "") -> str:
    """Return a median ratio and its 95 % interval, or of how few rounds it is; ``after`` stands between the two."""
    return found.in_words(f".{digits}f", after, without=f"{len(row['seconds'])} rounds, too few for an interval")


class _Steps:
    """Steps that the conclusion compares, all judged together: each of the first with the second."""

    def __init__(self, rows: pd.DataFrame) -> None:
        by_rank = rows.sort_values("rank")
        of = {method: by_rank[by_rank["method"] == method].to_dict("records") for method in (*_ADAPTERS, FULL)}
        self.vera, self.full = of["VeRA"], next(iter(of[FULL]), None)
        self.usual = min(of["LoRA"], key=lambda row: abs(math.log2(row["rank"] / USUAL_RANK)), default=None)
        self.ends = [(of[method][-1], of[method][0]) for method in _ADAPTERS if len(of[method]) > 1]
        """each method's highest and lowest rank, where it has two"""
        others = [other for other in (self.usual, self.full) if other is not None]
        pairs = self.ends + [(row, other) for other in others for row in self.vera]
        self.ratios = {(a["label"], b["label"]): over_rounds(a, b) for a, b in pairs}
        self.rounds = max((len(seconds) for seconds in rows["seconds"]), default=0)
        places = verdicts([Part(found, least=1) for found in self.ratios.values()])
        self.places = dict(zip(self.ratios, places, strict=True))

    def in_words(self, a: Any, b: Any) -> str:
        return ratio_in_words(self.ratios[a["label"], b["label"]], a, after=" times as long")

    def slower(self, a: Any, b: Any) -> bool:
        return self.places[a["label"], b["label"]] == CONSISTENT

    def faster(self, a: Any, b: Any) -> bool:
        return self.places[a["label"], b["label"]] == CONTRADICTS

    def noted(self) -> str:
        if not self.ratios:
            return ""
        return (
            f"Ratios are medians over {self.rounds} rounds with their own 95 % intervals; *slower* and *faster* are "
            f"shown after Holm's correction for {len(self.ratios)} comparisons."
        )


def _price_of_rank(high: Any, low: Any, steps: _Steps) -> str:
    told = (
        f"**{low['method']}**: a step at r={high['rank']} takes {steps.in_words(high, low)} as one at r={low['rank']}"
    )
    if steps.slower(high, low) or steps.faster(high, low):
        return f"{told}, for {_times(high['rank'] / low['rank'])} the rank."
    return f"{told}: the two are not told apart."


def _storage_against_time(steps: _Steps) -> str:
    vera, usual = steps.vera, steps.usual
    if not vera or usual is None:
        return ""
    told = f"**When cheap storage costs compute**: beside {usual['label']} ({in_bytes(usual['bytes'])} on disk)"
    slower = _from_the_top(vera, lambda row: steps.slower(row, usual))
    others = vera[: len(vera) - len(slower)]
    if not slower:
        return f"{told} no VeRA is shown to be slower, up to r={others[-1]['rank']}: {_paid(others[-1], usual, steps)}."
    said = f"{told} VeRA is slower from r={slower[0]['rank']} on: {_paid(slower[0], usual, steps)}."
    if not others:
        return f"{said} No lower rank was measured."
    return f"{said} Up to r={others[-1]['rank']} it is not shown to be: {_paid(others[-1], usual, steps)}."


def _against_full(steps: _Steps) -> str:
    vera, whole = steps.vera, steps.full
    if not vera or whole is None:
        return ""
    slower = _from_the_top(vera, lambda row: steps.slower(row, whole))
    faster = _from_the_top(vera[::-1], lambda row: steps.faster(row, whole))
    told = [f"faster up to r={row['rank']}, {steps.in_words(row, whole)}" for row in faster[:1]]
    told += [f"slower from r={row['rank']} on, {steps.in_words(row, whole)}" for row in slower[:1]]
    between = [row for row in vera if row not in slower and row not in faster]
    told += [f"not told apart at r={row['rank']}, {steps.in_words(row, whole)}" for row in between]
    return f"Beside full fine-tuning's, VeRA's step is {'; '.join(told)}."


def _from_the_top(rows: list[Any], holds: Callable[[Any], bool]) -> list[Any]:
    """Return the last rows, up to the last that does not hold."""
    first = next((i for i in range(len(rows), 0, -1) if not holds(rows[i - 1])), 0)
    return rows[first:]


def _paid(row: Any, usual: Any, steps: _Steps) -> str:
    share = row["bytes"] / usual["bytes"]
    of_it = f"{100 * share:.0f} % of it" if share < 2 else f"{share:.1f} times it"
    return f"{steps.in_words(row, usual)}, for {in_bytes(row['bytes'])} ({of_it})"


def _dearest_in_memory(rows: pd.DataFrame) -> str:
    adapters = rows[rows["rank"].notna()]
    full = rows[rows["method"] == FULL]
    if adapters.empty or full.empty:
        return ""
    by_peak = adapters.sort_values("peak")
    least, most = by_peak.iloc[0], by_peak.iloc[-1]
    return (
        f"Memory at a step's peak, counted allocation by allocation, runs from {_mebibytes(least['peak'])} "
        f"({least['label']}) to {_mebibytes(most['peak'])} ({most['label']}); full fine-tuning needs "
        f"{_mebibytes(full.iloc[0]['peak'])}."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.3g} times"


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:,.0f} MiB"
