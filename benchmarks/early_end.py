"""Measure what it saves and what it costs that tuning runs end early: whole grids are trained, as the oracle.

    python benchmarks/early_end.py [--glue path/to/glue] [--seeds 4] [--store reports/early_end.db] [--until 21:30]

Every run of a grid is a whole one, and is validated on its way too. By these scores rules are held against the grid:
how many of its steps a rule saves, and which rate it chooses. Where the rule that tuning has (a third of the steps, the
lowest loss) chooses another rate than whole runs do, both rates run on further seeds: is what it gives away more than
the luck of a seed? The rule was taken from these very sweeps, so on others it may do a little worse. The store is this
script's own, since runs that are validated on their way are no ordinary runs. Writes benchmarks/results/early_end.json;
after --until no more runs on further seeds begin.
"""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainerCallback
from transformers import trainer as transformers_trainer

import vxlab
from vxlab.experiments import RunRecord, RunSpec
from vxlab.experiments.sweeps import scale_settings
from vxlab.paths import without_folders

RESULTS = Path(__file__).parent / "results" / "early_end.json"
SHARES = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0)
METHODS = {
    "LoRA r=4": vxlab.LoRA(rank=4),
    "VeRA r=64": vxlab.VeRA(rank=64),
    "LoRA-XS r=16": vxlab.LoRAXS(rank=16),
    "full": vxlab.Full(),
    "head": vxlab.Head(),
    "BitFit": vxlab.BitFit(),
}
ADAPTERS = ("LoRA r=4", "VeRA r=64", "LoRA-XS r=16")
ON = {"rotten_tomatoes": tuple(METHODS), "rotten_tomatoes, 200 steps": ADAPTERS, "sst2": ADAPTERS}
"""Which of them are tuned on which task: a sweep each."""
RATES = 5
SPACING = 10**0.5
OURS = "all to 1/3, by loss"
"""The rule that ``FairSweep(tuning_share=0.33)`` follows."""
WORST = {"score": -1.0, "loss": 1e9}
"""What a run that diverged is taken for."""


class ValidateOnTheWay(TrainerCallback):  # type: ignore[misc]
    """Validate after these shares of the steps too, and leave the run's own draws as they would have been."""

    def __init__(self) -> None:
        self.drawn: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in {round(share * state.max_steps) for share in SHARES[:-1]}:
            control.should_evaluate, self.drawn = True, torch.get_rng_state()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.drawn is not None:
            torch.set_rng_state(self.drawn)
            self.drawn = None


class Sweep(NamedTuple):
    """One candidate's grid on one task."""

    task: str
    method: str
    rates: tuple[float, ...]
    score: NDArray[np.float64]
    """(rates, shares) of the task's first metric on validation"""
    loss: NDArray[np.float64]
    """(rates, shares) on validation"""
    test: NDArray[np.float64]
    """(rates,) of the whole runs"""


class Rung(NamedTuple):
    """After a share of their steps, the best so many go on."""

    share: float
    kept: int
    by: str
    """score or loss"""


WHOLE = (Rung(1.0, 1, "score"),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--glue", help="a folder of GLUE tasks in GLUE's TSV layout: adds SST-2")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--store", default="reports/early_end.db")
    parser.add_argument("--until", default="24:00", help="a time of this day, HH:MM")
    given = parser.parse_args()
    transformers_trainer.DEFAULT_CALLBACKS.append(ValidateOnTheWay)
    sweeps = []
    for task, method in ((task, method) for task, methods in tasks(given.glue).items() for method in methods):
        records = train(given.store, [spec(given.glue, task, method, place) for place in range(RATES)])
        sweeps.append(Sweep(task, method, *_curves(records)))
        print(task, method, flush=True)
    others: dict[tuple[str, str], dict[float, list[float]]] = {}
    for seed, sweep in ((seed, sweep) for seed in range(1, given.seeds) for sweep in sweeps if disputed(sweep)):
        if datetime.datetime.now().strftime("%H:%M") >= given.until:
            break
        runs = [spec(given.glue, sweep.task, sweep.method, place, seed) for place in disputed(sweep)]
        for record in train(given.store, runs):
            kept = others.setdefault((sweep.task, sweep.method), {})
            kept.setdefault(record.spec["learning_rate"], []).append(_curve(record, "score")[-1])
        print(seed, sweep.task, sweep.method, flush=True)
    write(sweeps, others, records[0])


def tasks(glue: str | None) -> dict[str, tuple[str, ...]]:
    """Return which methods are tuned on which task: a sweep each."""
    return {name: methods for name, methods in ON.items() if glue or name != "sst2"}


def spec(glue: str | None, task: str, method: str, place: int, seed: int = 0) -> RunSpec:
    """Return a run of a grid by the place of its learning rate."""
    settings = scale_settings("sweep.settings", "small") | {"precision": "bfloat16"}
    if task == "sst2":
        settings |= {"task": "sst2", "task_folder": glue}
    elif task.endswith("200 steps"):
        settings |= {"train_examples": 1600}
    centre = scale_settings("sweep.centres", "small")[METHODS[method].name]
    rate = float(f"{centre * SPACING ** (place - (RATES - 1) // 2):.3g}")
    head = rate if method == "head" else 5e-3
    return RunSpec(**settings, method=METHODS[method], learning_rate=rate, head_learning_rate=head, seed=seed)


def train(store: str, specs: Sequence[RunSpec]) -> list[RunRecord]:
    """Return the records of some runs, trained where the store lacks them."""
    table = vxlab.sweep(specs, store=store, progress=False)
    with vxlab.Store(store) as results:
        return [record for key in table["key"] if (record := results.record(key))]


def _curves(records: Sequence[RunRecord]) -> tuple[Any, ...]:
    rates = tuple(float(record.spec["learning_rate"]) for record in records)
    score, loss = (np.array([_curve(record, of) for record in records]) for of in ("score", "loss"))
    return rates, score, loss, np.array([record.score() for record in records])


def write(
    sweeps: Sequence[Sweep], others: Mapping[tuple[str, str], Mapping[float, list[float]]], record: RunRecord
) -> None:
    """Write what was found, and print it."""
    tables = {name: rule_table(sweeps, places) for name, places in grids().items()}
    held = {
        name: [oracle_row(sweep, places, others.get((sweep.task, sweep.method), {})) for sweep in sweeps]
        for name, places in grids().items()
    }
    counts = {name: sum(row["as good"] for row in rows) for name, rows in held.items()}
    found = {
        "rule": OURS, "sweeps": len(sweeps), "as good as the grid's choice": counts, "against the grid": held,
        "rules": tables, "shares": SHARES, "curves": [described(each) for each in sweeps],
        "hardware": record.hardware, "versions": record.versions,
        "settings": without_folders({**record.spec, "method": None, "learning_rate": None}),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{OURS}, as good as the grid's choice, of {len(sweeps)}: {counts}")
    for row in [row for rows in held.values() for row in rows if "grid's scores" in row]:
        print("  ", *row.values())
    for name, rows in tables.items():
        print(name)
        for row in rows:
            print("  ", *(f"{value:.3g}" if isinstance(value, float) else value for value in row.values()))


def rules(number: int) -> dict[str, tuple[Rung, ...]]:
    """Return the rules that are compared for a grid of so many rates; () takes the middle one untried."""
    half = (number + 1) // 2
    found: dict[str, tuple[Rung, ...]] = {"no tuning: the middle rate": (), "whole runs": WHOLE}
    for by in ("score", "loss"):
        found |= {f"all to {_part(share)}, by {by}": (Rung(share, 1, by),) for share in SHARES[:-1]}
        for first, second in ((1 / 8, 1 / 4), (1 / 8, 1 / 2), (1 / 4, 1 / 2)):
            name = f"all to {_part(first)}, half to {_part(second)}, by {by}"
            found[name] = (Rung(first, half, by), Rung(second, 1, by))
    return found


def grids() -> dict[str, list[int]]:
    """Return which of the rates a grid has: all, or three beside each other, whose middle is not always the best."""
    return {"all 5": [0, 1, 2, 3, 4], "lowest 3": [0, 1, 2], "middle 3": [1, 2, 3], "highest 3": [2, 3, 4]}


def rule_table(sweeps: Sequence[Sweep], places: list[int]) -> list[dict[str, Any]]:
    """Return a row a rule: what it saves, how often it chooses as whole runs do, and what scores it gives away."""
    rows = []
    for name, rule in rules(len(places)).items():
        taken = [_choose(sweep, rule, places) for sweep in sweeps]
        best = [_choose(sweep, WHOLE, places)[0] for sweep in sweeps]
        pairs = [(sweep, own, grid) for sweep, (own, _), grid in zip(sweeps, taken, best, strict=True)]
        lost = [float(sweep.score[grid, -1] - sweep.score[own, -1]) for sweep, own, grid in pairs]
        tested = [float(sweep.test[grid] - sweep.test[own]) for sweep, own, grid in pairs]
        rows.append({
            "rule": name, "steps saved": 1 - float(np.mean([cost for _, cost in taken])),
            "grid's choice": f"{sum(own == grid for _, own, grid in pairs)}/{len(pairs)}",
            "as high on validation": f"{sum(each <= 0 for each in lost)}/{len(pairs)}",
            "validation lost, mean": float(np.mean(lost)), "validation lost, most": float(np.max(lost)),
            "test lost, mean": float(np.mean(tested)), "test lost, most": float(np.max(tested)),
        })  # fmt: skip
    return rows


def chosen_by_both(sweep: Sweep, places: Sequence[int]) -> tuple[int, int]:
    """Return the places of the rates that whole runs and the rule choose of these."""
    return _choose(sweep, WHOLE, places)[0], _choose(sweep, rules(len(places))[OURS], places)[0]


def disputed(sweep: Sweep) -> list[int]:
    """Return the places of both rates of every grid in which whole runs' choice and the rule's score otherwise."""
    pairs = [chosen_by_both(sweep, places) for places in grids().values()]
    return sorted(
        {place for grid, own in pairs if sweep.score[grid, -1] != sweep.score[own, -1] for place in (grid, own)}
    )


def oracle_row(sweep: Sweep, places: Sequence[int], others: Mapping[float, list[float]]) -> dict[str, Any]:
    """Return what whole runs and the rule choose of some rates, with both's scores over seeds where these differ.

    As good is the same score on the first seed, or a mean over seeds that is not below the lowest of the grid's choice.
    """
    grid, own = chosen_by_both(sweep, places)
    told = {"sweep": f"{sweep.method} on {sweep.task}", "grid's": sweep.rates[grid], "rule's": sweep.rates[own]}
    if sweep.score[grid, -1] == sweep.score[own, -1]:
        return told | {"as good": True}
    first, second = ([float(sweep.score[each, -1]), *others.get(sweep.rates[each], [])] for each in (grid, own))
    lost = round(float(np.mean(first) - np.mean(second)), 4)
    return told | {"grid's scores": first, "rule's scores": second, "lost": lost,
                   "as good": bool(np.mean(second) >= min(first))}  # fmt: skip


def _choose(sweep: Sweep, rule: Sequence[Rung], places: Sequence[int]) -> tuple[int, float]:
    """Return the place of the rate that a rule chooses, and its steps as a share of the whole grid's."""
    alive, cost = list(places), 0.0
    if not rule:
        return places[len(places) // 2], cost
    for share, kept, by in rule:
        cost += share * len(alive) / len(places)
        merit = (sweep.score if by == "score" else -sweep.loss)[:, SHARES.index(share)]
        if kept == 1:
            break
        alive = sorted(sorted(alive, key=lambda place: -merit[place])[:kept])
    return _best_of(alive, merit, places), cost


def _best_of(alive: Sequence[int], merit: NDArray[np.float64], places: Sequence[int]) -> int:
    """Choose as tuning does: of equals one inside the range, in their middle."""
    ties = [place for place in alive if merit[place] == max(merit[alive])]
    ties = [place for place in ties if place not in (places[0], places[-1])] or ties
    return ties[(len(ties) - 1) // 2]


def _curve(record: RunRecord, of: str) -> list[float]:
    """Return validation after every share of the steps, a run's worst where it diverged."""
    metric = record.task["metrics"][0] if of == "score" else "loss"
    rows = [row["value"] for row in record.metrics if (row["split"], row["metric"]) == ("validation", metric)]
    known = rows[:-1] if record.status == "diverged" else rows
    return [*known, *[WORST[of]] * (len(SHARES) - len(known))]


def _part(share: float) -> str:
    return {1 / 8: "1/8", 1 / 4: "1/4", 1 / 3: "1/3", 1 / 2: "1/2", 3 / 4: "3/4"}[share]


def described(sweep: Sweep) -> dict[str, Any]:
    numbers = {name: np.round(getattr(sweep, name), 4).tolist() for name in ("score", "loss", "test")}
    return {"task": sweep.task, "method": sweep.method, "rates": sweep.rates, **numbers}


if __name__ == "__main__":
    main()
