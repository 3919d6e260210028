"""The fair sweep of a study that lays adapters beside the untuned base of a model that answers in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vxlab.adapters import method_from_name
from vxlab.checks import settle
from vxlab.experiments import hardware
from vxlab.experiments.sweeps import Candidate, FairSweep

Ranks = int | list[int] | tuple[int, ...] | None
_BUDGET = ("learning_rates", "tuning_seeds", "report_seeds", "widen")


def adapters_sweep(
    usual: Mapping[str, Any],
    methods: Mapping[str, Ranks],
    chosen: Mapping[str, Any],
    rates: Mapping[str, float] | None = None,
) -> FairSweep:
    """Return the fair sweep of some methods, where what is chosen wins over what a scale has.

    Where nothing else is chosen, precision is bfloat16 on a processor that multiplies in it, which writes and trains
    about twice as fast as float32, and whatever ``auto`` takes on a GPU.

    Args:
        usual: of a scale: fields of a run, ``budget`` (of a fair sweep), and ``methods`` (by name a table of settings,
            or one a rank).
        methods: names, such as ``lora`` or ``base``, with a rank or several; None, or no rank, takes the scale's, or
            where it has none no rank. A rank that the scale lacks takes the other settings of its first.
        chosen: fields of a run, and of the budget (learning_rates, tuning_seeds, report_seeds, widen); None and what is
            empty leave the choice to the scale.
        rates: middles of the learning rates tried, by method; the scale's, or the method's usual one, where absent.

    Raises:
        VxlabError: a method or a field is unknown.
    """
    settings, given = dict(usual), {name: value for name, value in chosen.items() if value not in (None, "", (), [])}
    own, budget = settings.pop("methods"), dict(settings.pop("budget"))
    budget |= {name: given.pop(name) for name in _BUDGET if name in given}
    if budget["learning_rates"] > 1:
        budget["tuning_seeds"] = max(1, budget["tuning_seeds"])
    candidates = [
        each
        for name, ranks in methods.items()
        for each in _candidates(name, ranks, own.get(name, {}), (rates or {}).get(name))
    ]
    return FairSweep(candidates=candidates, settings=_with_precision(settings | given), **budget)


def _with_precision(settings: dict[str, Any]) -> dict[str, Any]:
    if "precision" not in settings and settings.get("device", "auto") in ("auto", "cpu") and _on_such_a_cpu():
        return settings | {"precision": "bfloat16"}
    return settings


def _on_such_a_cpu() -> bool:
    return hardware.resolve_device("auto") == "cpu" and hardware.cpu_has_bfloat16()


def _candidates(
    name: str, ranks: Ranks, own: Mapping[str, Any] | Sequence[Mapping[str, Any]], rate: float | None
) -> Iterator[Candidate]:
    tables = [own] if isinstance(own, Mapping) else list(own)
    known = {each.get("rank"): each for each in tables}
    each_rank = ranks if isinstance(ranks, list | tuple) else [ranks]
    wanted = [settle("rank", rank, int) for rank in each_rank if rank is not None]
    for each in [{**known.get(rank, tables[0]), "rank": rank} for rank in wanted] or tables:
        settings = dict(each)
        usual = settings.pop("learning_rate", None)
        yield Candidate(method_from_name(name, **settings), learning_rate=rate or usual)
