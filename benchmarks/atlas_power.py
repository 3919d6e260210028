"""Measure what the atlas can see across tasks: a planted difference, and how often equal candidates seem to differ.

    python benchmarks/atlas_power.py [--store runs.db] [--model minilm] [--points 2] [--resamplings 200]

Of an adapter on all tasks, a copy is made whose scores are lowered, and one whose are not. Each time the test items (or
their units) of every task and the seeds of the two are drawn again, and how far the copy differs varies from task to
task, not at all or as these candidates do from each other: is the difference seen across tasks, judged as the notebook
does, alone and after Holm's correction for as many comparisons as there are with one reference? Three adapters: of the
best, the middle and the worst mean rank. Tasks that are not scored by accuracy are left out. Without --store the atlas
that is shipped is read. Writes benchmarks/results/atlas_power.json. Minutes on one core.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import vxlab
from vxlab.experiments import RunRecord, family_name, layers, rank_of
from vxlab.experiments.scoring import LEVEL, Array, Luck, compare_two, paired_luck
from vxlab.experiments.sweeps import stored_sweeps
from vxlab.studies.atlas import AcrossTasks, across_tasks, choose_model, mean_ranks, pool_tasks

RESULTS = Path(__file__).parent / "results" / "atlas_power.json"


class Answers(NamedTuple):
    """One candidate on one task."""

    hits: Array
    """(seeds, items) the part of the first metric that each item holds: right or wrong"""
    units: Array
    """(items,) numbers of their units"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", help="a store of runs in the atlas's place")
    parser.add_argument("--model", help="whose tasks; by default of the model with the most")
    parser.add_argument("--points", type=float, default=2.0, help="by which the copy is lowered")
    parser.add_argument("--resamplings", type=int, default=200)
    given = parser.parse_args()
    results = vxlab.Store(given.store) if given.store else vxlab.atlas()
    across = choose_model(across_tasks(stored_sweeps(results)), given.model)
    ranks = mean_ranks(across.scores)
    luck = luck_over_tasks(across)
    spread = float(np.sqrt(max(0.0, luck.variance - float((across.pairs["error"] ** 2).mean()))))
    names = [name for name in ranks.table["candidate"] if across.row(name)["targets"] != "none"]
    found = [
        measure(across, name, luck, spread=wide, points=given.points, resamplings=given.resamplings)
        for name in dict.fromkeys([names[0], names[len(names) // 2], names[-1]])
        for wide in (0.0, spread)
    ]
    told = {
        "model": across.name, "tasks": len(across.tasks), "candidates": len(across.candidates),
        "points": given.points, "resamplings": given.resamplings, "spread of candidates over tasks": spread,
        "asked": {"planted": 0.8, "equal": 0.05}, "found": found,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in found:
        print(row)


def luck_over_tasks(across: AcrossTasks) -> Luck:
    """Return how much a pair's difference varies from task to task, as all candidates on all tasks have it."""
    table = across.scores.pivot_table(index="task", columns="candidate", values="mean").dropna(axis="columns")
    lucks = paired_luck({str(name): table[name].to_numpy() for name in table}).values()
    return max(lucks, key=lambda luck: luck.freedom)  # the pool's; those that stand out have their own


def measure(
    across: AcrossTasks,
    name: str,
    luck: Luck,
    *,
    spread: float,
    points: float,
    resamplings: int,
) -> dict[str, Any]:
    """Return how often a candidate's lowered copy is seen across tasks, and how often its equal copy is.

    Args:
        across: one model's tasks.
        name: the candidate.
        luck: of a pair, from task to task.
        spread: points by which the true difference varies from task to task.
        points: by which the copy is lowered.
        resamplings: how many.
    """
    answers = answers_of(across, name)
    random, comparisons = np.random.default_rng(0), max(1, len(across.candidates) - 1)
    p: dict[float, list[float]] = {0.0: [], -points: []}
    for _ in range(resamplings):
        drawn = [resample(each, random) for each in answers.values()]
        varied = spread * random.standard_normal(len(drawn))
        for lowered in p:
            differences = [-value + lowered + more for (value, _), more in zip(drawn, varied, strict=True)]
            p[lowered].append(pool_tasks(differences, [error for _, error in drawn], luck).p)
    equal, planted = (np.array(p[lowered]) for lowered in (0.0, -points))
    return {
        "candidate": name, "tasks": len(answers), "spread": round(spread, 3),
        "planted seen": float((planted <= LEVEL).mean()), "equal seen": float((equal <= LEVEL).mean()),
        "comparisons": comparisons, "planted seen after Holm": float((planted <= LEVEL / comparisons).mean()),
        "equal seen after Holm": float((equal <= LEVEL / comparisons).mean()),
    }  # fmt: skip


def resample(one: Answers, random: np.random.Generator) -> tuple[float, float]:
    """Return the difference, in points, of two draws of a candidate's seeds on one draw of units, and its error."""
    kinds = np.unique(one.units)
    drawn = random.choice(kinds, len(kinds))
    rows = [np.flatnonzero(one.units == kind) for kind in kinds]
    places = dict(zip(kinds, rows, strict=True))
    items = np.concatenate([places[kind] for kind in drawn])
    units = np.repeat(np.arange(len(drawn)), [len(places[kind]) for kind in drawn])
    seeds = len(one.hits)
    a, b = (one.hits[random.integers(0, seeds, seeds)][:, items] for _ in range(2))
    labels = np.ones(len(items), dtype=np.int64)
    runs = [{i: each.astype(np.int64) for i, each in enumerate(several)} for several in (a, b)]
    found = compare_two(runs[0], runs[1], labels, "accuracy", units)
    return 100 * found.difference, 100 * found.error


def answers_of(across: AcrossTasks, name: str) -> Mapping[str, Answers]:
    """Return a candidate's answers on each task that counts items as right or wrong."""
    found = {}
    for task in across.scores.loc[across.scores["candidate"] == name, "task"]:
        own = [record for record in across.records.values() if Path(record.spec["task"]).name == task]
        wanted = [record for record in own if record.status == "finished" and is_of(record, across.row(name))]
        if not wanted or wanted[0].task["metrics"][0] != "accuracy" or len(wanted) < 2:
            continue
        pairs = [tuple(tensor.numpy() for tensor in record.predictions()) for record in wanted]
        hits = np.array([logits.argmax(axis=1) == labels for logits, labels in pairs])
        units = wanted[0].units()
        found[str(task)] = Answers(hits, np.arange(hits.shape[1]) if units is None else units)
    return found


def is_of(record: RunRecord, candidate: Mapping[str, Any]) -> bool:
    """Say whether a run is of a candidate: its family, rank and layers."""
    method, rank = record.spec["method"], candidate["rank"]
    same_rank = rank_of(method) == (None if pd.isna(rank) else rank)
    where = layers(method, record.spec["targets"])
    return family_name(method) == candidate["family"] and same_rank and where == candidate["targets"]


if __name__ == "__main__":
    main()
