"""The sweep of a page: adapters, full fine-tuning and the untuned base on one task in which a model writes."""

from collections.abc import Mapping
from typing import Any

from vxlab.experiments.sweeps import FairSweep
from vxlab.studies import Ranks, adapters_sweep, study_settings
from vxlab.studies.generation.smoke_files import smoke_files


def generation_sweep(
    scale: str,
    methods: Mapping[str, Ranks],
    chosen: Mapping[str, Any],
    rates: Mapping[str, float] | None = None,
    *,
    study: str = "generation",
) -> FairSweep:
    """Return the fair sweep of a scale, as :func:`vxlab.studies.adapters_sweep` makes it.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        methods, chosen, rates: as :func:`vxlab.studies.adapters_sweep` takes them.
        study: whose settings the scale has.

    Raises:
        VxlabError: the scale, a method or a field is unknown.
    """
    usual = study_settings(study, scale)
    if chosen.get("task") or chosen.get("task_folder"):  # columns of the scale's own task are not of another
        usual.pop("answer_column", None)
    if scale == "smoke":
        model, task = smoke_files()
        usual |= {"model": model, "task": task}
    return adapters_sweep(usual, methods, chosen, rates)
