"""What each method scores at each number of shots, and what it gains there over the frozen model's probe."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vxlab.adapters import Probe
from vxlab.errors import VxlabError
from vxlab.experiments.candidates import of_pair
from vxlab.experiments.scoring import LEVEL, compare_all, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import reported_runs

_SCORES = [
    "shots", "candidate", "method", "rank", "backbone", "head", "score", "low", "high", "n", "scores", "diverged",
    "learning_rate", "edge", "above",
]  # fmt: skip
_FAULTLESS = "a faultless answer\0"  # no candidate's name
_GAINS = ["shots", "candidate", "backbone", "probe", "gain", "low", "high", "p", "p_holm", "seen"]


def shot_scores(results: Mapping[int, Comparison]) -> pd.DataFrame:
    """Return one row a number of shots and candidate: its test score over the reported draws.

    Columns: ``shots``, ``candidate``, ``method``, ``rank``; ``backbone`` and ``head``, trained parameters; ``score``,
    the mean of its ``n`` reported runs, and ``scores``, theirs; ``low`` to ``high``, the score's 95 % interval over
    draws and test images, within what a score may be; ``diverged``, ``learning_rate``, ``edge`` and
    ``above`` of the sweep's summary.

    Args:
        results: of :func:`image_sweeps`, by number of shots.

    Raises:
        VxlabError: the sweeps were scored by different metrics, or on different test images.
    """
    _require_same_tests(results)
    rows = []
    for shots, result in results.items():
        ends = _intervals(result)
        for row in result.summary.to_dict("records"):
            low, high = ends.get(row["candidate"], (np.nan, np.nan))
            told = {name: row[name] for name in _SCORES if name in row}
            rows.append({"shots": shots, "score": row["mean"], "low": low, "high": high, **told})
    return pd.DataFrame(rows, columns=_SCORES)


def shot_gains(results: Mapping[int, Comparison]) -> pd.DataFrame:
    """Return one row a number of shots and candidate: its expected score less that of the frozen model's probe.

    Columns: ``shots``, ``candidate``, ``backbone`` (trained parameters there), ``probe`` (the probe's mean score),
    ``gain`` with its 95 % interval ``low`` to ``high``, over draws and test images, paired, and its two-sided ``p``;
    ``p_holm``, adjusted for all rows, and ``seen``, whether a gain is told from 0. No rows without a probe.

    Args:
        results: of :func:`image_sweeps`, by number of shots.
    """
    rows = []
    for shots, result in results.items():
        probe = next((name for name, each in result.fair.names.items() if isinstance(each.method, Probe)), None)
        if probe is None:
            continue
        means = result.summary.set_index("candidate")
        for name in (each for each in result.fair.names if each != probe and each in means.index):
            pair = of_pair(result.pairs, name, probe)
            rows.append({
                "shots": shots, "candidate": name, "backbone": means.loc[name, "backbone"],
                "probe": means["mean"].get(probe, np.nan), "gain": pair["difference"], "low": pair["low"],
                "high": pair["high"], "p": pair["p"],
            })  # fmt: skip
    table = pd.DataFrame(rows, columns=_GAINS)
    adjusted = holm(table["p"].to_numpy(dtype=float))
    return table.assign(p_holm=adjusted, seen=adjusted <= LEVEL)


def _intervals(result: Comparison) -> dict[str, tuple[float, float]]:
    """Return each candidate's 95 % interval: that of its score less a faultless answer's, which is 1."""
    runs = reported_runs(result)
    fixed = [str(row["candidate"]) for row in result.summary.to_dict("records") if row["fixed"]]
    compared = compare_all(
        {**runs.predictions, _FAULTLESS: {0: runs.labels}}, runs.labels, result.metric, units=runs.units,
        fixed=[*fixed, _FAULTLESS], drawn=runs.drawn,
    )  # fmt: skip
    found = {name: compared[name, _FAULTLESS] for name in runs.predictions}
    return {name: (max(0.0, 1 + each.low), min(1.0, 1 + each.high)) for name, each in found.items()}


def _require_same_tests(results: Mapping[int, Comparison]) -> None:
    first, *others = results.values()
    truth = reported_runs(first).labels
    for shots, other in zip(list(results)[1:], others, strict=True):
        if other.metric != first.metric or not np.array_equal(reported_runs(other).labels, truth):
            raise VxlabError(
                f"{shots} shots were tested on other images, or by another metric, than {next(iter(results))}; compare "
                "sweeps of one task"
            )
