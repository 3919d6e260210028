"""The sweep of this page: adapters, full fine-tuning and the untuned base on one task in which a model writes."""

from collections.abc import Mapping
from typing import Any

from vxlab.adapters import method_from_name
from vxlab.checks import settle
from vxlab.experiments import hardware
from vxlab.experiments.sweeps import Candidate, FairSweep
from vxlab.studies import study_settings
from vxlab.studies.generation.smoke_files import smoke_files

_BUDGET = ("learning_rates", "tuning_seeds", "report_seeds", "widen")


def generation_sweep(
    scale: str, methods: Mapping[str, int | None], chosen: Mapping[str, Any], rates: Mapping[str, float] | None = None
) -> FairSweep:
    """Return the fair sweep of a scale.

    Where nothing else is chosen, precision is bfloat16 on a processor that multiplies in it, which writes and trains
    about twice as fast as float32, and whatever ``auto`` takes on a GPU.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        methods: names, such as ``lora`` or ``base``, with a rank; None takes the scale's, or where it has none no rank.
        chosen: fields of a run, and of the budget (learning_rates, tuning_seeds, report_seeds, widen); None and what is
            empty leave the choice to the scale.
        rates: middles of the learning rates tried, by method; the scale's, or the method's usual one, where absent.

    Raises:
        VxlabError: the scale, a method or a field is unknown.
    """
    usual = study_settings("generation", scale)
    own, budget = usual.pop("methods"), usual.pop("budget")
    given = {name: value for name, value in chosen.items() if value not in (None, "", (), [])}
    budget |= {name: given.pop(name) for name in _BUDGET if name in given}
    if budget["learning_rates"] > 1:
        budget["tuning_seeds"] = max(1, budget["tuning_seeds"])
    candidates = [_candidate(name, rank, own.get(name, {}), (rates or {}).get(name)) for name, rank in methods.items()]
    return FairSweep(candidates=candidates, settings=_settings(usual, given, scale), **budget)


def _settings(usual: Mapping[str, Any], given: Mapping[str, Any], scale: str) -> dict[str, Any]:
    settings = {**usual, **given}
    if "task" in given or "task_folder" in given:  # columns of the scale's own task are not of another
        settings = {name: value for name, value in settings.items() if name != "answer_column" or name in given}
    if scale == "smoke":
        model, task = smoke_files()
        settings = {"model": model, "task": task} | settings
    if "precision" not in settings and settings.get("device", "auto") in ("auto", "cpu") and _on_such_a_cpu():
        settings["precision"] = "bfloat16"
    return settings


def _on_such_a_cpu() -> bool:
    return hardware.resolve_device("auto") == "cpu" and hardware.cpu_has_bfloat16()


def _candidate(name: str, rank: int | None, own: Mapping[str, Any], rate: float | None) -> Candidate:
    settings = dict(own)
    usual = settings.pop("learning_rate", None)
    if rank is not None:
        settings["rank"] = settle("rank", rank, int)
    return Candidate(method_from_name(name, **settings), learning_rate=rate or usual)
