"""VeRA's claims on how like LoRA's its updates are, judged by a similarity table, and what else that shows."""

import math

import pandas as pd

from vxlab.experiments.scoring import Evidence, from_interval
from vxlab.studies import ABSENT, CONSISTENT, CONTRADICTS, NOISY, Claim, Finding, Part, judge, verdicts
from vxlab.studies.weight_similarity.statistics import difference, mean_of, over_seeds, share, trend
from vxlab.studies.weight_similarity.table import MEASURES
from vxlab.words import number_of, write_number

PUBLISHED, PUBLISHED_RANDOM = 2e-3, -8e-5
"""Mean cosine of VeRA's and LoRA's updates, and of LoRA's and random ones: VeRA (arXiv 2310.11454), Figure 5, both at
rank 64, all query layers. It names no model for that figure, and a cosine means nothing without its layers' width."""
PUBLISHED_WIDTH = 1024
"""Assumed: RoBERTa-large's, which VeRA trains elsewhere. 1/√(out·in) is 1e-3 there."""

SAME, OTHER = "VeRA – LoRA, same seed", "VeRA – LoRA, other seed"
CEILING, RANDOM = "LoRA – LoRA, other seed", "LoRA – random LoRA"

_BLOCKS = 3
"""With fewer, no order of them is unlikely."""
_LEAST, _MOST = 1, 4
"""times 1/√(out·in): half to twice the published cosine at the assumed width"""
_NO_PAIR = "no such pair"
_PLACES = {CONSISTENT: "above", CONTRADICTS: "below", NOISY: "not told from", ABSENT: "beside"}


def similarity_claims(table: pd.DataFrame) -> list[Finding]:
    """Judge what VeRA's Figure 5 says, its claims together: VeRA and LoRA learn alike, more so in later layers.

    Args:
        table: from ``similarity_table``, of one role; LoRA and VeRA with at least two seeds each.
    """
    same, random, more = mean_of(table, SAME), mean_of(table, RANDOM), difference(table, SAME, RANDOM)
    rows = table[table["kind"] == SAME]
    # In units of 1/√(out·in): raw cosines of layers of other widths cannot be compared.
    size = over_seeds(rows, lambda rows: (rows["cosine"] / rows["cosine_chance"]).mean())
    beside_random = f"{cosine_in_words(more)} more than LoRA and random updates, which have {cosine_in_words(random)}"
    times = f"{_in_words(size, '.1f')} times; {cosine_in_words(same)}"
    return judge([
        _POSITIVE.beside(cosine_in_words(same), Part(same, least=0)),
        _ABOVE_RANDOM.beside(_NO_PAIR if math.isnan(more.value) else beside_random, Part(more, least=0)),
        _SIZE.beside(_NO_PAIR if math.isnan(size.value) else times, Part(size, least=_LEAST, most=_MOST)),
        _rising(rows[rows["cosine"].notna()]),
    ])  # fmt: skip


def cosine_in_words(found: Evidence) -> str:
    """Return a cosine and its 95 % interval, in thousandths, with the seeds that this is over.

    >>> cosine_in_words(from_interval(0.00213, 0.00106, 0.0032, 2, units=3))
    '2.13e-3 (1.06e-3 to 3.20e-3, 3 seeds)'
    """
    if math.isnan(found.value):
        return _NO_PAIR
    return found.in_words(_thousandths, over=number_of(found.units, "seed"))


def ceiling_sentence(table: pd.DataFrame) -> str:
    """Return how much of what two runs of LoRA share VeRA shares with LoRA, all of other seeds, in Markdown."""
    ceiling, between = mean_of(table, CEILING), mean_of(table, OTHER)
    part = share(table, OTHER, CEILING)
    if math.isnan(part.value):
        return "**The ceiling** was not measured: it takes two runs of LoRA with other seeds, and VeRA's."
    said = (
        f"**The ceiling**: two LoRA runs with other seeds have a cosine of {cosine_in_words(ceiling)}; VeRA and LoRA "
        f"with other seeds {cosine_in_words(between)}"
    )
    if verdicts([Part(ceiling, least=0)]) != [CONSISTENT]:
        return f"{said}. The ceiling itself cannot be told from 0, so a share of it means nothing."
    value, low, high = (write_number(100 * each, ".0f") for each in part[:3])
    span = "" if math.isnan(part.low) else f" (95 % interval {low} to {high} %)"
    return f"{said}, {value} % of it{span}."


def beyond_cosine(table: pd.DataFrame, kind: str = SAME) -> str:
    """Return what a kind's overlaps and outputs show, each against chance, judged together, in Markdown."""
    told = []
    for measure in ("columns", "rows", "leading_columns", "leading_rows"):
        found, chance = mean_of(table, kind, measure), mean_of(table, kind, f"{measure}_chance").value
        told.append((measure, found.value, _in_words(found), f"chance's {chance:.3f}", Part(found, chance)))
    cka, random = mean_of(table, kind, "cka").value, mean_of(table, RANDOM, "cka").value
    apart = difference(table, kind, RANDOM, "cka")
    said = f"{cka:.3f}, differing by {_in_words(apart, '+.3f')}"
    told.append(("cka", cka, said, f"a random update's {random:.3f}", Part(apart, least=0)))
    sentences = [
        f"{MEASURES[measure]} {said}, {_PLACES[place]} {level}"
        for (measure, value, said, level, _), place in zip(told, verdicts([part for *_, part in told]), strict=True)
        if not math.isnan(value)
    ]
    return f"**What cosine misses** ({kind}): {'; '.join(sentences) or _NO_PAIR}."


def _rising(rows: pd.DataFrame) -> Claim:
    """Both must speak: the order of the layers, and its repetition with other seeds."""
    if (blocks := rows["block"].nunique()) < _BLOCKS:
        return _RISING.beside(f"{number_of(blocks, 'block')}, too few for a trend" if blocks else _NO_PAIR)
    found = trend(rows, [SAME]).iloc[0]
    rise = from_interval(found["rise"], found["low"], found["high"], found["seeds"] - 1, units=found["seeds"])
    tau = write_number(found["tau"], "+.2f")
    here = f"{cosine_in_words(rise)} from the first block to the last; Kendall's τ {tau}, p {found['p']:.3f}"
    by_order = float(found["p"]) if found["tau"] * found["rise"] > 0 else 1.0
    return _RISING.beside(here, Part(rise, least=0), also=by_order)


def _in_words(found: Evidence, form: str = ".3f") -> str:
    return found.in_words(form, over=number_of(found.units, "seed"))


def _thousandths(value: float) -> str:
    return f"{write_number(1000 * value, '.2f')}e-3"


_FIGURE = "VeRA, arXiv 2310.11454, Figure 5"
_POSITIVE = Claim(
    "VeRA and LoRA learn similar updates: their mean cosine is above 0",
    f"{_thousandths(PUBLISHED)} (r=64, all query layers)",
    _FIGURE,
)
_ABOVE_RANDOM = Claim(
    "VeRA is more like LoRA than random updates are",
    f"{_thousandths(PUBLISHED)} against {_thousandths(PUBLISHED_RANDOM)}",
    _FIGURE,
)
_SIZE = Claim(
    f"the cosine is about twice 1/√(out·in), what unrelated updates spread by ({_LEAST} to {_MOST} times)",
    f"{_thousandths(PUBLISHED)}, {PUBLISHED * PUBLISHED_WIDTH:.1f} times of layers {PUBLISHED_WIDTH:,} wide "
    "(assumed: the paper names no model for its Figure 5)",
    _FIGURE,
)
_RISING = Claim("similarity rises in later layers", "rises, by eye", _FIGURE)
