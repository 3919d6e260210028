"""What over tasks becomes of rank within a family, and of which layers it is on at equal parameters."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from vxlab.experiments import NO_LAYERS
from vxlab.experiments.candidates import matched_pairs
from vxlab.experiments.scoring import LEVEL, Evidence, holm, of_mean
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.pooled import of_two, pool_pair

RANK_COLUMNS = [
    "family", "targets", "ranks", "doubling", "doubling_low", "doubling_high", "ends", "low", "high", "p", "p_holm",
    "seen", "n",
]  # fmt: skip
LAYER_COLUMNS = [
    "family", "a", "b", "ratio", "difference", "low", "high", "p", "p_holm", "seen", "n",
]  # fmt: skip


def rank_effects(across: AcrossTasks) -> pd.DataFrame:
    """Return what a higher rank is worth within each family, on the same layers.

    On each task the mean scores are fitted by a line in log₂ of the rank: its slope is what a doubling of the rank is
    worth there. Slopes of the tasks, of which each counts alike, give Student's interval; a task on which the family
    has fewer than two ranks does not count.

    Returns:
        One row a family and its layers with two ranks or more: ``family``, ``targets``, ``ranks``; ``doubling`` with
        its 95 % interval; ``ends``, the highest rank less the lowest, with ``low``, ``high`` and ``p`` as
        :func:`pool_pair` has them, ``p_holm`` and ``seen`` after Holm over the rows; ``n`` tasks of it.
    """
    rows = []
    for (family, targets), own in ranked_families(across.scores):
        ranks = sorted(own["rank"].unique())
        slopes = of_mean(np.array([slope for slope, _ in slopes_by_task(own, own["mean"])]))
        names = [own.loc[own["rank"] == rank, "candidate"].iloc[0] for rank in (ranks[-1], ranks[0])]
        found = pool_pair(across, *names)[0].evidence
        rows.append([
            family, targets, tuple(int(rank) for rank in ranks), *slopes[:3], *found[:3], _p(found), math.nan, False,
            found.units,
        ])  # fmt: skip
    return _judged(pd.DataFrame(rows, columns=RANK_COLUMNS))


def layer_effects(across: AcrossTasks) -> pd.DataFrame:
    """Compare a family on more layers with itself on fewer, at like numbers of trained parameters.

    Two candidates of a family on different layers are a pair where each is the other's nearest in parameters and has at
    most twice the other's: on more layers a rank costs more, so it is a lower rank on more layers against a higher one
    on fewer. Of a family with several pairs a last row has the mean over them, each task counting alike.

    Returns:
        One row a pair, ``a`` being on the layers that cost more at a rank: ``family``, ``a``, ``b``, ``ratio`` (of
        their parameters), ``difference``, ``low``, ``high``, ``p``, ``n`` as :func:`pool_pair` has them; ``p_holm``
        and ``seen`` after Holm over the pairs. Rows of means have ``a`` "mean of the pairs" and no p-value of their
        own.
    """
    rows, means = [], []
    for family, own in across.scores[across.scores["targets"] != NO_LAYERS].groupby("family", sort=False):
        pairs = list(_matched(own))
        for a, b, ratio in pairs:
            found = pool_pair(across, a, b)[0].evidence
            rows.append([family, a, b, ratio, *found[:3], _p(found), math.nan, False, found.units])
        if len(pairs) > 1:
            found = of_mean(np.array([mean for mean in _mean_by_task(across, pairs) if not math.isnan(mean)]))
            blank = [math.nan, math.nan, False]
            means.append([family, MEAN_OF_PAIRS, "", math.nan, *found[:3], *blank, found.units])
    judged = _judged(pd.DataFrame(rows, columns=LAYER_COLUMNS))
    return pd.concat([judged, pd.DataFrame(means, columns=LAYER_COLUMNS)], ignore_index=True) if means else judged


MEAN_OF_PAIRS = "mean of the pairs"


def slopes_by_task(own: pd.DataFrame, values: "pd.Series[float]") -> list[tuple[float, float]]:
    """Return for each task the slope of some values in log₂ of the rank, and how far they reach: √Σ (x − mean x)².

    A value's error, divided by the reach, is the slope's. Tasks with one rank are left out.

    Args:
        own: rows of the scores, of one family and its layers.
        values: of these rows.
    """
    found = []
    for _, rows in own.assign(value=values).dropna(subset=["value"]).groupby("task", sort=False):
        if rows["rank"].nunique() > 1:
            x = np.log2(rows["rank"].to_numpy(dtype=np.float64))
            y = rows["value"].to_numpy(dtype=np.float64)
            reach = float(((x - x.mean()) ** 2).sum())
            found.append((float(((x - x.mean()) * y).sum()) / reach, math.sqrt(reach)))
    return found


def ranked_families(scores: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield family and layers with their rows of the scores, where it has two ranks or more."""
    ranked = scores[scores["rank"].notna()]
    for (family, targets), own in ranked.groupby(["family", "targets"], sort=False):
        # Settings beside the rank, such as alpha, make other candidates of the same rank: no line through them.
        alone = own.groupby("rank")["candidate"].nunique().max() == 1
        if own["rank"].nunique() > 1 and alone:
            yield (str(family), str(targets)), own


def _matched(own: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Yield the pairs of a family's candidates on different layers, the costlier layers first."""
    each = own.drop_duplicates("candidate")[["candidate", "targets", "rank", "backbone"]]
    price = (each["backbone"] / each["rank"].astype("Float64").fillna(1)).groupby(each["targets"]).min()
    layers_of = dict(zip(each["candidate"], each["targets"], strict=True))
    for a, b, ratio in matched_pairs(each.assign(method=each["targets"])):
        if price[layers_of[a]] >= price[layers_of[b]]:
            yield a, b, ratio
        else:
            yield b, a, 1 / ratio


def _mean_by_task(across: AcrossTasks, pairs: list[tuple[str, str, float]]) -> list[float]:
    """Return of each task that has all pairs the mean of their differences."""
    several = [of_two(across, a, b).set_index("task")["difference"] for a, b, _ in pairs]
    together: pd.DataFrame = pd.concat(several, axis=1).dropna()
    return [float(mean) for mean in together.mean(axis=1)]


def _p(found: Evidence) -> float:
    return 2 * min(found.tails(0))


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    table["p_holm"] = holm(table["p"].to_numpy(dtype=np.float64))
    table["seen"] = table["p_holm"] <= LEVEL
    return table
