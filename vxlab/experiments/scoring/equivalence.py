"""Show that a quantity is near 0, or not far below; that it was not told from 0 shows nothing of the kind."""

import math

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.evidence import Evidence


def equivalence_p(found: Evidence, margin: float) -> float:
    """Return the p-value of the two one-sided tests: small where a difference is surely less than a margin, either way.

    p ≤ 0.05 where, and only where, its 90 % interval lies within ±margin.

    Args:
        found: of the difference of two candidates.
        margin: the largest difference that does not matter, in the score's unit: 0.01 is a point of accuracy.

    Returns:
        0 to 1; NaN where there was nothing to compare.

    Raises:
        VxlabError: the margin is not above 0.

    Source:
        Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the
        equivalence of average bioavailability, 1987.

    >>> from vxlab.experiments.scoring.evidence import from_error
    >>> near = from_error(0.002, 0.005, 60)
    >>> round(equivalence_p(near, margin=0.02), 4), round(equivalence_p(near, margin=0.005), 2)
    (0.0003, 0.28)
    """
    return max(noninferiority_p(found, margin), found.tails(margin)[1])


def noninferiority_p(found: Evidence, margin: float) -> float:
    """Return the one-sided p-value that is small where a difference is surely no more than a margin below 0.

    Its arguments, result and error are those of :func:`equivalence_p`.
    """
    if not 0 < margin < math.inf:
        raise VxlabError(f"margin={margin}: give the largest difference that does not matter, such as 0.01")
    return found.tails(-margin)[0]
