"""What a similarity table shows, in sentences."""

import math
from typing import TYPE_CHECKING

from vxlab.experiments.claims import CONSISTENT, CONTRADICTS, NOISY, judged
from vxlab.experiments.similarity_claims import CEILING, NO_PAIR, OTHER, RANDOM, SAME, told
from vxlab.experiments.similarity_statistics import Estimate, by_kind, difference, mean_of, share
from vxlab.experiments.weight_similarity import MEASURES

if TYPE_CHECKING:
    import pandas as pd


def ceiling_sentence(table: "pd.DataFrame") -> str:
    """Return how much of what two runs of LoRA share VeRA shares with LoRA, all of other seeds, in Markdown."""
    ceiling, between = mean_of(table, CEILING), mean_of(table, OTHER)
    part = share(table, OTHER, CEILING)
    if math.isnan(part.value):
        return "**The ceiling** was not measured: it takes two runs of LoRA with other seeds, and VeRA's."
    said = (
        f"**The ceiling**: two LoRA runs with other seeds have a cosine of {told(ceiling)}; VeRA and LoRA with other "
        f"seeds {told(between)}"
    )
    if not ceiling.low > 0:
        return f"{said}. The ceiling itself cannot be told from 0, so a share of it means nothing."
    span = "" if math.isnan(part.low) else f" (95 % interval {100 * part.low:.0f} to {100 * part.high:.0f} %)"
    return f"{said}, {100 * part.value:.0f} % of it{span}."


def beyond_cosine(table: "pd.DataFrame", kind: str = SAME) -> str:
    """Return what a kind's overlaps and outputs show, each against its chance level, in Markdown."""
    sentences = []
    for measure in ("columns", "rows", "leading_columns", "leading_rows"):
        found = by_kind(table[table["kind"] == kind], measure)
        if len(found) and not math.isnan(found["mean"].iloc[0]):
            row = found.iloc[0]
            estimate = Estimate(row["mean"], row["low"], row["high"], row["seeds"])
            sentences.append(f"{MEASURES[measure]} {_against(estimate, row['chance'], 'chance')}")
    cka, random = mean_of(table, kind, "cka"), mean_of(table, RANDOM, "cka")
    if not math.isnan(cka.value):
        apart = difference(table, kind, RANDOM, "cka")
        sentences.append(
            f"{MEASURES['cka']} {cka.value:.3f}, {apart.value:+.3f}{_span(apart, '+.3f')} "
            f"against a random update's {random.value:.3f}"
        )
    return f"**What cosine misses** ({kind}): {'; '.join(sentences) or NO_PAIR}."


def _against(found: Estimate, level: float, name: str) -> str:
    said = f"{found.value:.3f}{_span(found, '.3f')}"
    place = {CONSISTENT: "above", CONTRADICTS: "below", NOISY: "not told from"}
    return f"{said}, {place.get(judged(found.low, found.high, least=level), 'beside')} {name}'s {level:.3f}"


def _span(found: Estimate, form: str) -> str:
    """Return the interval in brackets; nothing where too few seeds are there for one."""
    return "" if math.isnan(found.low) else f" ({found.low:{form}} to {found.high:{form}})"
