"""Units: the items that belong together, such as the reviews of a film; units are independent, items need not be."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.formulas import Array


@dataclass(frozen=True)
class Units:
    """Which unit each item is of."""

    of: Array
    """(items,) from 0 to the number of units - 1"""
    sizes: Array
    """(units,) items in each"""

    @property
    def single(self) -> bool:
        """Whether every item is a unit of its own."""
        return len(self.sizes) == len(self.of)

    @cached_property
    def whole(self) -> float:
        """The design effect where a unit's items all go the same way: Σ n² / Σ n, Kish's for unequal sizes."""
        return float((self.sizes**2.0).sum() / self.sizes.sum())

    def freedom(self, together: float) -> float:
        """Return the degrees of freedom of a variance over units, at least 1; of n equal units n - 1.

        (Σ v)² / Σ v² - 1 with v = n·(1 + (n - 1)·ρ), the variance of a unit's sum of n items that correlate by ρ,
        which the design effect tells. Where they go together the large units decide, and it is as if there were fewer.

        Args:
            together: the design effect, 1 or more.

        Source:
            Satterthwaite, An approximate distribution of estimates of variance components, 1946. Carter, Schnepel and
            Steigerwald, Asymptotic behavior of a t-test robust to cluster heterogeneity, 2017.
        """
        alike = min(1.0, (together - 1) / (self.whole - 1)) if self.whole > 1 else 0.0
        share = self.sizes / self.sizes.max()
        variance = share * (1 + (self.sizes - 1) * alike)
        return max(1.0, float(variance.sum() ** 2 / (variance**2).sum()) - 1)

    def items(self, drawn: Array) -> Array:
        """Return the items of some units, each as often as its unit is there."""
        return np.repeat(np.arange(len(self.of)), np.bincount(drawn, minlength=len(self.sizes))[self.of])

    def sums(self, statistics: Array) -> Array:
        """Return each unit's sum of its items' statistics: (units, columns) of (items, columns)."""
        if self.single:
            return statistics
        return np.stack([np.bincount(self.of, column, len(self.sizes)) for column in statistics.T], axis=1)

    def design_effect(self, by_unit: float, by_item: float) -> float:
        """Return how many items count as one: the ratio of two variances of one score, over units and over items.

        At least 1; and as if one error more, of as many items as go together, were a unit's that goes the same way as a
        whole. So a score without errors, whose variances are both 0, is not taken for one of independent items, and
        few errors do not pass for many.

        Args:
            by_unit: the variance of a mean, of score's unit, over other units.
            by_item: the same as if items were independent.
        """
        items, units = len(self.of), len(self.sizes)
        over_units, over_items = by_unit * (units - 1) / units, by_item * (items - 1) / items
        together = max(1.0, over_units / over_items) if over_items > 0 else 1.0
        more = together / items**2
        return max(1.0, (over_units + more * self.whole) / (over_items + more))


def units_of(units: Array | None, items: int) -> Units:
    """Return the units of so many items; None makes each its own.

    Args:
        units: (items,) a number or name for each item's unit.
        items: how many there are.

    Raises:
        VxlabError: there are not as many as items, or all are of one unit.
    """
    if units is None:
        return Units(np.arange(items), np.ones(items, dtype=np.int64))
    given = np.asarray(units)
    if given.shape != (items,):
        raise VxlabError(f"units has the shape {given.shape}; give one unit for each of the {items} items, or None")
    _, of, sizes = np.unique(given, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise VxlabError(
            f"units: all {items} items are of one unit, so nothing tells how much other units would score; test on "
            "items of 2 units or more, or give units=None where the items are independent"
        )
    return Units(of, sizes)
