"""The sweeps of this page: the same methods with the same budget, on the base in floating point and in each scheme."""

from collections.abc import Mapping, Sequence
from typing import Any

from vxlab.adapters import method_from_name
from vxlab.checks import require_choice
from vxlab.errors import VxlabError
from vxlab.experiments.models import QUANTISATIONS
from vxlab.experiments.sweeps import FairSweep, fair_study
from vxlab.studies import study_settings

FLOAT = "float"
"""What the base in floating point is called beside the schemes."""


def quantised_sweeps(
    scale: str, schemes: Sequence[str], ranks: Mapping[str, int | None], chosen: Mapping[str, Any]
) -> dict[str, FairSweep]:
    """Return the fair sweep on each base by its scheme, ``float`` first: alike in all but the base's precision.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        schemes: of :data:`vxlab.experiments.models.QUANTISATIONS`; none takes the scale's.
        ranks: by method's name; None takes the scale's.
        chosen: as :func:`vxlab.experiments.sweeps.fair_study` takes it; None leaves the choice to the scale.

    Raises:
        VxlabError: the scale, a scheme, a method or a field is unknown, or there is no method.
    """
    usual = study_settings("quantised", scale)
    for scheme in schemes:
        require_choice("schemes", scheme, QUANTISATIONS)
    if not ranks:
        raise VxlabError("methods is empty; give two or more, such as lora and vera")
    methods = [method_from_name(name, **_rank(name, rank, usual["ranks"])) for name, rank in ranks.items()]
    settings = usual["sweep"] | {name: value for name, value in chosen.items() if value is not None}
    bases = [None, *dict.fromkeys(schemes or usual["schemes"])]
    return {base or FLOAT: fair_study(methods, scale, quantisation=base, **settings) for base in bases}


def _rank(name: str, rank: int | None, usual: Mapping[str, int]) -> dict[str, int]:
    """Return a method's rank, where it has one."""
    known = rank or usual.get(name)
    return {} if known is None else {"rank": known}
