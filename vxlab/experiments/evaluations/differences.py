"""Differences to the untuned base on the same items, by the statistics that runs on one task are compared with."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vxlab.errors import VxlabError
from vxlab.experiments import Evaluation
from vxlab.experiments.scoring import COLUMNS, WIDTH, Difference, compare_all

_SHARE, _MEAN = "exact_match", "log_likelihood"
"""Metrics of scoring that are means over items: of those right or wrong, and of any numbers."""
_BASE = "untuned base"


def paired_differences(
    candidates: Mapping[str, Mapping[int, Evaluation]], base: Evaluation, metric: str
) -> dict[str, Difference]:
    """Return by candidate its mean score less the base's, with a 95 % interval and a p-value.

    Over the items, on which all are paired, and where some candidate has several seeds over those, too
    (:func:`vxlab.experiments.scoring.compare_all`). Of a metric that is no mean of items there is no interval, and no
    p-value.

    Args:
        candidates: name to its evaluations by seed.
        base: of the untuned model, on the same task with the same settings.
        metric: with its filter, such as ``acc,none``.

    Raises:
        VxlabError: some were evaluated on other items than the base.
    """
    everyone = [base, *(one for seeds in candidates.values() for one in seeds.values())]
    for one in everyone:
        _require_same_items(one, base)
    columns = [one.items.get(metric) for one in everyone]
    if any(column is None or len(column) < 2 for column in columns) or not _alike_in_gaps(columns):
        return {name: _without_interval(seeds, base, metric) for name, seeds in candidates.items()}
    share = all(np.isin(column[~np.isnan(column)], (0, 1)).all() for column in columns if column is not None)
    name_of_scoring = _SHARE if share else _MEAN
    statistics = {
        name: {seed: _statistics(one.items[metric], name_of_scoring) for seed, one in seeds.items()}
        for name, seeds in candidates.items()
    } | {_BASE: {0: _statistics(base.items[metric], name_of_scoring)}}
    items = len(statistics[_BASE][0])
    found = compare_all(statistics, np.zeros(items), name_of_scoring, fixed=(_BASE,))
    return {name: found[name, _BASE] for name in candidates}


def _require_same_items(one: Evaluation, base: Evaluation) -> None:
    if one.task != base.task or one.documents != base.documents:
        raise VxlabError(
            f"{one.task} of {one.run[:12] or one.model} and {base.task} of {base.run[:12] or base.model} are of other "
            f"items ({len(one.documents)} and {len(base.documents)}), so they cannot be paired; evaluate both with one "
            "limit, on the same documents"
        )


def _alike_in_gaps(columns: "list[NDArray[np.float64] | None]") -> bool:
    gaps = [np.isnan(column) for column in columns if column is not None]
    return all(np.array_equal(gap, gaps[0]) for gap in gaps) and bool((~gaps[0]).sum() > 1)


def _statistics(values: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return (items, columns) rows of which scoring's metric is the mean of the values."""
    known = values[~np.isnan(values)]
    rows = np.zeros((len(known), WIDTH))
    rows[:, COLUMNS[metric]] = np.stack([known, np.ones(len(known))], axis=1)
    return rows


def _without_interval(seeds: Mapping[int, Evaluation], base: Evaluation, metric: str) -> Difference:
    nan = float("nan")
    mean = float(np.mean([one.scores.get(metric, nan) for one in seeds.values()]))
    return Difference(mean - base.scores.get(metric, nan), nan, nan, nan, covers_seeds=False)
