"""Measure what advice on ranks takes, beside the run that it is about: a batch of gradients against a training step.

    python benchmarks/advice.py

MiniLM on rotten_tomatoes (texts of up to 64 tokens, batches of 16) and dinov2s on cifar10_test (70 pixels, batches of
8), all linear layers of the blocks, on whatever this machine trains on. A batch of gradients is one forward and one
backward pass through the whole model, with the gradient of every layer kept; a step is the median of a run of that
method. Writes benchmarks/results/advice.json.
"""

import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import vxlab
from vxlab.adapters import resolve_targets
from vxlab.experiments.runs import Materials, batch_gradients, first_batches, starting_model
from vxlab.experiments.sweeps import Candidate

RESULTS = Path(__file__).parent / "results" / "advice.json"
METHODS = (vxlab.LoRA(rank=8), vxlab.VeRA(rank=256), vxlab.LoRAXS(rank=16))
TASKS: tuple[dict[str, Any], ...] = (
    {"model": "minilm", "task": "rotten_tomatoes", "max_length": 64, "batch_size": 16},
    {"model": "dinov2s", "task": "cifar10_test", "resolution": 70, "batch_size": 8},
)
SHARED: dict[str, Any] = {"targets": "all-linear", "epochs": 1, "eval_examples": 100}
BATCHES, STEPS = 16, 60


def main() -> None:
    rows = []
    for task in TASKS:
        settings = {**SHARED, **task, "train_examples": STEPS * task["batch_size"]}
        for method in METHODS:
            row, record = measured(method, settings)
            rows.append(row)
            print(rows[-1], flush=True)
            RESULTS.write_text(
                json.dumps({"rows": rows, "hardware": record.hardware, "versions": record.versions}, indent=1) + "\n",
                encoding="utf-8",
            )


def measured(method: Any, settings: dict[str, Any]) -> tuple[dict[str, Any], vxlab.RunRecord]:
    spec = vxlab.RunSpec(method=method, learning_rate=Candidate(method).centre, head_learning_rate=5e-3, **settings)
    with TemporaryDirectory() as folder:
        record = vxlab.run(spec, store=folder)
    batches = gradient_seconds(spec)
    own = {name: value for name, value in settings.items() if name not in ("model", "task")}
    start = time.perf_counter()
    advice = vxlab.advise(settings["model"], settings["task"], method, batches=BATCHES, progress=False, **own)
    whole = time.perf_counter() - start
    row = {
        "model": settings["model"], "method": type(method).__name__, "step_ms": 1e3 * record.step_seconds,
        "gradient_batch_ms": 1e3 * median(batches), "ratio": median(batches) / record.step_seconds,
        "advise_seconds": whole, "energies_seconds": whole - sum(batches[:BATCHES]),
        "run_seconds": record.train_seconds, "verdict": advice.verdict,
    }  # fmt: skip
    return row, record


def gradient_seconds(spec: vxlab.RunSpec) -> list[float]:
    """Return the seconds of each of the first batches' gradients."""
    materials = Materials()
    model = starting_model(spec, materials)
    layers, lesson = resolve_targets(model, spec.targets), materials.task(spec).kind.lesson
    taken, last = [], time.perf_counter()
    for _ in batch_gradients(model, list(first_batches(spec, materials, BATCHES)), layers, lesson):
        now = time.perf_counter()
        taken.append(now - last)
        last = now
    return taken


if __name__ == "__main__":
    main()
