"""A grid of runs: every combination of methods, layers, learning rates, draws and seeds."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from vxlab.adapters import Method
from vxlab.checks import require_known, settle, settle_list
from vxlab.experiments import RunSpec
from vxlab.experiments.sweeps.protocol import SHARED


def grid(
    methods: Iterable[Method],
    *,
    learning_rates: Iterable[float],
    head_learning_rates: Iterable[float] = (5e-3,),
    targets: Iterable[str | tuple[str, ...]] = ("query-value",),
    seeds: Iterable[int] = (0,),
    draws: Iterable[int] = (0,),
    **settings: Any,
) -> list[RunSpec]:
    """Return a run for every combination: methods × targets × learning rates × head learning rates × draws × seeds.

    Ranks are part of the methods. A grid alone tunes nothing: :class:`FairSweep` chooses on validation and reports on
    fresh seeds.

    Args:
        methods: such as ``[vxlab.LoRA(rank=r) for r in (2, 8)]``.
        learning_rates: of the adapter.
        head_learning_rates: of the task head.
        targets: target sets, as :func:`vxlab.attach` takes them.
        seeds: of the runs.
        draws: of few-shot runs, which need ``shots``: seeds of the rows that are drawn.
        settings: further fields of :class:`RunSpec`, for all.

    >>> from vxlab import LoRA
    >>> len(grid([LoRA(rank=2), LoRA(rank=8)], learning_rates=[1e-3, 1e-2], seeds=range(5)))
    20
    """
    require_known(settings, [name for name in SHARED if name != "targets"], "grid has no field")
    each_method = settle_list("methods", methods, Method, "methods, such as [vxlab.LoRA(rank=8)]")
    rates, heads = (
        settle(name, given, tuple[float, ...])
        for name, given in (("learning_rates", learning_rates), ("head_learning_rates", head_learning_rates))
    )
    lucks = [settle(name, given, tuple[int, ...]) for name, given in (("draws", draws), ("seeds", seeds))]
    every = product(each_method, _target_sets(targets), rates, heads, *lucks)
    return [
        RunSpec(
            method=method,
            targets=layers,
            learning_rate=rate,
            head_learning_rate=head,
            draw=draw,
            seed=seed,
            **settings,
        )
        for method, layers, rate, head, draw, seed in every
    ]


def _target_sets(targets: Any) -> list[Any]:
    """Return target sets: each item of a list is one, and a text alone."""
    several = isinstance(targets, Iterable) and not isinstance(targets, str | Mapping)
    return [settle("targets", each, str | tuple[str, ...]) for each in (targets if several else [targets])]
