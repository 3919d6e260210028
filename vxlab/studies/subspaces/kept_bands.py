"""What the answers of a truncated model score, and how much of what training taught a band keeps."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import Array, Evidence, compute, from_draws, interval, resample, units_of
from vxlab.experiments.tasks.kinds import GENERATION
from vxlab.studies.subspaces.truncation import REMOVED, STATE, UNTOUCHED

_RESAMPLES = 2000


def truncation_scores(answers: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Score every state of the model, and its difference to the untouched one on the same items.

    Args:
        answers: from :func:`vxlab.studies.subspaces.truncated_answers`, several joined where they are of one run.
        metric: one of :func:`vxlab.experiments.scoring.metrics.compute`.

    Returns:
        One row a state, in the order of the answers: ``what``, ``role``, ``band``, ``fraction``; ``score`` with its
        95 % interval over the items' units, ``low`` and ``high``; and ``difference`` to the untouched model with its
        paired interval, ``difference_low`` and ``difference_high``, each for itself.
    """
    bands = KeptBands(answers, metric)
    return pd.DataFrame([_scored(bands, *state) for state in bands.answers])


def kept_shares(answers: pd.DataFrame, fraction: float, *, metric: str, trivial: float) -> pd.DataFrame:
    """Return what each band of one size keeps, role by role, as :class:`KeptBands` counts it.

    Args:
        answers: as :func:`truncation_scores` takes them.
        fraction: of the triplets, as asked for.
        metric: the score.
        trivial: what the simplest answer scores.

    Returns:
        One row a role and band, and one a role for what is left without any (``removed``): ``what``, ``role``,
        ``band``, ``share``, ``low``, ``high``.
    """
    bands = KeptBands(answers, metric, trivial)
    wanted = [state for state in bands.answers if state[3] == fraction or state[2] == REMOVED]
    rows = [
        (what, role, band, *bands.share([role], band, [size], what)[:3])
        for what, role, band, size in wanted
        if band != UNTOUCHED
    ]
    return pd.DataFrame(rows, columns=["what", "role", "band", "share", "low", "high"])


class _Shares(NamedTuple):
    value: float
    draws: Array
    """of the bootstrap"""
    gain: float
    """of the untouched model over the simplest answer, by which all is divided"""


class KeptBands:
    """How much of the gain of fine-tuning is left where weights or updates are cut to a band of their triplets.

    The share that is kept is (score of the band - trivial) / (score untouched - trivial), with a bootstrap over the
    items' units, in which all scores share the items.

    Args:
        answers: as :func:`truncation_scores` takes them.
        metric: the score.
        trivial: what the simplest answer scores; where the model writes, rather what the untuned base does, for of the
            gain over token frequencies most is what pretraining taught.
    """

    def __init__(self, answers: pd.DataFrame, metric: str, trivial: float = 0.0) -> None:
        ordered = answers.sort_values("item", kind="stable")
        self.metric, self.trivial = metric, trivial
        order = list(dict.fromkeys(answers[STATE].itertuples(index=False, name=None)))
        groups = dict(iter(ordered.groupby(STATE, sort=False)))
        columns = [name for name in GENERATION.answer_columns if name in answers]
        self.summed = len(columns) > 1
        """whether the answers are sums, such as of log-probabilities, and not each one of a few classes"""
        self.answers = {state: groups[state][columns if self.summed else columns[0]].to_numpy() for state in order}
        first = groups[order[0]]
        self.labels = first["label"].to_numpy()
        self.units = units_of(first["unit"].to_numpy(), len(self.labels))
        if any(not np.array_equal(rows["item"], first["item"]) for rows in groups.values()):
            raise VxlabError("the answers are to different test items, so their scores cannot be paired; ask the same")
        self._draws: dict[tuple[Any, ...], Array] = {}

    def share(self, roles: Sequence[str], band: str, fractions: Sequence[float], what: str = "weight") -> Evidence:
        """Return the share that a band keeps, as a mean over roles, one cut at a time, and sizes.

        Args:
            roles: one or more.
            band: ``top``, ``middle``, ``bottom``, ``random`` or ``removed``.
            fractions: of the triplets, as asked for, one or more.
            what: ``weight`` or ``update``.

        Returns:
            The share; NaN where the untouched model is not above the simplest answer by more than its own noise.
        """
        return self.evidence(*self._shares(roles, band, fractions, what))

    def contrast(
        self,
        first: Sequence[str],
        second: Sequence[str],
        band: str,
        fractions: Sequence[float],
        *,
        what: str = "weight",
        against: str | None = None,
    ) -> Evidence:
        """Return the share kept in some roles less that kept in others, paired over the items' units.

        Args:
            first: roles.
            second: other roles, or the same where the bands differ.
            band: as :meth:`share` takes it, and what follows.
            fractions: of the triplets.
            what: ``weight`` or ``update``.
            against: the second roles' band, or ``removed``; None takes the first ones'.
        """
        other = against or band
        a = self._shares(first, band, fractions, what)
        b = self._shares(second, other, [0.0] if other == REMOVED else fractions, what)
        return self.evidence(a.value - b.value, a.draws - b.draws, a.gain)

    def score(self, *state: Any) -> float:
        return compute([self.metric], self._of(state), self.labels)[self.metric]

    def draws(self, *state: Any) -> Array:
        """Return scores of bootstrap resamples, the same units in each state's."""
        if state not in self._draws:
            self._draws[state] = resample(self.metric, self._of(state), self.labels, _RESAMPLES, self.units.of)
        return self._draws[state]

    def evidence(self, value: float, draws: Array, gain: float = 1.0) -> Evidence:
        """Return a value's evidence, as if two items more had been answered differently, one each way.

        Where two states answer alike the bootstrap sees no noise at all, and a difference of one item would count as
        seen. Where items of one unit go together, so would these two with theirs: they count as often as the design
        effect of the untouched model's score says. Sums of log-probabilities differ with every change of the weights,
        and need none of this. Source: Agresti and Min, Effects and non-effects of paired identical observations (2004).
        """
        more = 0.0 if self.summed else math.sqrt(2) * self._together / (len(self.labels) * gain)
        return from_draws(value, draws, round(self.units.freedom(self._together)) + 1, more)

    @cached_property
    def _together(self) -> float:
        if self.units.single:
            return 1.0
        whole = next(state for state in self.answers if state[2] == UNTOUCHED)
        by_item = resample(self.metric, self._of(whole), self.labels, _RESAMPLES)
        return self.units.design_effect(float(np.var(self.draws(*whole))), float(np.var(by_item)))

    def _shares(self, roles: Sequence[str], band: str, fractions: Sequence[float], what: str) -> _Shares:
        whole = (what, "", UNTOUCHED, 1.0)
        gain, gains = self.score(*whole) - self.trivial, self.draws(*whole) - self.trivial
        if not np.quantile(gains, 0.025) > 0:
            return _Shares(float("nan"), np.full(_RESAMPLES, np.nan), 1.0)
        cut = [(what, role, band, fraction) for role in roles for fraction in fractions]
        share = np.mean([self.score(*state) - self.trivial for state in cut]) / gain
        draws = np.mean([self.draws(*state) - self.trivial for state in cut], axis=0) / gains
        return _Shares(float(share), draws, gain)

    def _of(self, state: tuple[Any, ...]) -> Array:
        if state not in self.answers:
            what, role, band, fraction = state
            whose = f"{role} {what}s" if role else f"{what}s"
            raise VxlabError(f"there are no answers with the {band} {fraction:g} of the {whose}; ask for them first")
        return self.answers[state]


def _scored(bands: KeptBands, what: str, role: str, band: str, fraction: float) -> dict[str, Any]:
    state, whole = (what, role, band, fraction), (what, "", UNTOUCHED, 1.0)
    low, high = interval(bands.metric, bands.answers[state], bands.labels, units=bands.units.of)
    score = bands.score(*state)
    difference = score - bands.score(*whole)
    below, above = 0.0, 0.0
    if state != whole:
        _, below, above = bands.evidence(difference, bands.draws(*state) - bands.draws(*whole))[:3]
    return {
        **dict(zip(STATE, state, strict=True)), "score": score, "low": low, "high": high,
        "difference": difference, "difference_low": below, "difference_high": above,
    }  # fmt: skip
