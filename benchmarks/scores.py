"""Measure the scores in the README: every method's recipe on film reviews, and LoRA on GLUE tasks.

    python benchmarks/scores.py [--glue path/to/glue] [--store reports/runs.db]

Writes benchmarks/results/scores.json. About 15 minutes on two cores without GLUE, 25 with it.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import vxlab
from vxlab.experiments.metrics import interval
from vxlab.paths import without_folders

RESULTS = Path(__file__).parent / "results" / "scores.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--glue", help="a folder of GLUE tasks in GLUE's TSV layout: adds SST-2, STS-B and RTE")
    parser.add_argument("--store", default="reports/runs.db", help="where finished runs are kept, and found again")
    arguments = parser.parse_args()
    specs = {
        "LoRA r=8": vxlab.recipe("lora"),
        "VeRA r=256": vxlab.recipe("vera"),
        "LoRA-XS r=16, all-linear": vxlab.recipe("lora_xs", targets="all-linear"),
        "head only": vxlab.recipe("head"),
        "full fine-tuning": vxlab.recipe("full"),
    }
    if arguments.glue:
        glue = {"task_folder": arguments.glue}
        specs["LoRA r=8, SST-2"] = vxlab.recipe("lora", task="sst2", train_examples=3000, epochs=3, **glue)
        specs["LoRA r=8, all-linear, SST-2"] = replace(specs["LoRA r=8, SST-2"], targets="all-linear")
        specs["LoRA r=8, STS-B"] = vxlab.recipe("lora", task="stsb", train_examples=5174, **glue)
        specs["LoRA r=8, RTE"] = vxlab.recipe("lora", task="rte", train_examples=2241, epochs=3, **glue)
    rows = [_row(name, vxlab.run(spec, store=arguments.store)) for name, spec in specs.items()]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['run']:28} {row['metric']} {row['test']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")


def _row(name: str, record: "vxlab.RunRecord") -> dict[str, object]:
    metric = record.task["metrics"][0]
    low, high = interval(metric, *(tensor.numpy() for tensor in record.predictions()))
    return {
        "run": name,
        "task": record.task["name"],
        "metric": metric,
        "test": record.score(),
        "low": low,
        "high": high,
        "validation": record.score(split="validation"),
        "all_test_metrics": {m: record.score(m) for m in record.task["metrics"]},
        "trivial": record.task["majority"]["test"],
        "rows": record.task["rows"],
        "trained_parameters": record.parameters,
        "bytes_stored": record.bytes_stored,
        "step_seconds": record.step_seconds,
        "train_seconds": record.train_seconds,
        "peak_memory": record.peak_memory,
        "spec": without_folders(record.spec),
        "hardware": record.hardware,
        "versions": record.versions,
    }


if __name__ == "__main__":
    main()
