"""The sweeps of this page: on each set the same methods with the same budget, and the untuned base."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vxlab.experiments.sweeps import FairSweep
from vxlab.experiments.tasks import load_task
from vxlab.studies import Ranks, adapters_sweep, study_settings
from vxlab.studies.reasoning.smoke_files import smoke_sets
from vxlab.warn import looking_ahead

_LENGTH = "max_new_tokens"
_NESTED = ("budget", "methods")


def reasoning_sweeps(
    scale: str, sets: Sequence[str], methods: Mapping[str, Ranks], chosen: Mapping[str, Any]
) -> dict[str, FairSweep]:
    """Return the fair sweep on each set, by its name, as :func:`vxlab.studies.adapters_sweep` makes it.

    What a scale has for one set alone, such as fewer rows, wins over what it has for all, and what is chosen over both.
    Of what is chosen ``max_new_tokens`` is of sets that are written alone.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        sets: names of tasks, or files or folders of them; none takes the scale's.
        methods: as :func:`vxlab.studies.adapters_sweep` takes them.
        chosen: as :func:`vxlab.studies.adapters_sweep` takes it.

    Raises:
        VxlabError: the scale, a method or a field is unknown.
    """
    usual = study_settings("reasoning", scale)
    own, places = usual.pop("of_set", {}), {name: name for name in usual.pop("sets", ())}
    if scale == "smoke":
        model, places = smoke_sets()
        usual = {"model": model} | usual
    places = {Path(each).stem if "/" in each or "." in each else each: each for each in sets} or places
    return {
        name: adapters_sweep(_joined({**usual, "task": place}, own.get(name, {})), methods, _suited(chosen, place))
        for name, place in places.items()
    }


def _suited(chosen: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return what is chosen without the length of texts where none is written: such a run would be refused."""
    if not chosen.get(_LENGTH) or _writes(chosen, place):
        return dict(chosen)
    return {name: value for name, value in chosen.items() if name != _LENGTH}


def _writes(chosen: Mapping[str, Any], place: str) -> bool:
    with looking_ahead():
        return load_task(place, folder=chosen.get("task_folder")).kind.writes


def _joined(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which those of one set win; of a budget each, and of methods each as a whole."""
    nested = {name: usual[name] | own.get(name, {}) for name in _NESTED}
    return {**usual, **own, **nested}
