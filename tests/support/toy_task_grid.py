"""Runs on several tasks that nobody trained: stores of hits drawn around known levels, and tables made by hand."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from toy_records import IDENTITY, curve, key_of, metric_rows, task_of, toy_spec

import vxlab
from vxlab.experiments import RunRecord
from vxlab.experiments.scoring import compute
from vxlab.studies.atlas import AcrossTasks
from vxlab.studies.atlas.gather import PAIR_COLUMNS

QV, ALL = "query-value", "all-linear"
LAYERS = {QV: ((384, 384),) * 12, ALL: (((384, 384),) * 4 + ((1536, 384), (384, 1536))) * 6}
"""(out, in) of MiniLM's"""
Level = tuple[vxlab.adapters.Method, str, float]
"""a candidate's method and layers, and points that it scores above the task's level"""


def grid(full: bool = True) -> list[Level]:
    """Return the atlas's candidates, or a few of them, with plausible levels."""
    lora = [(vxlab.LoRA(rank=rank), on, 6 + 0.5 * i + 0.8 * (on == ALL)) for i, rank in enumerate((1, 4, 16))
            for on in (QV, ALL)]  # fmt: skip
    vera = [(vxlab.VeRA(rank=rank), on, 5 + 0.3 * i + 0.8 * (on == ALL)) for i, rank in enumerate((64, 256))
            for on in (QV, ALL)]  # fmt: skip
    xs = [(vxlab.LoRAXS(rank=rank), on, 4 + 0.7 * i + 0.8 * (on == ALL)) for i, rank in enumerate((8, 16, 32))
          for on in (QV, ALL)]  # fmt: skip
    fa = [(vxlab.LoRA(rank=4, trains="B"), on, 5.8) for on in (QV, ALL)]
    rest: list[Level] = [(vxlab.Head(), QV, 0.0), (vxlab.Full(), QV, 7.5), (vxlab.BitFit(), QV, 5.5)]
    return [*rest, *lora, *vera, *xs, *fa] if full else [*rest[:2], lora[0], lora[3], vera[0], xs[0]]


def fill(
    store: vxlab.Store,
    tasks: Mapping[str, Sequence[Level]],
    *,
    items: int = 300,
    seeds: int = 3,
    rates: int = 2,
    spread: float = 1.0,
    level: float = 75.0,
    identity: Mapping[str, str] | None = None,
    **spec: Any,
) -> None:
    """Put finished runs of two classes into a store: tuning runs on seed 0, reports at the second rate on the others.

    Args:
        store: empty, or with other runs.
        tasks: by name the candidates that ran on each.
        items: of each test split.
        seeds: reported; 0: the runs only chose a rate, and ended early.
        rates: tried.
        spread: points by which a candidate's level varies from task to task.
        level: points of a candidate that is 0 above it.
        identity: parts of the runs' identity.
        spec: settings of all runs.
    """
    start = len(store.table())
    for place, (task, levels) in enumerate(tasks.items()):
        random = np.random.default_rng([place, items])
        labels, difficulty = random.integers(0, 2, items), random.random(items)
        for method, targets, points in levels:
            own = (level - 4 * place + points + spread * random.standard_normal()) / 100
            for run in range(rates + seeds):
                rate = 1e-3 * 3 ** (run if run < rates else 1)
                settings = {"seed": max(0, run - rates + 1), "learning_rate": rate, "targets": targets, "task": task}
                hits = difficulty + 0.1 * random.standard_normal(items) < own
                made = toy_spec(method=method, **settings, **spec)
                start += 1
                size, not_chosen = _size(method, targets), run in (0, *range(2, rates))
                status = "finished" if seeds else "ended early"
                _put(store, key_of(start), made, hits, labels, identity or {}, size, not_chosen, status)


def _size(method: Any, targets: str) -> int:
    if not method.on_layers:
        return {"base": 0, "head": 0, "full": 22_000_000, "bitfit": 38_000}[method.name]
    return sum(method.parameter_count(shape) for shape in LAYERS[targets])


def _put(
    store: vxlab.Store,
    key: str,
    spec: dict[str, Any],
    hits: Any,
    labels: Any,
    identity: Mapping[str, str],
    size: int,
    not_chosen: bool,
    status: str,
) -> None:
    logits = np.eye(2, dtype=np.float32)[np.where(hits, labels, 1 - labels)]
    task = task_of(logits, labels) | {"name": spec["task"]}
    tests = compute(task["metrics"], logits, labels)
    folder = store.folder_of(key)
    packed = save({"test.logits": torch.tensor(logits), "test.labels": torch.tensor(labels)})
    validation = tests["accuracy"] - 0.2 * not_chosen
    record = RunRecord(
        key=key, spec=spec, identity={**IDENTITY, "task": f"{spec['task']} accuracy f1", **identity}, status=status,
        task=task, metrics=metric_rows(tests, (validation - 0.1, validation, validation - 0.2)),
        curve=curve([0.7, 0.5, 0.4]), best_epoch=2, parameters={"backbone": size, "head": 770, "total": 22_500_000},
        layers=12, bytes_stored=41_234, steps=60, step_seconds=0.1, train_seconds=8.0, peak_memory=2**30,
        precision="float32", hardware={"processor": "a processor"}, versions={},
        finished_at="2026-01-01T00:00:00+00:00", folder=Path(folder), kept=packed,
    )  # fmt: skip
    store.finish(dataclasses.replace(record), "host:1:0.0:me")


FAMILIES = {"LoRA": "LoRA", "VeRA": "VeRA", "XS": "LoRA-XS", "full": "full fine-tuning", "head": "head only"}
WHOLE = {"full": 22_000_000, "head": 0}


def across(means: Mapping[str, Sequence[float]], *, error: float = 0.5, unit: str = "points", **columns: Any) -> Any:
    """Return what an atlas shows, made by hand: each candidate's mean on each task, NaN where it lacks.

    Args:
        means: by candidate, such as "LoRA 4 qv" or "full", its means by task.
        error: of every difference on one task.
        unit: of all that.
        columns: further columns of the scores, by their names a value for all or a function of candidate and task.
    """
    tasks = [f"t{i}" for i in range(len(next(iter(means.values()))))]
    rows = [_scored(task, name, value) for name, row in means.items() for task, value in zip(tasks, row, strict=True)]
    scores = pd.DataFrame(rows).dropna(subset=["mean"]).astype({"rank": "Int64", "backbone": "Int64"})
    for column, value in columns.items():
        pairs = zip(scores["candidate"], scores["task"], strict=True)
        scores[column] = [value(*each) for each in pairs] if callable(value) else value
    of = scores.set_index(["task", "candidate"])["mean"]
    pairs = pd.DataFrame(
        [(task, a, b, of[task, a] - of[task, b], error, 100.0, False) for task in tasks
         for a, b in combinations(means, 2) if (task, a) in of.index and (task, b) in of.index],
        columns=PAIR_COLUMNS,
    )  # fmt: skip
    told = pd.DataFrame({
        "task": tasks, "metric": "accuracy", "trivial": 0.5, "items": 400, "candidates": len(means),
        "pairs": [int((pairs["task"] == task).sum()) for task in tasks], "apart": 0, "reports": 3 * len(means),
        "lost": 0, "hours": 0.5,
    })  # fmt: skip
    none = pd.DataFrame(columns=["task", "what", "why"])
    return AcrossTasks("minilm", "minilm", unit, told, scores.reset_index(drop=True), pairs, none)


def _scored(task: str, name: str, mean: float) -> dict[str, Any]:
    family, rank, on = [*name.split(), "", ""][:3]
    targets = {"qv": QV, "al": ALL}.get(on, "none")
    size = WHOLE.get(family) or 1000 * int(rank or 0) * (5 if on == "al" else 1)
    return {
        "task": task, "candidate": name, "family": FAMILIES[family], "rank": int(rank) if rank else None,
        "targets": targets, "backbone": size, "mean": mean, "validation": mean, "n": 3, "diverged": 0,
        "variance": 0.1, "learning_rate": 1e-3, "edge": "", "step": 3.0, "fixed": False,
    }  # fmt: skip
