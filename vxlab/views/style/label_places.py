"""Where short labels stand beside their marks, so that none lies on another or on a mark."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

_WIDTH, _HEIGHT = 0.065, 0.037
"""of a label of five letters, as shares of a figure's axes"""
_ORDER = (("middle", 1), ("top", 1), ("bottom", 1), ("middle", -1), ("top", -1), ("bottom", -1), ("middle", 1))
"""in which places are tried: of the side that is asked for (1), then of the other; the last is where all are taken"""
_UP = {"middle": 0.0, "top": 1.01, "bottom": -1.01}


class LabelPlaces:
    """Places labels one after the other: beside each mark, above or below, on one side or else the other.

    >>> labels = LabelPlaces([0, 0.95, 1], [0, 5, 5], [0, 10])
    >>> labels.place(0.95, 5, 1), labels.place(1, 5, 1), labels.place(0, 0, 1)
    ('top right', 'middle right', 'middle right')
    """

    def __init__(self, xs: Iterable[float], ys: Iterable[float], heights: ArrayLike) -> None:
        """Take the marks.

        Args:
            xs: of the marks, as they are drawn: logarithms on a logarithmic axis.
            ys: of the marks.
            heights: all that the vertical axis shows beside the marks, such as the ends of error bars; NaN is left out.
        """
        marks = np.array([list(xs), list(ys)], dtype=float).T
        shown = np.array([*np.ravel(np.asarray(heights, dtype=float)), *marks[:, 1]])
        self._start = np.array([_lowest(marks[:, 0]), _lowest(shown)])
        spans = np.array([-_lowest(-marks[:, 0]), -_lowest(-shown)]) - self._start
        self._spans = np.where(spans > 0, spans, 1.0)
        self._marks = (marks - self._start) / self._spans
        self._texts = np.empty((0, 2))

    def place(self, x: float, y: float, side: int) -> str:
        """Return plotly's ``textposition`` of a mark's label: beside it where all places are taken.

        Args:
            x: of the mark.
            y: of the mark.
            side: that is tried first: 1 for the right, -1 for the left.
        """
        own = (np.array([x, y]) - self._start) / self._spans
        others = self._marks[~np.isclose(self._marks, own).all(axis=1)]
        for level, aside in _ORDER:
            turned = side * aside
            centre = own + np.array([0.6 * turned * _WIDTH, _UP[level] * _HEIGHT])
            if not (_meets(centre, self._texts, 1) or _meets(centre, others, 0.6)):
                break
        self._texts = np.vstack([self._texts, centre])
        return f"{level} {'right' if turned > 0 else 'left'}"


def _lowest(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else 0.0


def _meets(centre: np.ndarray, others: np.ndarray, reach: float) -> bool:
    """Say whether a label meets one of the others, whose centres are nearer than so many times a label's size."""
    return bool((np.abs(others - centre) < reach * np.array([_WIDTH, _HEIGHT])).all(axis=1).any())
