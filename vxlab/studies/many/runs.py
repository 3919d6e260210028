"""The runs of this page: a few seeds of every method on every task, all of one base, that fill its banks."""

from collections.abc import Mapping, Sequence
from typing import Any

from vxlab.adapters import Method, method_from_name
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.sweeps import fair_study
from vxlab.studies import study_settings


def many_methods(scale: str, ranks: Mapping[str, int | None]) -> list[Method]:
    """Return the methods, each at its rank.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        ranks: by method's name; None takes the scale's.

    Raises:
        VxlabError: the scale, a method or a rank is unknown, or there is no method.
    """
    usual = study_settings("many", scale)["ranks"]
    if not ranks:
        raise VxlabError("methods is empty; give one or more, such as lora_xs")
    known = {name: rank or usual.get(name) for name, rank in ranks.items()}
    return [method_from_name(name, **({} if rank is None else {"rank": rank})) for name, rank in known.items()]


def many_specs(
    scale: str, methods: Sequence[Method], tasks: Sequence[str], seeds: int | None, chosen: Mapping[str, Any]
) -> list[RunSpec]:
    """Return a run for every task, method and seed, in a sweep's settings, at the middle of its usual rates.

    Args:
        scale: ``smoke``, ``small`` or ``paper``.
        methods: from :func:`many_methods`.
        tasks: names, files or folders; none takes the scale's.
        seeds: of each; None takes the scale's.
        chosen: further fields of :class:`vxlab.RunSpec`; None leaves the choice to the scale.

    Raises:
        VxlabError: the scale or a field is unknown, or seeds is below 1.
    """
    usual = study_settings("many", scale)
    count = usual["seeds"] if seeds is None else seeds
    require_count("seeds", count)
    settings = usual["sweep"] | {name: value for name, value in chosen.items() if value is not None}
    found = []
    for task in dict.fromkeys(tasks or usual["tasks"]):
        fair = fair_study(methods, scale, **settings, task=task)
        for each in fair.names.values():
            rates = each.centre, fair.head_learning_rates[0]
            found += [fair.spec(each, *rates, seed) for seed in range(count)]
    return found
