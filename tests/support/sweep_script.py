"""A sweep of short runs as a script, to be killed, doubled or starved: MODEL TASK STORE ENGINE [RUNS]."""

import sys

import toy_runs

import vxlab
from vxlab.experiments.runs.one_run import train_job

RUNS = 12


def specs(model: str, task: str, runs: int = RUNS) -> list[vxlab.RunSpec]:
    """Return short runs of four methods, several seeds each."""
    methods = (vxlab.LoRA(rank=2), vxlab.VeRA(rank=4), vxlab.LoRAXS(rank=2), vxlab.Head())
    return [
        toy_runs.spec(model, task, method=methods[i % len(methods)], seed=i // len(methods), epochs=1)
        for i in range(runs)
    ]


if __name__ == "__main__":
    model, task, store, engine, *rest = sys.argv[1:]
    runs = int(rest[0]) if rest else RUNS
    print("ready", flush=True)
    sys.stdin.readline()  # where a test has it wait for others
    table = vxlab.sweep(specs(model, task, runs), store=store, engine=engine, progress=False)
    print("trained here:", train_job.__module__, len(table), flush=True)
