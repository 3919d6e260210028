"""The sweep of instructions: every method at several ranks, and the untuned base, on instructions and answers."""

from collections.abc import Mapping
from typing import Any

from vxlab.experiments.sweeps import FairSweep
from vxlab.studies import Ranks, adapters_sweep, study_settings
from vxlab.studies.forgetting.smoke_instructions import smoke_instructions

_SHORT = "{instruction} {input}\n"
"""A prompt for the tiny model, which reads few tokens."""


def instruction_sweep(scale: str, methods: Mapping[str, Ranks], chosen: Mapping[str, Any]) -> FairSweep:
    """Return the fair sweep of a scale, as :func:`vxlab.studies.adapters_sweep` makes it.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        methods: names, such as ``lora`` or ``base``, with a rank or several; none takes the scale's.
        chosen: fields of a run, and of the budget; None leaves the choice to the scale.

    Raises:
        VxlabError: the scale, a method or a field is unknown.
    """
    usual = study_settings("instructions", scale)
    if scale == "smoke":
        files = smoke_instructions()
        usual |= {"model": files.model, "task": files.instructions}
        usual |= {} if chosen.get("task") or chosen.get("task_folder") else {"prompt_template": _SHORT}
    return adapters_sweep(usual, methods, chosen)
