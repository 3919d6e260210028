"""What scores were tested on: how many items, how many of them are independent, and what the trivial answer has."""

from typing import NamedTuple

from vxlab.experiments import RunRecord, knows_units
from vxlab.experiments.scoring import Array
from vxlab.experiments.tasks.kinds import recorded_kind
from vxlab.words import number_of


class HeldOut(NamedTuple):
    """The test split of a sweep."""

    items: int
    trivial: float
    """score of the trivial answer"""
    trivial_name: str = "most frequent class"
    """in words, as the kind of the task has it"""
    units: int | None = None
    """independent units, where they are fewer than the items"""
    unit: str = "groups"
    """what units are, in the plural"""
    known: bool = True
    """whether it is known which items belong together"""

    @property
    def doubt(self) -> str:
        """What a reader of any interval must be warned of; "" where it is known which items belong together."""
        if self.known:
            return ""
        return "Test items were taken as independent: which of them belong together is not known of these runs."

    def in_words(self) -> str:
        """Return the number of items, and of the units where they are fewer.

        >>> HeldOut(400, 0.5, units=87, unit="films").in_words(), HeldOut(1, 0.5).in_words()
        ('400 test items in 87 films', '1 test item')
        """
        items = number_of(self.items, "test item")
        return items if self.units is None else f"{items} in {self.units:,} {self.unit}"


def held_out_of(record: RunRecord, metric: str, items: int, units: Array | None) -> HeldOut:
    """Return what a run was tested on.

    Args:
        record: the run's.
        metric: whose trivial score counts.
        items: of the test split.
        units: (items,) numbers of their units, or None.
    """
    count = items if units is None else len(set(units.tolist()))
    return HeldOut(
        items,
        float(record.task["majority"]["test"][metric]),
        recorded_kind(record.task).trivial_name(metric),
        count if count < items else None,
        str(record.task.get("unit", "groups")),
        units is not None or knows_units(record),
    )
