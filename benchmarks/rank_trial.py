"""Does the advice on ranks pay? Train every allocation of the registered trial (vxlab.studies.advisor.trial).

    python benchmarks/rank_trial.py --sst2 path/to/SST-2 --store rank_trial.db --part 0 2
    python benchmarks/rank_trial.py --sst2 path/to/SST-2 --store rank_trial.db --write

The folder is GLUE's own SST-2; the other two tasks are packaged. Uniform ranks and those by energy come first, tuned
alike; then, for all cells in turn, one draw or role after another, so that what is stopped early has lost no cell.
``--part I N`` takes every Nth cell, for N processes on one store; runs that the store has are not trained again.
``--write`` writes data/rank_trial.csv of what the store has, one row a run.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import vxlab
from vxlab.adapters.core import Shape, linear_shape
from vxlab.experiments.models import load_model
from vxlab.experiments.runs import shared_materials
from vxlab.experiments.sweeps import Candidate, FairSweep
from vxlab.studies.advisor import (
    ADVICE_BATCHES,
    ADVISED_ALLOCATION,
    RANDOM_DRAWS,
    TRIAL_PROTOCOL,
    TRIAL_SETTINGS,
    TRIAL_TASKS,
    UNIFORM_ALLOCATION,
    Advice,
    TrialCell,
    one_module_allocation,
    random_allocation,
    roles_of,
    trial_cells,
)

RESULTS = Path(__file__).parents[1] / "data" / "rank_trial.csv"


@dataclass(frozen=True)
class Given:
    sst2: str
    store: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst2", required=True, help="folder of GLUE's SST-2")
    parser.add_argument("--store", required=True)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"))
    parser.add_argument("--first", type=int, help="of the cells alone; the smallest budgets come first")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    given = Given(asked.sst2, asked.store)
    cells = trial_cells()[: asked.first][asked.part[0] :: asked.part[1]]
    if asked.write:
        rows = [row for cell in cells if is_reported(cell, given) for row in rows_of(cell, given)]
        pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.6g", lineterminator="\n")
        return
    for cell in cells:
        print(cell, advice(cell, given).verdict, fair_rates(cell, given, train=True), flush=True)
    cells = sorted(cells, key=lambda cell: cell.task)  # rows are read once for runs of one task that follow each other
    listed = {cell: [spec for _, spec in further_runs(cell, given)] for cell in cells}
    for number in range(RANDOM_DRAWS + 6):
        if specs := [each[number] for each in listed.values() if number < len(each)]:
            vxlab.sweep(specs, store=given.store, progress=False, stack=1)
        print(f"round {number + 1} done", flush=True)


def settings(cell: TrialCell, given: Given) -> dict[str, Any]:
    folder = {"task_folder": given.sst2} if cell.task == "sst2" else {}
    return {**TRIAL_SETTINGS, **TRIAL_TASKS[cell.task], "task": cell.task, **folder}


@cache
def advice(cell: TrialCell, given: Given) -> Advice:
    own = settings(cell, given)
    named = own.pop("model"), own.pop("task"), cell.family()
    return vxlab.advise(*named, batches=ADVICE_BATCHES, store=given.store, progress=False, **own)


def by_energy(cell: TrialCell, given: Given) -> dict[str, int]:
    table = advice(cell, given).layers
    kept = table[table["allocated"] > 0]
    return {str(name): int(rank) for name, rank in zip(kept["layer"], kept["allocated"], strict=True)}


def fair(cell: TrialCell, given: Given) -> FairSweep:
    """Return the sweep of uniform ranks and those by energy; of one candidate where these are the same."""
    ranks, family = by_energy(cell, given), cell.family()
    candidates = [Candidate(family)]
    if set(ranks.values()) != {cell.rank} or len(ranks) < len(shapes(cell.task)):
        candidates.append(Candidate(replace(family, rank=ranks), targets=tuple(ranks)))
    return FairSweep(candidates=candidates, settings=settings(cell, given), **TRIAL_PROTOCOL)


@cache
def fair_rates(cell: TrialCell, given: Given, *, train: bool) -> dict[str, float]:
    """Return the rate chosen for each candidate, by its place among the candidates."""
    result = vxlab.compare(fair(cell, given), store=given.store, progress=False, stack=1, train=train)
    reported = result.runs[result.runs["stage"] == "report"].groupby("candidate")["learning_rate"].first()
    names = zip((UNIFORM_ALLOCATION, ADVISED_ALLOCATION), fair(cell, given).names, strict=False)
    return {allocation: float(reported[name]) for allocation, name in names}


def is_reported(cell: TrialCell, given: Given) -> bool:
    """Say whether the uniform ranks and those by energy have run; a cell without them is left out, and named."""
    try:
        fair_rates(cell, given, train=False)
    except vxlab.VxlabError as error:
        print(f"left out: {cell} ({error})")
        return False
    return True


def tuned_runs(cell: TrialCell, given: Given) -> list[tuple[str, vxlab.RunSpec]]:
    """Return the reported runs of uniform ranks and of those by energy, which are the same ones where the ranks are."""
    rates, sweep = fair_rates(cell, given, train=False), fair(cell, given)
    candidates = list(sweep.names.values())
    named = {UNIFORM_ALLOCATION: candidates[0], ADVISED_ALLOCATION: candidates[-1]}
    rates = dict.fromkeys(named, rates[UNIFORM_ALLOCATION]) | rates
    return [
        (name, sweep.spec(candidate, rates[name], sweep.head_learning_rates[0], seed))
        for name, candidate in named.items() for seed in sweep.fresh_seeds
    ]  # fmt: skip


def further_runs(cell: TrialCell, given: Given) -> Iterator[tuple[str, vxlab.RunSpec]]:
    """Yield the name and run of each further allocation: two draws, then a role, until the roles are done."""
    own, family = shapes(cell.task), cell.family()
    budget = sum(family.parameter_count(shape) for shape in own.values())
    rate = fair_rates(cell, given, train=False)[UNIFORM_ALLOCATION]
    sweep = fair(cell, given)
    named: dict[str, dict[str, int]] = {}
    left = list(roles_of(own))
    for draw in range(RANDOM_DRAWS):
        named[f"random-{draw:02}"] = random_allocation(family, own, budget, draw)
        if draw % 2 and left:
            role = left.pop(0)
            named[f"only {role}"] = one_module_allocation(family, own, budget, role)
    for number, (name, ranks) in enumerate(named.items()):
        candidate = Candidate(replace(family, rank=ranks), targets=tuple(ranks))
        yield name, sweep.spec(candidate, rate, sweep.head_learning_rates[0], 1 + number % 3)


@cache
def shapes(task: str) -> dict[str, Shape]:
    model = load_model(TRIAL_TASKS[task]["model"], num_labels=2)
    return {name: linear_shape(layer) for name, layer in vxlab.resolve_targets(model, "all-linear").items()}


def rows_of(cell: TrialCell, given: Given) -> Iterator[dict[str, Any]]:
    """Yield a row for every run of a cell that the store has."""
    with vxlab.Store(given.store) as store:
        known = store.table().set_index("key", drop=False)
    budget = sum(cell.family().parameter_count(shape) for shape in shapes(cell.task).values())
    for name, spec in [*tuned_runs(cell, given), *further_runs(cell, given)]:
        key = shared_materials().job(spec).key
        if key in known.index:
            row = known.loc[key]
            if row["status"] not in ("finished", "diverged"):
                continue
            yield {
                "task": cell.task, "method": cell.method, "budget_rank": cell.rank, "budget": budget,
                "allocation": name, "verdict": advice(cell, given).verdict, "backbone": row["backbone"],
                "learning_rate": spec.learning_rate, "seed": spec.seed, "validation": row["validation"],
                "test": row["test"], "diverged": row["status"] == "diverged",
            }  # fmt: skip


if __name__ == "__main__":
    main()
