"""An advice made by hand: two blocks of four layers, at three budgets."""

from typing import Any

import pandas as pd

import vxlab
from vxlab.experiments import RunSpec
from vxlab.studies.advisor import Advice
from vxlab.studies.advisor.trial import TRIAL_RANKS

ROLES = {"query": (16, 16), "value": (16, 16), "up": (40, 16)}
LEFT_OUT = "encoder.layer.0.up"
GRID = {1: 288, 2: 576, 4: 1152}
"""uniform rank and its parameters: of LoRA, the sides of all layers together, 288"""


def toy_advice(verdict: str = "allocation", **changed: Any) -> Advice:
    """Return an advice for LoRA r=2 whose block 1 holds nearly all the energy."""
    rows = [(f"encoder.layer.{block}.{role}", block, role, *shape) for block in (0, 1) for role, shape in ROLES.items()]
    layers = pd.DataFrame(rows, columns=["layer", "block", "role", "out", "in"])
    all_of = [0.1 if block == 0 else 0.9 for block in layers["block"]]
    layers = layers.assign(energy_all=all_of, low=[each / 2 for each in all_of], high=[2 * each for each in all_of])
    energies = pd.DataFrame(
        [
            (row.layer, rank, rank * (row.out + 16), row.energy_all * share, share)
            for row in layers.itertuples()
            for rank, share in {1: 0.4, 2: 0.6, 4: 0.8, 8: 1.0}.items()
        ],
        columns=["layer", "rank", "parameters", "energy", "share"],
    )
    allocations = pd.concat([_allocation(layers, rank) for rank in GRID])
    budgets = pd.DataFrame({
        "budget": list(GRID.values()), "uniform_rank": list(GRID), "kept": [0.55, 0.75, 0.9],
        "kept_uniform": [0.4, 0.6, 0.8], "gain": [0.15, 0.12, 0.01], "low": [0.1, 0.05, -0.03],
        "high": [0.2, 0.18, 0.05], "verdict": [verdict, verdict, "uniform"],
    })  # fmt: skip
    fields: dict[str, Any] = {
        "spec": RunSpec(
            method=vxlab.LoRA(rank=2), model="minilm", task="toy", targets="all-linear", learning_rate=1e-3,
            head_learning_rate=5e-3,
        ),
        "budget": GRID[2], "verdict": verdict, "layers": layers, "energies": energies, "budgets": budgets,
        "allocations": allocations, "steps": 8, "cost": 0.02, "rates": (6e-4, 2e-3, 6e-3),
        "capacity": {"data_bits": 4000.0, "adapter_bits": 18432.0, "enough": True},
    }  # fmt: skip
    advice = Advice(**fields | changed)
    return Advice(**fields | {"layers": advice.at(GRID[2])} | changed)


def _allocation(layers: pd.DataFrame, uniform: int) -> pd.DataFrame:
    ranks = [uniform if block == 0 else 2 * uniform for block in layers["block"]]
    ranks = [0 if name == LEFT_OUT else rank for name, rank in zip(layers["layer"], ranks, strict=True)]
    return pd.DataFrame({
        "budget": GRID[uniform], "layer": layers["layer"], "allocated": ranks, "uniform": uniform,
        "energy": 0.8 * layers["energy_all"], "energy_uniform": 0.6 * layers["energy_all"], "stability": 0.9,
    })  # fmt: skip


def toy_trial() -> pd.DataFrame:
    """Return runs as the trial's table has them: two tasks and methods, and the budgets that the trial registered."""
    tested = {"uniform": 0.80, "by energy": 0.83, "random-00": 0.75, "random-01": 0.77, "only query": 0.70}
    rows = [
        {
            "task": task, "method": method, "budget_rank": rank, "budget": 288 * rank, "allocation": name,
            "verdict": "allocation" if rank == TRIAL_RANKS[method][0] else "uniform", "backbone": 288 * rank,
            "learning_rate": 1e-3, "seed": seed, "validation": score, "test": score + 0.01 * seed, "diverged": False,
        }
        for task in ("rotten_tomatoes", "sst2")
        for method in ("lora", "vera")
        for rank in TRIAL_RANKS[method]
        for name, score in tested.items()
        for seed in ((1, 2, 3) if name in ("uniform", "by energy") else (1,))
    ]  # fmt: skip
    return pd.DataFrame(rows)
