"""The cheapest candidate that may stand in for the highest: shown to lose less than a margin, or not told apart."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import pandas as pd

from vxlab.experiments.candidates.pairs import difference_in_words
from vxlab.experiments.candidates.rivals import Rival, not_worse, over_rivals


def cheapest(
    top: str, above: Container[str], rivals: Sequence[Rival], rows: Mapping[str, Any], metric: str, margin: float
) -> str:
    """Say which candidate is the cheapest that does as well as the highest, as far as the data say it.

    It is the cheapest of those that a test of non-inferiority shows to lose less than the margin, after Holm's
    correction over all rivals. Where none is shown to, the cheapest that cannot be told apart is named with how much
    worse it may be; or none, where even that is known less exactly than the margin.

    Args:
        top: the candidate of the highest mean.
        above: the candidates that are shown to beat the trivial answer: no other is named.
        rivals: every other candidate, less the highest.
        rows: of the summary, by candidate.
        metric: whose scores they are.
        margin: the loss that counts as none, as a fraction.
    """
    if not (rivals and _is_known(top, rows)):
        return ""
    known = [rival for rival in rivals if _is_known(rival.name, rows)]
    cheaper = [rival for rival in known if rows[rival.name]["backbone"] < rows[top]["backbone"]]
    full = f"{int(rows[top]['backbone']):,}"
    if not cheaper:
        return f"Nothing is cheaper: {top} trains {full} backbone parameters, the fewest."
    kept, loss = not_worse(rivals, margin), difference_in_words(margin, metric)
    if good := [rival for rival in cheaper if rival.name in kept and rival.name in above]:
        least = min(good, key=lambda rival: rows[rival.name]["backbone"])
        lead = f"The cheapest shown to be worse by less than {loss}{over_rivals(rivals)} is **{least.name}**"
        return f"{lead}: {_size(least.name, top, rows)}; its difference is {least.in_words(metric)}."
    if all(rival.seen and rival.difference < 0 for rival in cheaper):
        return f"Nothing cheaper does as well: {top} trains {full} backbone parameters."
    alike = [rival for rival in cheaper if not rival.seen and rival.name in above]
    if not alike:
        return "Nothing cheaper is shown to do as well."
    least = min(alike, key=lambda rival: rows[rival.name]["backbone"])
    half = (least.high - least.low) / 2
    if half > margin:
        width = difference_in_words(half, metric)
        return (
            f"Which is the cheapest that does as well cannot be said with these data: intervals of ±{width} are too "
            f"wide for a margin of {loss}."
        )
    lost = difference_in_words(max(-least.low, 0.0), metric)
    return (
        f"The cheapest that cannot be told from it is **{least.name}**: {_size(least.name, top, rows)}. The interval "
        f"lets it be up to {lost} worse, and it is not shown to be worse by less than {loss}."
    )


def _is_known(name: str, rows: Mapping[str, Any]) -> bool:
    return bool(pd.notna(rows[name]["backbone"]))


def _size(name: str, top: str, rows: Mapping[str, Any]) -> str:
    size, full = int(rows[name]["backbone"]), int(rows[top]["backbone"])
    return f"{size:,} trained backbone parameters, {100 * size / full:.3g} % of {top}'s {full:,}"
