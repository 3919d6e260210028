"""Train reported runs of the atlas again, by their settings: are the scores the same, to the last digit?

    python benchmarks/atlas_again.py [--atlas FILE.parquet] [--runs 10] [--seed 0] [--only mrpc]

The runs are drawn by the seed among all that the atlas reports, and trained into an empty store, alone, with as many
threads as each had. GLUE's files are found as ever (VXLAB_GLUE, else the hub), a task in a file where you stand. On the
same processor with the same versions the scores are to be the same; elsewhere each is held against the interval of the
atlas's own over test items. Writes benchmarks/results/atlas_again.json; the exit status is 1 where a score differs that
should not, as those do in bfloat16 of runs that took one pass with others (`stacked`).
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vxlab
from vxlab.adapters import method_from_name
from vxlab.experiments import RunRecord, describe_hardware, library_versions, method_label
from vxlab.experiments.atlas import unpack
from vxlab.experiments.scoring import interval
from vxlab.experiments.sweeps import stored_sweeps

RESULTS = Path(__file__).parent / "results" / "atlas_again.json"
OF_NUMBERS = ("torch", "transformers", "numpy", "scikit-learn", "peft")
"""Libraries whose version may change a score's digits."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", help="a file of it, instead of what comes with vxlab")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="task")
    asked = parser.parse_args()
    with unpack(asked.atlas) if asked.atlas else vxlab.atlas() as atlas, tempfile.TemporaryDirectory() as folder:
        rows = []
        for record in draw(atlas, asked.runs, asked.seed, asked.only):
            rows.append(compare_again(record, Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
    alike = [row for row in rows if row["alike"]]
    told = {
        "runs": len(rows), "alike": len(alike), "same": sum(row["same"] for row in rows),
        "within": sum(row["within"] for row in rows), "seed": asked.seed,
        "hardware": describe_hardware("cpu"), "versions": library_versions(), "rows": rows,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    alone = [row["same"] for row in rows if not row["stacked"]]
    how = f"{len(alike)} on the same processor and versions; of {len(alone)} that had trained alone {sum(alone)}"
    print(f"{told['same']} of {len(rows)} the same to the last digit ({how})")
    return int(any(not row["same"] for row in alike))


def draw(atlas: vxlab.Store, count: int, seed: int, only: str | None) -> list[RunRecord]:
    """Return so many of the runs that the atlas reports, drawn by the seed."""
    reported = {
        key: sweep.records[key]
        for sweep in stored_sweeps(atlas)
        for key in sweep.runs.query("stage == 'report' and status == 'finished'")["key"]
        if only in (None, Path(sweep.task).stem)
    }
    keys = sorted(reported)
    if len(keys) < count:
        raise SystemExit(f"the atlas reports {len(keys)} such runs; ask for no more of them")
    chosen = np.random.default_rng(seed).choice(len(keys), count, replace=False)
    return [reported[keys[number]] for number in sorted(chosen)]


def compare_again(record: RunRecord, folder: Path) -> dict[str, Any]:
    """Train a run again, and return both scores and what they were computed with."""
    torch.set_num_threads(int(record.hardware.get("threads", torch.get_num_threads())))
    again = vxlab.run(spec_of(record), store=folder / "again.db", progress=False)
    metric = record.task["metrics"][0]
    (before, labels), (after, _) = record.predictions(), again.predictions()
    low, high = interval(metric, before.numpy(), labels.numpy(), units=record.units())
    has_classes = record.task["num_labels"] > 1
    differing = [name for name in OF_NUMBERS if record.versions.get(name) != again.versions.get(name)]
    hardware = [name for name in ("processor", "threads", "device") if record.hardware[name] != again.hardware[name]]
    return {
        "key": record.key, "task": record.task["name"], "method": method_label(record.spec["method"]),
        "targets": record.spec["targets"], "seed": record.spec["seed"], "metric": metric,
        "score": record.score(), "again": again.score(), "low": low, "high": high,
        "same": again.score() == record.score(),
        "within": low <= again.score() <= high,
        "items_alike": float((before.argmax(1) == after.argmax(1)).float().mean()) if has_classes else None,
        "same_key": again.key == record.key, "stacked": record.training.get("stacked"),
        "alike": not differing and not hardware and again.key == record.key,
        "differing": [*differing, *hardware, *([] if again.key == record.key else ["key"])],
    }  # fmt: skip


def spec_of(record: RunRecord) -> vxlab.RunSpec:
    """Return the spec that a run was trained by; where its files lie is for this machine to say."""
    method = dict(record.spec["method"])
    plain = {name: value for name, value in record.spec.items() if value is not None}
    fields = {name: value for name, value in plain.items() if name not in ("method", "task_folder")}
    return vxlab.RunSpec(method=method_from_name(method.pop("name"), **method), **fields)


if __name__ == "__main__":
    raise SystemExit(main())
