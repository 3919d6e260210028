"""Advise on ranks by layer from a few batches of gradients."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import pandas as pd

from vxlab.adapters import Family, resolve_targets
from vxlab.adapters.core import linear_weight
from vxlab.checks import quote, settle
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec
from vxlab.experiments.runs import Job, Materials, blocks_and_roles
from vxlab.experiments.store import Where, kept_table
from vxlab.experiments.sweeps import Candidate, FairSweep
from vxlab.progress import progress_bar
from vxlab.studies.advisor.advice import Advice, layers_at, parameters_at
from vxlab.studies.advisor.capacity import capacity_of
from vxlab.studies.advisor.energies import LayerEnergies, measure_energies, require_advisable
from vxlab.studies.advisor.signal import require_lesson, settle_batches, signal_by_layer, steps_of
from vxlab.studies.advisor.stability import BudgetedRanks, budget_grid, paired_interval
from vxlab.words import percent

_BYTES = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_BYTES_A_PARAMETER = 4


@dataclass(frozen=True)
class _Bars:
    """Whether bars are shown, which no table depends on."""

    shown: bool
    digest: str = "bars"


class _Tables(NamedTuple):
    layers: pd.DataFrame
    energies: pd.DataFrame
    budgets: pd.DataFrame
    allocations: pd.DataFrame
    asked: pd.DataFrame


def advise(
    model: str,
    task: str,
    method: Family,
    budget: int | str | None = None,
    *,
    share: float | None = None,
    targets: str | tuple[str, ...] = "all-linear",
    batches: int | None = None,
    seed: int = 0,
    store: Where = None,
    progress: bool = True,
    **settings: Any,
) -> Advice:
    """Return which rank for which layer, before anything is trained, and whether that is better than one rank.

    From a few batches at the start it takes, for every layer, the gradient of what the labels teach; corrects its
    energy for noise by products of different batches; and reckons how much of it the method's subspace captures at
    every rank. A budget is shared out greedily by energy for each parameter. Random halves of the batches judge that:
    ranks found on one, energy captured on the other, against uniform ranks of as many parameters.

    Args:
        model, task: as :class:`~vxlab.RunSpec` takes them.
        method: ``LoRA``, ``VeRA`` or ``LoRAXS``; where there is no budget, its rank on all targets is one.
        budget: trained parameters of the backbone, or bytes that they take in float32, such as ``"200 kB"``.
        share: in place of a budget, of the smallest uniform rank that captures this share of all energy.
        targets: the layers that may be adapted.
        batches: of the run's; None takes 16, or less where that were more than 5 % of the run's steps, but 4 at least.
        seed: of the random halves.
        store: where the tables are kept; None keeps none.
        progress: say what it takes before it starts, and show a bar.
        settings: further fields of :class:`~vxlab.RunSpec`.

    Raises:
        VxlabError: the method has no ranks; the budget is below uniform rank 1 or above the highest uniform rank, or
            no rank reaches the share, or what the share is of is not told from noise; a batch is of one row, or all
            labels that are read are the same; or a layer's gradient is zero or not finite.

    Source: Bałazy et al., LoRA-XS (2024), arXiv 2405.17604, theorem 3.1, for the energy; no source for the rest.
    """
    require_advisable(method)
    if not isinstance(method.rank, int):
        raise VxlabError(
            f"method={quote(method)} has its ranks by layer; give one rank, whose parameters are the budget"
        )
    size: int | None = settle("budget", _parameters_in(budget) if isinstance(budget, str) else budget, int | None)
    share, batches = settle("share", share, float | None), settle("batches", batches, int | None)
    if size is not None and share is not None:
        raise VxlabError(f"budget={budget!r} and share={share!r} both say how large; leave one out")
    if share is not None and not 0 < share <= 1:
        raise VxlabError(f"share={share!r} is not a share of the energy; choose above 0, to 1")
    materials = Materials()
    spec = RunSpec(**_with_rates(model, task, method, targets, settings))
    require_lesson(spec, materials)
    rows = len(materials.task(spec).splits["train"])
    steps = steps_of(spec, rows)
    taken = settle_batches(batches, steps, rows // spec.batch_size)
    if progress:
        print(f"advice on ranks: gradients of {taken} batches, {percent(taken / steps)} of the run's {steps} steps")
    job = materials.job(spec)
    asked = job, size, share, taken, seed, _Bars(progress)
    found = _tables(*asked) if store is None else kept_table(_tables, *asked, store=store)
    chosen = int(found.asked["budget"].iloc[0])
    verdict = str(found.budgets.set_index("budget")["verdict"][chosen])
    uniform = int(found.budgets.set_index("budget")["uniform_rank"][chosen])
    spec = dataclasses.replace(job.spec, method=dataclasses.replace(method, rank=uniform))
    return Advice(
        spec, chosen, verdict, layers_at(spec, found.layers, found.allocations, chosen, verdict), found.energies,
        found.budgets, found.allocations, taken, taken / steps, capacity_of(spec, materials, chosen), _rates(spec),
    )  # fmt: skip


def _tables(job: Job, budget: int | None, share: float | None, batches: int, seed: int, bars: _Bars) -> _Tables:
    spec, materials = job.spec, Materials()
    assert isinstance(spec.method, Family)
    signal = signal_by_layer(spec, materials, batches, bars.shown)
    base = materials.base(spec)
    weights = {name: linear_weight(layer) for name, layer in resolve_targets(base, spec.targets).items()}
    energies: dict[str, LayerEnergies] = {}
    with progress_bar(len(signal), "energies", "layer", delay=2, shown=bars.shown) as bar:
        for name, each in measure_energies(signal, weights, spec.method, seed):
            energies[name] = each
            bar.update()
    shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()}
    costs = {name: cache(partial(parameters_at, spec.method, shape)) for name, shape in shapes.items()}
    judge = BudgetedRanks(energies, costs)
    chosen = _budget(judge, spec.method, budget, share)
    judged = [judge.judge(each) for each in budget_grid(judge, [chosen])]
    columns = ["budget", "uniform", "kept", "kept_uniform", "gain", "low", "high", "verdict"]
    budgets = pd.DataFrame([[getattr(each, name) for name in columns] for each in judged], columns=columns)
    allocations = pd.DataFrame(
        [
            (each.budget, name, rank, each.uniform, energy.captured(energy.energy, rank),
             energy.captured(energy.energy, each.uniform), each.stability[name])
            for each in judged for name, rank in each.ranks.items() for energy in [energies[name]]
        ],
        columns=["budget", "layer", "allocated", "uniform", "energy", "energy_uniform", "stability"],
    )  # fmt: skip
    places = blocks_and_roles(energies)
    layers = pd.DataFrame(
        [(name, *places[name], *shapes[name], *paired_interval(each.pairs)) for name, each in energies.items()],
        columns=["layer", "block", "role", "out", "in", "energy_all", "low", "high"],
    )
    table = pd.DataFrame(
        [
            (name, rank, costs[name](rank), energy, energy / each.whole if each.whole > 0 else float("nan"))
            for name, each in energies.items() for rank, energy in zip(each.ranks, each.energy.tolist(), strict=True)
        ],
        columns=["layer", "rank", "parameters", "energy", "share"],
    )  # fmt: skip
    return _Tables(
        layers, table, budgets.rename(columns={"uniform": "uniform_rank"}), allocations,
        pd.DataFrame({"budget": [chosen]}),
    )  # fmt: skip


def _budget(judge: BudgetedRanks, method: Family, budget: int | None, share: float | None) -> int:
    """Return the budget in parameters, or refuse one that no uniform rank has."""
    least, most = judge.price(1), judge.price(judge.highest)
    if share is not None:
        return _budget_of_share(judge, share)
    if budget is None and method.r > judge.highest:
        raise VxlabError(
            f"method={method!r}: the targets take ranks 1 to {judge.highest}; choose one, or give a budget"
        )
    if budget is None:
        return judge.price(method.r)
    if not least <= budget <= most:
        raise VxlabError(
            f"budget={budget:,} parameters: {type(method).__name__} on these targets has {least:,} (rank 1) to "
            f"{most:,} (rank {judge.highest}); choose within these, or name fewer targets"
        )
    return budget


def _budget_of_share(judge: BudgetedRanks, share: float) -> int:
    if judge.whole_low <= 0:
        raise VxlabError(
            f"share={share}: the batches do not tell the gradient from noise, so that no rank has a share of it; give "
            "a budget, or take more batches"
        )
    for rank in range(1, judge.highest + 1):
        kept = judge.kept_by(rank)
        if kept >= share:
            return judge.price(rank)
    raise VxlabError(
        f"share={share}: no uniform rank captures so much; the highest captures {judge.kept_by(judge.highest):.3g}"
    )


def _parameters_in(text: str) -> int:
    """Return how many float32 parameters a size in bytes holds."""
    found = re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]+)\s*", text)
    if not found or found[2].lower() not in _BYTES or found[1].count(".") > 1 or not found[1].strip("."):
        raise VxlabError(
            f"budget={quote(text)} is no size; give such as '200 kB' or '1.5 MB', or a number of parameters"
        )
    return int(float(found[1]) * _BYTES[found[2].lower()] / _BYTES_A_PARAMETER)


def _with_rates(
    model: str, task: str, method: Family, targets: str | tuple[str, ...], settings: Mapping[str, Any]
) -> dict[str, Any]:
    usual = {"learning_rate": Candidate(method).centre, "head_learning_rate": 5e-3}
    return {**usual, **settings, "model": model, "task": task, "method": method, "targets": targets}


def _rates(spec: RunSpec) -> tuple[float, ...]:
    candidate = Candidate(spec.method, targets=spec.targets)
    return FairSweep(candidates=[candidate]).rates(candidate)
