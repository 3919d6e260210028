"""Measure the scores in the README: probe, head, adapters and full fine-tuning, tuned alike on MiniLM.

    python benchmarks/scores.py [--glue path/to/glue] [--store reports/runs.db] [--workers 2]

Film reviews, and with GLUE's files SST-2 too. Writes benchmarks/results/scores.json. On two busy cores 62
minutes, and 24 more with SST-2; runs that the store has are not trained again.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import vxlab
from vxlab.experiments.candidates import of_pair
from vxlab.experiments.scoring import compare_all
from vxlab.experiments.sweeps import Candidate, Comparison, FairSweep
from vxlab.paths import without_folders

RESULTS = Path(__file__).parent / "results" / "scores.json"
FLOORS = ("probe", "head only")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--glue", help="a folder of GLUE tasks in GLUE's TSV layout: adds SST-2")
    parser.add_argument("--store", default="reports/runs.db", help="where finished runs are kept, and found again")
    parser.add_argument("--workers", type=int, help="runs at a time")
    given = parser.parse_args()
    tasks: dict[str, dict[str, Any]] = {"rotten_tomatoes": {}}
    if given.glue:
        tasks["sst2"] = {"task_folder": given.glue, "eval_examples": 872}  # all of test, and as many to choose by
    found = {}
    for task, more in tasks.items():
        result = vxlab.compare(fair(task, **more), store=given.store, engine="processes", workers=given.workers)
        found[task] = described(result)
        print(result.verdict(), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def fair(task: str, **more: Any) -> FairSweep:
    """Return the sweep: one protocol for both tasks, each method's rates around what such short runs ask for."""
    settings = {
        "model": "minilm", "task": task, "train_examples": 2000, "epochs": 2, "batch_size": 32, "max_length": 128,
        "precision": "float32", **more,
    }  # fmt: skip
    candidates = [
        vxlab.Probe(),
        Candidate(vxlab.Head(), learning_rate=6e-2),
        Candidate(vxlab.VeRA(rank=256), learning_rate=4e-2),
        Candidate(vxlab.LoRAXS(rank=16), "all-linear", 8e-3),
        Candidate(vxlab.LoRA(rank=8), learning_rate=4e-3),
        Candidate(vxlab.Full(), learning_rate=1e-4),
    ]
    return FairSweep(candidates=candidates, settings=settings, learning_rates=3, report_seeds=3, widen=1)


def described(result: Comparison) -> dict[str, Any]:
    reported = result.runs.query("stage == 'report' and status == 'finished'")
    records = {name: [result.records[key] for key in own["key"]] for name, own in reported.groupby("candidate")}
    first = next(iter(records.values()))[0]
    labels, units = first.predictions()[1].numpy(), first.units()
    return {
        "metric": result.metric,
        "trivial": result.trivial,
        "items": result.items,
        "units": None if units is None else len(np.unique(units)),
        "unit": first.task["unit"],
        "rows": first.task["rows"],
        "candidates": [
            row(name, records, result, expected(records, labels, result.metric, units)) for name in result.fair.names
        ],
        "pairs": [{**pair, "seen": bool(pair["seen"])} for pair in result.pairs.to_dict("records")],
        "verdict": result.verdict(),
        "settings": without_folders(dict(result.fair.settings)),
        "hardware": first.hardware,
        "versions": first.versions,
    }


def expected(
    records: Mapping[str, list["vxlab.RunRecord"]], labels: Any, metric: str, units: Any
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each candidate's expected score, over items (or units) and seeds.

    A score is what lacks to that of the right answers, which is 1 by every metric here.
    """
    answers = {name: {i: r.predictions()[0].numpy() for i, r in enumerate(own)} for name, own in records.items()}
    right = np.eye(int(labels.max()) + 1)[labels]
    compared = compare_all(
        {**answers, "right": {0: right}}, labels, metric, units=units, fixed=["right", *_fixed(records)]
    )
    return {
        name: (max(0.0, 1 + compared[name, "right"].low), min(1.0, 1 + compared[name, "right"].high))
        for name in answers
    }


def _fixed(records: Mapping[str, list["vxlab.RunRecord"]]) -> list[str]:
    return [name for name, own in records.items() if own[0].spec["method"]["name"] == "probe"]


def row(
    name: str,
    records: Mapping[str, list["vxlab.RunRecord"]],
    result: Comparison,
    intervals: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    own = result.summary.set_index("candidate").loc[name]
    low, high = intervals[name]
    gains = {floor: of_pair(result.pairs, name, floor) for floor in FLOORS if floor != name}
    return {
        "candidate": name,
        "mean": float(own["mean"]),
        "low": low,
        "high": high,
        "seeds": [record.score() for record in records[name]],
        "validation": [record.score(split="validation") for record in records[name]],
        "gains": {
            floor: {key: float(gain[key]) for key in ("difference", "low", "high")} for floor, gain in gains.items()
        },
        **{column: float(own[column]) for column in ("learning_rate", "head_learning_rate", "step_seconds")},
        "edge": own["edge"],
        **{column: int(own[column]) for column in ("backbone", "head", "bytes_stored", "tuning_runs")},
        "budget_seconds": float(own["budget_seconds"]),
        "keys": [record.key for record in records[name]],
    }


if __name__ == "__main__":
    main()
