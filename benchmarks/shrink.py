"""Measure what is left of trained runs' scores where their updates are cut to fewer ranks, without training again.

    python benchmarks/shrink.py [--store reports/shrink.db] [--glue path/to/glue] [--seeds 0 1]

LoRA r=16, VeRA r=256 and LoRA-XS r=16 on all linear layers of MiniLM learn from 2,400 reviews of rotten_tomatoes in one
epoch (150 steps), at their usual rates, and with ``--glue`` from 2,400 pairs of MRPC, too. Each update is cut by one
threshold over all layers, at several shares of its energy, and scored on the test split. Writes
benchmarks/results/shrink.json; runs that the store has are not trained again.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import vxlab
from vxlab.experiments.sweeps import Candidate

RESULTS = Path(__file__).parent / "results" / "shrink.json"
METHODS = (vxlab.LoRA(rank=16), vxlab.VeRA(rank=256), vxlab.LoRAXS(rank=16))
SHARES = (0.5, 0.75, 0.9, 0.99)
COLUMNS = [
    "share", "kept", "rank_min", "rank_median", "rank_max", "parameters", "own_parameters", "score", "difference",
    "low", "high",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="reports/shrink.db", help="where finished runs are kept, and found again")
    parser.add_argument("--glue", type=Path, help="GLUE's files, one folder a task; adds MRPC")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    rows = []
    for spec in specs(given.glue, given.seeds):
        record = vxlab.run(spec, store=given.store)
        rows.append(described(record, vxlab.shrink(record, SHARES, store=given.store)))
        print(rows[-1]["sentence"], flush=True)
        found = {"runs": rows, "hardware": record.hardware, "versions": record.versions}
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def specs(glue: Path | None, seeds: list[int]) -> Iterator[vxlab.RunSpec]:
    tasks: list[dict[str, Any]] = [{"task": "rotten_tomatoes"}]
    if glue is not None:
        tasks.append({"task": "MRPC", "task_folder": str(glue / "MRPC")})
    for task, seed, method in product(tasks, seeds, METHODS):
        rate = Candidate(method).centre
        yield vxlab.RunSpec(
            model="minilm", method=method, **task, targets="all-linear", learning_rate=rate, head_learning_rate=5e-3,
            epochs=1, batch_size=16, max_length=64, train_examples=2400, seed=seed,
        )  # fmt: skip


def described(record: vxlab.RunRecord, shrunk: vxlab.Shrunk) -> dict[str, Any]:
    kept = shrunk.ranks.groupby(["share", "role"])["kept"].mean().unstack()
    return {
        "task": record.task["name"],
        "method": shrunk.label,
        "seed": record.spec["seed"],
        "metric": shrunk.metric,
        "items": record.task["rows"]["test"],
        "trivial": record.task["majority"]["test"][shrunk.metric],
        "sentence": shrunk.sentence(),
        "scores": json.loads(shrunk.scores[COLUMNS].to_json(orient="records", double_precision=6)),
        "mean rank by share and role": json.loads(kept.to_json(orient="index", double_precision=2)),
    }


if __name__ == "__main__":
    main()
