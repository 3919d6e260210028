"""What was measured of a quantity, and how surely that lies above or below a bound."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, ndtri, stdtr, stdtrit

from vxlab.experiments.scoring.formulas import Array
from vxlab.words import write_number

Tails = Callable[[float], tuple[float, float]]
"""Of a bound: the one-sided p-values of "the quantity is at most the bound" and of "it is at least the bound"."""


class Evidence(NamedTuple):
    """A value, its 95 % interval, and the tests that the interval comes from."""

    value: float
    low: float
    high: float
    """NaN, as ``low``, where too little was measured for an interval"""
    tails: Tails
    units: int = 0
    """independent ones that the interval is over, where it says so"""

    def in_words(
        self, write: str | Callable[[float], str] = ".3f", after: str = "", *, over: str = "", without: str = ""
    ) -> str:
        """Return the value and in brackets its interval, or what stands there where none could be had.

        Args:
            write: the format of a number, or what writes one.
            after: what follows the value, such as its unit.
            over: what the interval is over, behind it.
            without: what is in brackets where there is no interval.

        >>> from_error(0.03, 0.013, 40).in_words("+.2f", " points", over="3 seeds")
        '+0.03 points (+0.00 to +0.06, 3 seeds)'
        >>> no_evidence(0.5).in_words(), no_evidence(0.5).in_words(without="1 seed")
        ('0.500', '0.500 (1 seed)')
        """
        value, low, high = (write_number(x, write) if isinstance(write, str) else write(x) for x in self[:3])
        inside = without if math.isnan(self.low) else f"{low} to {high}" + (f", {over}" if over else "")
        return f"{value}{after}" + (f" ({inside})" if inside else "")


def no_evidence(value: float = math.nan, units: int = 0) -> Evidence:
    """Return evidence that decides nothing."""
    return Evidence(value, math.nan, math.nan, lambda bound: (math.nan, math.nan), units)


def exact_evidence(value: float) -> Evidence:
    """Return evidence that is free of noise: what was counted, and is the same each time."""
    return Evidence(value, value, value, lambda bound: _of_side(value, bound))


def from_error(value: float, error: float, freedom: float, units: int = 0) -> Evidence:
    """Return Student's evidence: value ± t·error.

    Args:
        value: the estimate.
        error: its standard error.
        freedom: degrees of freedom of the error.
        units: that it is over.

    >>> found = from_error(0.03, 0.013, 40)
    >>> round(found.low, 3), round(found.high, 3), round(2 * found.tails(0)[0], 3)
    (0.004, 0.056, 0.026)
    """
    if math.isnan(value) or math.isnan(error) or math.isnan(freedom):
        return no_evidence(value, units)
    if not error > 0:
        return exact_evidence(value)._replace(units=units)

    def tails(bound: float) -> tuple[float, float]:
        t = (value - bound) / error
        return float(stdtr(freedom, -t)), float(stdtr(freedom, t))

    half = float(stdtrit(freedom, 0.975)) * error
    return Evidence(value, value - half, value + half, tails, units)


def from_interval(value: float, low: float, high: float, freedom: float, units: int = 0) -> Evidence:
    """Return the evidence that a Student's 95 % interval shows: its half width is t·error."""
    return from_error(value, (high - low) / 2 / float(stdtrit(freedom, 0.975)), freedom, units)


def over_units(values: Iterable[float]) -> Evidence:
    """Return the evidence of a mean of independent values, as ``bootstrap_interval`` has its interval.

    Args:
        values: one a unit that was drawn independently; NaN are left out.
    """
    from vxlab.analysis import FEW, resampled_means

    known = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    n = len(known)
    return of_mean(known) if n < FEW else from_draws(float(known.mean()), resampled_means(known), n)


def of_mean(values: Array) -> Evidence:
    """Return Student's evidence of a mean of independent values; of one value there is none."""
    n = len(values)
    if n < 2:
        return no_evidence(float(values[0]) if n else math.nan, n)
    return from_error(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n - 1, n)


def from_draws(value: float, draws: Array, units: int, more: float = 0.0) -> Evidence:
    """Return the evidence of a bootstrap: percentiles taken further out, as Student's t is.

    Args:
        value: the estimate.
        draws: (resamples,) of it.
        units: independent ones that were resampled.
        more: a standard error that the bootstrap cannot see, added in squares.
    """
    from vxlab.analysis import expanded_tail

    if not np.isfinite(draws).all() or units < 2:
        return no_evidence(value)
    ordered = np.sort(draws)
    if not more > 0 and ordered[0] == ordered[-1]:
        return exact_evidence(value)

    def reach(tail: float, side: int) -> float:
        """Return how far the one-sided limit of a tail lies from the value."""
        share = expanded_tail(tail, units)
        drawn = side * (float(np.quantile(ordered, share if side < 0 else 1 - share)) - value)
        return math.hypot(max(drawn, 0.0), float(ndtri(1 - tail)) * more)

    def tail_beyond(distance: float, side: int) -> float:
        """Return the tail whose limit lies so far from the value; no less than the draws can show."""
        low, high = 1 / (1 + len(ordered)), 0.5
        for _ in range(30):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if reach(middle, side) > distance else (low, middle)
        return high

    def tails(bound: float) -> tuple[float, float]:
        if bound == value:
            return 0.5, 0.5
        tail = tail_beyond(abs(bound - value), -1 if bound < value else 1)
        return (tail, 1 - tail) if bound < value else (1 - tail, tail)

    return Evidence(value, value - reach(0.025, -1), value + reach(0.025, 1), tails)


def of_median(values: Sequence[float] | Array) -> Evidence:
    """Return the evidence of a median, whatever the values' distribution: the sign test and its interval.

    The interval's ends are order statistics: of seven values the least and the largest, which cover the median 98.4
    times in 100; fewer than six have none, for no two of them do so 95 times.

    Args:
        values: independent, such as ratios of interleaved rounds.

    Source: Conover, Practical Nonparametric Statistics (1999), sections 3.2 and 3.4.

    >>> found = of_median([1.1, 1.2, 1.3, 1.2, 1.1, 1.4, 1.2])
    >>> found.value, found.low, found.high, found.tails(1)[0]
    (1.2, 1.1, 1.4, 0.0078125)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n or not np.isfinite(ordered).all():
        return no_evidence()

    def tails(bound: float) -> tuple[float, float]:
        above, below = int((ordered > bound).sum()), int((ordered < bound).sum())
        return float(bdtr(n - above, n, 0.5)), float(bdtr(n - below, n, 0.5))

    outside = sum(2 * bdtr(k, n, 0.5) <= 0.05 for k in range(n // 2))  # values beyond each end of the interval, and it
    low, high = (float(ordered[outside - 1]), float(ordered[n - outside])) if outside else (math.nan, math.nan)
    return Evidence(float(np.median(ordered)), low, high, tails)


def _of_side(value: float, bound: float) -> tuple[float, float]:
    if value == bound:
        return 0.5, 0.5
    return (0.0, 1.0) if value > bound else (1.0, 0.0)
