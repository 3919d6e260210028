"""What the best learning rate does with the rank, and beside that of full fine-tuning."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import from_error
from vxlab.studies.atlas.contrasts import ranked_families, slopes_by_task
from vxlab.studies.atlas.gather import AcrossTasks

RATE_COLUMNS = ["family", "targets", "what", "factor", "low", "high", "n", "edges", "of"]
PER_DOUBLING, OVER_FULL = "a doubling of the rank", "beside full fine-tuning's"
_FULL = "full fine-tuning"
_UNIFORM = 1 / math.sqrt(12)
"""the standard deviation of what is anywhere within one step"""


def best_rates(across: AcrossTasks) -> pd.DataFrame:
    """Return by what the chosen learning rate is multiplied where the rank is doubled, and how many times full's it is.

    Few rates are tried, so the best lies anywhere within half a step of the one that validation chose: each choice is
    known to one step / √12 in its logarithm. On each task a line is laid through log₂ of the chosen rates by log₂ of
    the rank; ratios to full fine-tuning's are geometric means over a family's ranks. Tasks count alike, with Student's
    interval over them. On one grid all tasks round the same way, so the error of the grid is added in squares, and more
    tasks do not make it smaller: rates that all stand on one point of the grid are not called equal.

    Returns:
        One row a family, its layers and ``what`` (a doubling of the rank, or beside full fine-tuning's): ``factor``
        with its 95 % interval, ``n`` tasks, and ``edges`` of ``of`` choices that lie on the edge of their range: there
        the best rate may lie further out. Candidates of which one rate alone was tried are in none of it.
    """
    scores = across.scores[(across.scores["learning_rate"] > 0) & (across.scores["step"] > 1)]
    scores = scores.assign(
        log=np.log2(scores["learning_rate"].astype(float)), error=_UNIFORM * np.log2(scores["step"].astype(float))
    )
    rows = []
    for (family, targets), own in ranked_families(scores):
        error = float(own["error"].max())
        found = [(slope, error / reach) for slope, reach in slopes_by_task(own, own["log"])]
        rows.append(_row(own, family, targets, PER_DOUBLING, found))
    full = scores[scores["family"] == _FULL]
    known = {str(row["task"]): (float(row["log"]), float(row["error"])) for row in full.to_dict("records")}
    for (name, places), own in scores[scores["rank"].notna()].groupby(["family", "targets"], sort=False):
        if found := list(_beside(own, known)):
            rows.append(_row(own, str(name), str(places), OVER_FULL, found))
    return pd.DataFrame(rows, columns=RATE_COLUMNS)


def _beside(own: pd.DataFrame, full: Mapping[str, tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield on each task that has both the logarithm of the ratio of rates, and its error."""
    for task, rows in own.groupby("task", sort=False):
        if str(task) in full:
            log, error = full[str(task)]
            yield float(rows["log"].mean() - log), math.hypot(error, float(rows["error"].max()) / math.sqrt(len(rows)))


def _row(own: pd.DataFrame, family: str, targets: str, what: str, found: list[tuple[float, float]]) -> list[object]:
    logs = np.array([value for value, _ in found])
    luck = float(logs.std(ddof=1)) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
    known = from_error(float(logs.mean()), math.hypot(luck, max(error for _, error in found)), len(logs) - 1)
    factors = [2**each for each in known[:3]]
    return [family, targets, what, *factors, len(logs), int((own["edge"] != "").sum()), len(own)]
