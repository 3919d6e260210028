"""Show that two candidates differ by less than a margin; that a difference was not seen shows nothing of the kind."""

import math

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.significance import Difference


def equivalence_p(comparison: Difference, margin: float) -> float:
    """Return the p-value of the two one-sided tests: small where the two surely differ by less than a margin.

    p ≤ 0.05 where, and only where, the difference's 90 % interval lies within ±margin. It allows for other training
    seeds where the comparison does (``covers_seeds``); else it is of these runs alone.

    Args:
        comparison: of two candidates.
        margin: the largest difference that does not matter, in the score's unit: 0.01 is a point of accuracy.

    Returns:
        0 to 1; NaN where there was nothing to compare.

    Raises:
        VxlabError: the margin is not above 0.

    Source:
        Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the
        equivalence of average bioavailability, 1987.

    >>> near = Difference(0.002, -0.008, 0.012, 0.7, covers_seeds=True, error=0.005, freedom=60)
    >>> round(equivalence_p(near, margin=0.02), 4), round(equivalence_p(near, margin=0.005), 2)
    (0.0003, 0.28)
    """
    return max(noninferiority_p(comparison, margin), _below(comparison, margin))


def noninferiority_p(comparison: Difference, margin: float) -> float:
    """Return the one-sided p-value that is small where the first is surely less than a margin worse than the second.

    Args:
        comparison: of two candidates.
        margin: as :func:`equivalence_p` takes it.

    Returns:
        0 to 1; NaN where there was nothing to compare.

    Raises:
        VxlabError: the margin is not above 0.
    """
    return _below(comparison._replace(difference=-comparison.difference), margin)


def _below(comparison: Difference, margin: float) -> float:
    """Return the one-sided p-value against a difference of the margin or more."""
    from scipy.special import stdtr

    if not 0 < margin < math.inf:
        raise VxlabError(f"margin={margin}: give the largest difference that does not matter, such as 0.01")
    return float(stdtr(comparison.freedom, (comparison.difference - margin) / comparison.error))
