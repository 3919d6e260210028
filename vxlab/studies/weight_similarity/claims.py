"""VeRA's claims on how like LoRA's its updates are, judged by a similarity table."""

import math
from typing import TYPE_CHECKING

from vxlab.studies.claims import Case, Claim, Part, judge
from vxlab.studies.weight_similarity.statistics import Estimate, difference, mean_of, over_seeds, trend
from vxlab.words import number_of, write_number

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED, PUBLISHED_RANDOM = 2e-3, -8e-5
"""Mean cosine of VeRA's and LoRA's updates, and of LoRA's and random ones: VeRA (arXiv 2310.11454), Figure 5, both at
rank 64, all query layers. It names no model for that figure, and a cosine means nothing without its layers' width."""
PUBLISHED_WIDTH = 1024
"""Assumed: RoBERTa-large's, which VeRA trains elsewhere. 1/√(out·in) is 1e-3 there."""

SAME, OTHER = "VeRA – LoRA, same seed", "VeRA – LoRA, other seed"
CEILING, RANDOM = "LoRA – LoRA, other seed", "LoRA – random LoRA"

_SOURCE = "VeRA, arXiv 2310.11454, Figure 5"
_BLOCKS = 3
"""With fewer, no order of them is unlikely."""
_LEAST, _MOST = 1, 4
"""times 1/√(out·in): half to twice the published cosine at the assumed width"""

NO_PAIR = "no such pair"


def similarity_claims(table: "pd.DataFrame") -> list[Claim]:
    """Judge what VeRA's Figure 5 says, its claims together: VeRA and LoRA learn alike, more so in later layers.

    Args:
        table: from ``similarity_table``, of one role; LoRA and VeRA with at least two seeds each.
    """
    return judge([_positive(table), _above_random(table), _size(table), _rising(table)])


def cosine_in_words(estimate: Estimate) -> str:
    """Return a cosine and its 95 % interval, in thousandths, with the seeds that this is over.

    >>> cosine_in_words(Estimate(0.00213, 0.0011, 0.0032, 3))
    '2.13e-3 (1.10e-3 to 3.20e-3, 3 seeds)'
    >>> cosine_in_words(Estimate(-8e-5, float("nan"), float("nan"), 1))
    '−0.08e-3'
    """
    if math.isnan(estimate.value):
        return NO_PAIR
    if math.isnan(estimate.low):
        return _thousandths(estimate.value)
    value, low, high = (_thousandths(each) for each in estimate[:3])
    return f"{value} ({low} to {high}, {estimate.seeds} seeds)"


def _positive(table: "pd.DataFrame") -> Case:
    found = mean_of(table, SAME)
    claim = "VeRA and LoRA learn similar updates: their mean cosine is above 0"
    published = f"{_thousandths(PUBLISHED)} (r=64, all query layers)"
    return Case(claim, published, cosine_in_words(found), _SOURCE, (Part(found.evidence(), least=0),))


def _above_random(table: "pd.DataFrame") -> Case:
    found, random = difference(table, SAME, RANDOM), mean_of(table, RANDOM)
    published = f"{_thousandths(PUBLISHED)} against {_thousandths(PUBLISHED_RANDOM)}"
    here = f"{cosine_in_words(found)} more than LoRA and random updates, which have {cosine_in_words(random)}"
    here = NO_PAIR if math.isnan(found.value) else here
    claim = "VeRA is more like LoRA than random updates are"
    return Case(claim, published, here, _SOURCE, (Part(found.evidence(), least=0),))


def _size(table: "pd.DataFrame") -> Case:
    """Compare in units of 1/√(out·in): raw cosines of layers of other widths cannot be compared."""
    rows = table[table["kind"] == SAME]
    found = over_seeds(rows, lambda rows: (rows["cosine"] / rows["cosine_chance"]).mean())
    span = "" if math.isnan(found.low) else f" ({found.low:.1f} to {found.high:.1f}, {found.seeds} seeds)"
    here = (
        NO_PAIR
        if math.isnan(found.value)
        else f"{found.value:.1f}{span} times; {cosine_in_words(mean_of(table, SAME))}"
    )
    published = (
        f"{_thousandths(PUBLISHED)}, {PUBLISHED * PUBLISHED_WIDTH:.1f} times of layers {PUBLISHED_WIDTH:,} wide "
        f"(assumed: the paper names no model for its Figure 5)"
    )
    claim = f"the cosine is about twice 1/√(out·in), what unrelated updates spread by ({_LEAST} to {_MOST} times)"
    return Case(claim, published, here, _SOURCE, (Part(found.evidence(), least=_LEAST, most=_MOST),))


def _rising(table: "pd.DataFrame") -> Case:
    """Both must speak: the order of the layers, and its repetition with other seeds."""
    claim, published = "similarity rises in later layers", "rises, by eye"
    rows = table[(table["kind"] == SAME) & table["cosine"].notna()]
    if (blocks := rows["block"].nunique()) < _BLOCKS:
        here = f"{number_of(blocks, 'block')}, too few for a trend" if blocks else NO_PAIR
        return Case(claim, published, here, _SOURCE)
    found = trend(rows, [SAME]).iloc[0]
    rise = Estimate(found["rise"], found["low"], found["high"], found["seeds"])
    tau = write_number(found["tau"], "+.2f")
    here = f"{cosine_in_words(rise)} from the first block to the last; Kendall's τ {tau}, p {found['p']:.3f}"
    by_order = float(found["p"]) if found["tau"] * found["rise"] > 0 else 1.0
    return Case(claim, published, here, _SOURCE, (Part(rise.evidence(), least=0),), also=by_order)


def _thousandths(value: float) -> str:
    return f"{write_number(1000 * value, '.2f')}e-3"
