"""What a similarity table shows, in sentences."""

import math
from typing import TYPE_CHECKING

from vxlab.studies.claims import ABSENT, CONSISTENT, CONTRADICTS, NOISY, Part, verdicts
from vxlab.studies.weight_similarity.claims import CEILING, NO_PAIR, OTHER, RANDOM, SAME, cosine_in_words
from vxlab.studies.weight_similarity.statistics import Estimate, by_kind, difference, mean_of, share
from vxlab.studies.weight_similarity.table import MEASURES
from vxlab.words import with_minus, write_number

if TYPE_CHECKING:
    import pandas as pd


def ceiling_sentence(table: "pd.DataFrame") -> str:
    """Return how much of what two runs of LoRA share VeRA shares with LoRA, all of other seeds, in Markdown."""
    ceiling, between = mean_of(table, CEILING), mean_of(table, OTHER)
    part = share(table, OTHER, CEILING)
    if math.isnan(part.value):
        return "**The ceiling** was not measured: it takes two runs of LoRA with other seeds, and VeRA's."
    said = (
        f"**The ceiling**: two LoRA runs with other seeds have a cosine of {cosine_in_words(ceiling)}; VeRA and LoRA "
        f"with other seeds {cosine_in_words(between)}"
    )
    if verdicts([Part(ceiling.evidence(), least=0)]) != [CONSISTENT]:
        return f"{said}. The ceiling itself cannot be told from 0, so a share of it means nothing."
    value, low, high = (write_number(100 * each, ".0f") for each in (part.value, part.low, part.high))
    span = "" if math.isnan(part.low) else f" (95 % interval {low} to {high} %)"
    return f"{said}, {value} % of it{span}."


def beyond_cosine(table: "pd.DataFrame", kind: str = SAME) -> str:
    """Return what a kind's overlaps and outputs show, each against chance, judged together, in Markdown."""
    cosine_in_words, parts = [], []
    for measure in ("columns", "rows", "leading_columns", "leading_rows"):
        found = by_kind(table[table["kind"] == kind], measure)
        if len(found) and not math.isnan(found["mean"].iloc[0]):
            row = found.iloc[0]
            estimate = Estimate(row["mean"], row["low"], row["high"], row["seeds"])
            cosine_in_words.append(
                (f"{MEASURES[measure]} {row['mean']:.3f}{_span(estimate, '.3f')}", f"chance's {row['chance']:.3f}")
            )
            parts.append(Part(estimate.evidence(), least=row["chance"]))
    cka, random = mean_of(table, kind, "cka"), mean_of(table, RANDOM, "cka")
    if not math.isnan(cka.value):
        apart = difference(table, kind, RANDOM, "cka")
        said = f"{MEASURES['cka']} {cka.value:.3f}, differing by {apart.value:+.3f}{_span(apart, '+.3f')}"
        cosine_in_words.append((said, f"a random update's {random.value:.3f}"))
        parts.append(Part(apart.evidence(), least=0))
    sentences = [
        f"{said}, {_PLACES[place]} {level}"
        for (said, level), place in zip(cosine_in_words, verdicts(parts), strict=True)
    ]
    return f"**What cosine misses** ({kind}): {with_minus('; '.join(sentences)) or NO_PAIR}."


_PLACES = {CONSISTENT: "above", CONTRADICTS: "below", NOISY: "not told from", ABSENT: "beside"}


def _span(found: Estimate, form: str) -> str:
    """Return the interval in brackets, with the seeds it is over; nothing where too few are there for one."""
    return "" if math.isnan(found.low) else f" ({found.low:{form}} to {found.high:{form}}, {found.seeds} seeds)"
