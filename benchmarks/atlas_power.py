"""Measure what the atlas can see across tasks: a planted difference, and how often equal candidates seem to differ.

    python benchmarks/atlas_power.py [--store runs.db] [--model minilm] [--points 2] [--resamplings 200]

Of an adapter on all tasks, a copy is made whose scores are lowered, and one whose are not. Each time the test items (or
their units) of every task and the seeds of the two are drawn again, and how far the copy differs varies from task to
task, not at all, or as the tenth, or the half, of these candidates' pairs do at most: is the difference seen across
tasks, judged as the notebook does, alone and after Holm's correction for as many comparisons as there are with one
reference? Three adapters: of the best, the middle and the worst mean rank. Tasks scored by another metric than accuracy
or a correlation are left out. Without --store the atlas that is shipped is read. Writes
benchmarks/results/atlas_power.json. Minutes on one core.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import vxlab
from vxlab.experiments import RunRecord, family_name, layers, rank_of
from vxlab.experiments.scoring import LEVEL, Array, compare_two
from vxlab.experiments.sweeps import stored_sweeps
from vxlab.studies.atlas import (
    AcrossTasks,
    across_tasks,
    choose_model,
    mean_ranks,
    pool_tasks,
    pooled_differences,
)

METRICS = ("accuracy", "pearson", "spearman")
_TIMES = 20
"""that true differences are drawn for each resampling where they vary from task to task; 200 alone say too little"""
RESULTS = Path(__file__).parent / "results" / "atlas_power.json"


class Answers(NamedTuple):
    """One candidate on one task."""

    outputs: Array
    """(seeds, items) 1 where right, else 0; of a regression what was predicted"""
    labels: Array
    """(items,) 1; of a regression the targets"""
    metric: str
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
    between = pooled_differences(across)["between"]
    spreads = {share: float(between.quantile(share)) for share in (0.1, 0.5)}
    names = [name for name in ranks.table["candidate"] if across.row(name)["targets"] != "none"]
    chosen = dict.fromkeys([names[0], names[len(names) // 2], names[-1]])
    asked = {
        "points": given.points,
        "resamplings": given.resamplings,
        "spreads": [0.0, *(spread for spread in spreads.values() if spread >= 0.1)],
    }
    found = [row for name in chosen for row in measure(across, name, **asked)]
    told = {
        "model": across.name, "tasks": len(across.tasks), "candidates": len(across.candidates),
        "points": given.points, "resamplings": given.resamplings, "spread of pairs over tasks": spreads,
        "asked": {"planted": 0.8, "equal": 0.05}, "found": found,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in found:
        print(row)


def measure(
    across: AcrossTasks,
    name: str,
    *,
    spreads: Sequence[float],
    points: float,
    resamplings: int,
) -> list[dict[str, Any]]:
    """Return how often a candidate's lowered copy is seen across tasks, and how often its equal copy is.

    Args:
        across: one model's tasks.
        name: the candidate.
        spreads: points by which the true difference varies from task to task; a row for each.
        points: by which the copy is lowered.
        resamplings: how many.
    """
    answers, random = answers_of(across, name), np.random.default_rng(0)
    drawn = np.array([[resample(each, random) for each in answers.values()] for _ in range(resamplings)])
    varied = random.standard_normal((_TIMES, *drawn.shape[:2]))
    comparisons = max(1, len(across.candidates) - 1)
    rows = []
    for spread in spreads:
        equal, planted = (
            np.array([
                pool_tasks(differences - lowered + spread * more, errors).p
                for once in varied[: _TIMES if spread else 1]
                for (differences, errors), more in zip(drawn.transpose(0, 2, 1), once, strict=True)
            ])
            for lowered in (0.0, points)
        )  # fmt: skip
        rows.append({
            "candidate": name, "tasks": len(answers), "spread": round(spread, 3), "draws": len(equal),
            "planted seen": float((planted <= LEVEL).mean()), "equal seen": float((equal <= LEVEL).mean()),
            "comparisons": comparisons, "planted seen after Holm": float((planted <= LEVEL / comparisons).mean()),
            "equal seen after Holm": float((equal <= LEVEL / comparisons).mean()),
            "error of one task": round(float(np.median(drawn[:, :, 1])), 2),
        })  # fmt: skip
    return rows


def resample(one: Answers, random: np.random.Generator) -> tuple[float, float]:
    """Return the difference, in points, of two draws of a candidate's seeds on one draw of units, and its error."""
    kinds = np.unique(one.units)
    drawn = random.choice(kinds, len(kinds))
    rows = [np.flatnonzero(one.units == kind) for kind in kinds]
    places = dict(zip(kinds, rows, strict=True))
    items = np.concatenate([places[kind] for kind in drawn])
    units = np.repeat(np.arange(len(drawn)), [len(places[kind]) for kind in drawn])
    seeds = len(one.outputs)
    a, b = (dict(enumerate(one.outputs[random.integers(0, seeds, seeds)][:, items])) for _ in range(2))
    found = compare_two(a, b, one.labels[items], one.metric, units)
    return 100 * found.difference, 100 * found.error


def answers_of(across: AcrossTasks, name: str) -> Mapping[str, Answers]:
    """Return a candidate's answers on each task that is scored by accuracy or a correlation."""
    found = {}
    for task in across.scores.loc[across.scores["candidate"] == name, "task"]:
        own = [record for record in across.records.values() if Path(record.spec["task"]).stem == task]
        wanted = [record for record in own if record.status == "finished" and is_of(record, across.row(name))]
        if len(wanted) < 2 or wanted[0].task["metrics"][0] not in METRICS:
            continue
        pairs = [tuple(tensor.numpy() for tensor in record.predictions()) for record in wanted]
        metric, labels, units = wanted[0].task["metrics"][0], pairs[0][1], wanted[0].units()
        if metric == "accuracy":
            outputs = np.array([logits.argmax(axis=1) == truth for logits, truth in pairs]).astype(np.int64)
            labels = np.ones_like(labels)
        else:
            outputs = np.array([values[:, 0] for values, _ in pairs])
        found[str(task)] = Answers(outputs, labels, metric, np.arange(len(labels)) if units is None else units)
    return found


def is_of(record: RunRecord, candidate: Mapping[str, Any]) -> bool:
    """Say whether a run is of a candidate: its family, rank and layers."""
    method, rank = record.spec["method"], candidate["rank"]
    same_rank = rank_of(method) == (None if pd.isna(rank) else rank)
    where = layers(method, record.spec["targets"])
    return family_name(method) == candidate["family"] and same_rank and where == candidate["targets"]


if __name__ == "__main__":
    main()
