"""Sentences computed from truncated models, from where updates lie, and from what bases can follow."""

import math

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import Evidence, over_units
from vxlab.studies.subspaces.kept_bands import KeptBands
from vxlab.studies.subspaces.truncation import EVERY


def kept_sentence(answers: pd.DataFrame, *, metric: str, trivial: float) -> str:
    """Say how much of the gain is left where all roles at once are cut to their top triplets, in Markdown.

    Args:
        answers: of the weights or of the updates, from :func:`vxlab.studies.subspaces.truncation.truncated_answers`.
        metric: the score.
        trivial: what the simplest answer scores.
    """
    what = str(answers["what"].iloc[0])
    cut = answers[(answers["role"] == EVERY) & (answers["band"] == "top")]
    told, bands = [], KeptBands(answers, metric, trivial)
    for fraction in sorted(cut["fraction"].unique()):
        kept = bands.share([EVERY], "top", [fraction], what)
        if math.isnan(kept.low):
            return "The model has no gain over the trivial answer that these items show, so no band can keep any."
        told.append(f"the top {100 * fraction:.3g} % keep **{kept.in_words('.0%', '**')}")
    whole = "every update" if what == "update" else "every weight"
    items, units = answers["item"].nunique(), answers["unit"].nunique()
    on = f"{items:,} test items" + (f" of {units:,} independent units" if units < items else "")
    return f"Of {whole} at once, {', '.join(told)} of the gain, on {on}." if told else ""


def lying_sentence(energies: pd.DataFrame, update: str, fraction: float) -> str:
    """Say how an update is spread over W's bands, as multiples of chance, the mean over layers with its interval.

    Args:
        energies: from :func:`vxlab.studies.subspaces.tables.band_energies`.
        update: whose.
        fraction: of the triplets of W that a band holds.
    """
    own = energies[(energies["update"] == update) & np.isclose(energies["fraction"], fraction)]
    bands = {
        str(band): over_units(rows["both"] / rows["chance_both"]) for band, rows in own.groupby("band", sort=False)
    }
    told = [
        f"the {band} {100 * fraction:.3g} % of W **{_times(found, '** times')}"
        for band, found in bands.items()
        if not math.isnan(found.value)
    ]
    if not told:
        return f"{update} changed no weight."
    layers = own["layer"].nunique()
    over = f"the mean of {layers} layers with its 95 % interval as if these were independent"
    over = over if layers > 1 else "of one layer"
    return f"Of what chance would put there, {update} puts into {', into '.join(told)}; {over}."


def capture_sentence(captured: pd.DataFrame, rank: int) -> str:
    """Say which bases hold more of the first gradient than chance, at one rank: means over layers, with intervals.

    Args:
        captured: from :func:`vxlab.studies.subspaces.capture.band_capture`.
        rank: one of its ranks.
    """
    own = captured[captured["rank"] == rank].groupby("family", sort=False)
    bases = {str(family): over_units(rows["share"] / rows["chance"]) for family, rows in own}
    told = {family: found for family, found in bases.items() if not math.isnan(found.value)}
    if not told:
        return ""
    ordered = sorted(told, key=lambda family: -told[family].value)
    listed, layers = ", ".join(f"{each} {_times(told[each])}" for each in ordered), captured["layer"].nunique()
    over = f"; means of {layers} layers, intervals as if these were independent" if layers > 1 else "; of one layer"
    return f"At r={rank} the first gradient's energy in each basis, as a multiple of chance: {listed}{over}."


def _times(found: Evidence, after: str = "") -> str:
    return found.in_words(lambda value: f"{value:,.2g}", after)
