"""Which candidates are shown to score above the simplest answer of all."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from vxlab.experiments.scoring.formulas import Array
from vxlab.experiments.scoring.significance import LEVEL, NO_DRAWS, Runs, compare_all, holm

_TRIVIAL = "the trivial answer\0"  # no candidate's name
_RAISED_BY_GUESSING = ("f1", "f1_macro")


class AgainstTrivial(NamedTuple):
    """A candidate's expected score less the trivial answer's, with its 95 % interval."""

    difference: float
    low: float
    high: float
    p: float
    """one-sided: small where the candidate scores more"""
    p_holm: float
    """adjusted for all candidates"""
    covers_seeds: bool
    """whether all this allows for other training seeds (and draws), or for other test items alone"""

    @property
    def beaten(self) -> bool:
        """Whether the candidate is shown to score above the trivial answer, at 5 % over all candidates."""
        return self.p_holm <= LEVEL


def against_trivial(
    predictions: Mapping[str, Runs],
    labels: Array,
    metric: str = "accuracy",
    *,
    constant: float | Array,
    units: Array | None = None,
    fixed: Collection[str] = (),
    drawn: Mapping[str, float] = NO_DRAWS,
) -> dict[str, AgainstTrivial]:
    """Compare every candidate with one constant answer, on the same items, units and seeds.

    The chance that any of several candidates that score no more than the trivial answer is said to beat it is at most
    5 % (Holm's correction of one-sided tests). With a correlation, a constant answer scores 0. An F1 rises above a
    constant answer's by guessing at random, so there ``p`` is the larger of its own and that of a Matthews correlation
    above 0.

    Args:
        predictions: as :func:`vxlab.experiments.scoring.significance.compare_all` takes them.
        labels: (items,) class ids or targets.
        metric: one of :func:`vxlab.experiments.scoring.metrics.compute`.
        constant: the trivial answer: the training set's most frequent class, or its mean target; of texts the
            (items, columns) statistics of a run that learned nothing, such as the untrained model's.
        units: as :func:`vxlab.experiments.scoring.significance.compare_all`.
        fixed: as :func:`vxlab.experiments.scoring.significance.compare_all`.
        drawn: as :func:`vxlab.experiments.scoring.significance.compare_all`.

    Returns:
        Each candidate's; NaN, and not ``beaten``, where it has no finished run.

    Raises:
        VxlabError: as :func:`vxlab.experiments.scoring.significance.compare_all`.

    >>> labels = np.arange(400) % 2
    >>> good = {seed: np.where(np.arange(400) % 20 == seed, 1 - labels, labels) for seed in range(3)}
    >>> found = against_trivial({"good": good, "constant": {0: 0 * labels}}, labels, constant=0)
    >>> [(name, each.beaten) for name, each in found.items()]
    [('good', True), ('constant', False)]
    """
    trivial = constant if isinstance(constant, np.ndarray) else np.full(len(labels), constant)
    with_trivial: dict[str, Runs] = {**predictions, _TRIVIAL: {0: trivial}}
    compared = compare_all(with_trivial, labels, metric, units=units, fixed=[*fixed, _TRIVIAL], drawn=drawn)
    pairs = {name: compared[name, _TRIVIAL] for name in predictions}
    p = [pair.evidence().tails(0)[0] for pair in pairs.values()]
    if metric in _RAISED_BY_GUESSING:
        more = against_trivial(
            predictions, labels, "matthews", constant=constant, units=units, fixed=fixed, drawn=drawn
        )
        p = [max(one, more[name].p) for name, one in zip(pairs, p, strict=True)]
    return {
        name: AgainstTrivial(*pair[:3], one, float(adjusted), pair.covers_seeds)
        for (name, pair), one, adjusted in zip(pairs.items(), p, holm(p), strict=True)
    }
