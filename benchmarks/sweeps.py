"""What sweep, store and engine cost beside the runs themselves: 100 short runs of MiniLM, inline and on SQLite.

    python benchmarks/sweeps.py [--runs 100]

The runs' own time is spent in training, evaluating and saving. The rest is the copy of the base model that each run
gets, looking up keys, leases, writing down, progress and the final table; loading model and data once is told apart.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import vxlab
from vxlab.experiments import describe_hardware, library_versions
from vxlab.experiments.runs import inputs as materials
from vxlab.experiments.sweeps import many_runs as sweep
from vxlab.experiments.sweeps import worker

RESULTS = Path(__file__).parent / "results" / "sweeps.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    smoke = {name: value for name, value in vxlab.recipe("lora", scale="smoke").settings().items() if name != "method"}
    chosen = {name: smoke[name] for name in ("epochs", "batch_size", "max_length", "train_examples", "eval_examples")}
    specs = vxlab.grid([vxlab.LoRA(rank=4)], learning_rates=[2e-3], seeds=range(runs), **chosen)
    spent = {name: Timed(owner, name) for owner, name in ((worker, "train_job"), (materials, "copy_with_new_head"))}
    loading = Timed(materials, "load_model")
    preparing = Timed(sweep, "jobs_of")
    planning = Timed(sweep, "plan_runs")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        table = vxlab.sweep(specs, store=folder)
        total = time.perf_counter() - started
    assert (table["status"] == "finished").all()
    own = spent["train_job"].seconds - spent["copy_with_new_head"].seconds
    once = loading.seconds + preparing.seconds + planning.seconds
    result = {
        "command": f"python benchmarks/sweeps.py --runs {runs}",
        "runs": runs,
        "total_seconds": total,
        "own_seconds": own,
        "once_seconds": {"model": loading.seconds, "keys": preparing.seconds, "plan": planning.seconds},
        "copies_seconds": spent["copy_with_new_head"].seconds,
        "overhead": (total - once - own) / own,
        "overhead_with_plan_and_keys": (total - loading.seconds - own) / own,
        "models_loaded": loading.calls,
        "hardware": describe_hardware("cpu"),
        "versions": library_versions(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


class Timed:
    """Count the calls of a module's function, and the seconds in it."""

    def __init__(self, owner: Any, name: str) -> None:
        self.seconds, self.calls, self.function = 0.0, 0, getattr(owner, name)
        setattr(owner, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started
            self.calls += 1


if __name__ == "__main__":
    main()
