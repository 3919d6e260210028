"""What a trained update scores at each share of its energy, and which ranks would have been enough."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pandas as pd

from vxlab.experiments.candidates import (
    MARGIN,
    checked_margin,
    difference_in_words,
    interval_in_words,
    score_in_words,
)
from vxlab.experiments.scoring import LEVEL, from_error, in_words, noninferiority_p
from vxlab.words import number_of


@dataclass(frozen=True, eq=False)
class Shrunk:
    """What is left of a trained update's score at each share of its energy; :func:`vxlab.shrink` makes it."""

    label: str
    """of the run's method"""
    metric: str
    """the score: the task's first"""
    by_term: bool
    """whether VeRA's own terms were dropped, and not singular values"""
    scores: pd.DataFrame
    """a row a share, the whole update first: ``share``; ``kept``, how many singular values (or terms) of all layers;
    ``rank_min``, ``rank_median`` and ``rank_max`` of the layers' ranks, 0 of a layer that goes without;
    ``parameters``, Σ r·(in + out) of a LoRA of these ranks; ``own_parameters`` in the method's own form, NaN where it
    keeps none; ``score`` on the test split; ``difference`` to the whole, paired over the test items or their units,
    with ``low`` and ``high`` of its 95 % interval, ``p``, and the ``error`` and ``freedom`` that these follow from"""
    ranks: pd.DataFrame
    """a row a layer and share: ``layer, block, role``; ``trained``, its rank; ``share``; ``kept``, what is left"""

    def sentence(self, margin: float = MARGIN) -> str:
        """Say which ranks would have been enough, and how surely.

        Shares are tried from the largest down, and the first that fails ends the search, so that none of several tests
        passes by luck. Enough is a score that is surely (one-sided, at 5 %) no more than the margin below the whole's.
        Where no share shows that, it is said which are merely not told from the whole, which few test items make easy.

        Args:
            margin: the largest loss that does not matter, in the score's unit: 0.02 is 2 points of accuracy.

        Raises:
            VxlabError: the margin is not above 0.
        """
        margin = checked_margin(margin)
        whole, *cut = self.scores.to_dict("records")
        score = f"{in_words(self.metric)} {score_in_words(whole['score'], self.metric)}"
        before, within = f"{self.label}, {score}", difference_in_words(margin, self.metric)
        held = self._counted(whole)
        if enough := _passing(cut, lambda row: _is_sure(row, margin)):
            return f"{before}: of {held}, {self._told(enough[-1])} would have been enough, surely within {within}."
        if alike := _passing(cut, lambda row: not row["p"] <= LEVEL):
            return (
                f"{before}: of {held}, {self._told(alike[-1])} cannot be told from the whole, but on this test set no "
                f"share that was tried is surely within {within}."
            )
        return f"{before}: of {held}, no share that was tried would have been enough."

    def _counted(self, row: Mapping[Any, Any]) -> str:
        return number_of(int(row["kept"]), "term" if self.by_term else "singular value")

    def _told(self, row: Mapping[Any, Any]) -> str:
        low, middle, high = (f"{row[f'rank_{which}']:g}" for which in ("min", "median", "max"))
        return (
            f"{int(row['kept']):,} ({100 * row['share']:g} % of the energy; ranks {low} to {high} by layer, median "
            f"{middle}; {difference_in_words(row['difference'], self.metric)}, "
            f"{interval_in_words(row['low'], row['high'], self.metric)})"
        )


def _passing(rows: Sequence[Mapping[Any, Any]], passes: Callable[[Mapping[Any, Any]], bool]) -> list[Mapping[Any, Any]]:
    """Return the rows before the first that does not pass."""
    return list(takewhile(passes, rows))


def _is_sure(row: Mapping[Any, Any], margin: float) -> bool:
    return noninferiority_p(from_error(row["difference"], row["error"], row["freedom"]), margin) <= LEVEL
