"""The sweeps of this page: at each number of shots the same methods with the same budget."""

from collections.abc import Mapping, Sequence
from typing import Any

from vxlab.checks import settle
from vxlab.errors import VxlabError
from vxlab.experiments.sweeps import FairSweep
from vxlab.studies import Ranks, adapters_sweep, study_settings
from vxlab.studies.images.smoke_images import smoke_images


def image_sweeps(
    scale: str,
    shots: Sequence[int],
    methods: Mapping[str, Ranks],
    chosen: Mapping[str, Any],
    rates: Mapping[str, float] | None = None,
) -> dict[int, FairSweep]:
    """Return the fair sweep at each number of shots, in rising order: alike in all but how many rows are learnt from.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        shots: training images of each class; none takes the scale's.
        methods: as :func:`vxlab.studies.adapters_sweep` takes them; a ``probe`` has no rank and no rates.
        chosen: as :func:`vxlab.studies.adapters_sweep` takes it.
        rates: as :func:`vxlab.studies.adapters_sweep` takes them.

    Raises:
        VxlabError: the scale, a method or a field is unknown, or a number of shots is none.
    """
    usual = study_settings("images", scale)
    several = settle("shots", list(shots) or usual["shots"], tuple[int, ...])
    if low := [number for number in several if number < 1]:
        raise VxlabError(f"shots={list(several)} holds {low[0]}; they are training images of each class, 1 or more")
    del usual["shots"]
    if scale == "smoke":
        model, task = smoke_images()
        usual |= {"model": model, "task": task}
    if chosen.get("model"):  # a resolution of the scale's own model need not be of another's patches
        usual.pop("resolution", None)
    return {
        number: adapters_sweep(usual, methods, {**chosen, "shots": number}, rates) for number in sorted(set(several))
    }
