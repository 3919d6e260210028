"""A training step of every recipe and candidate at the scale ``paper``: true shapes, random weights, full batches.

Where the libraries of whole runs are installed, one run of each method through ``vxlab.run`` too: an epoch of one
batch, a stop, the checkpoint taken up again, and an evaluation.
"""

import csv
import dataclasses
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import stand_ins
import torch
from torch import nn
from transformers import RobertaForSequenceClassification

import vxlab
from vxlab.adapters import Method
from vxlab.adapters.core import Family
from vxlab.adapters.families import lora_xs
from vxlab.experiments import RunSpec, resolve_precision
from vxlab.experiments.costs import peak_bytes, random_batch, time_call, training_step
from vxlab.experiments.sweeps import study_run
from vxlab.paths import shipped_path
from vxlab.studies import study_settings

CPU_BATCH = (2, 8)
"""Texts and tokens where no GPU is there: the models' shapes are what such a rehearsal can keep."""
WHOLE_RUNS = ("vera FacebookAI/roberta-base sst2", "lora_xs FacebookAI/roberta-large cola")


STUDIED: tuple[Method, ...] = (
    vxlab.Full(), vxlab.LoRA(rank=64), vxlab.VeRA(rank=64, seed=1000), vxlab.LoRAXS(rank=64),
    vxlab.VeRA(vectors="d"), vxlab.VeRA(vectors="b"), vxlab.VeRA(matrices="uniform"), vxlab.VeRA(unique=True),
    *(vxlab.LoRAXS(basis=basis) for basis in ("middle", "bottom", "random-svd", "random")),
)  # fmt: skip
"""What the notebooks of similarity, of subspaces and of parts train beside these."""


def specs() -> dict[str, RunSpec]:
    """Return every run that the scale ``paper`` can ask for, one of a kind: published rows, candidates, studies."""
    found = {}
    with shipped_path("data", "published_recipes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            spec = vxlab.recipe(row["method"], scale="paper", model=row["model"], task=row["task"])
            found[f"{row['method']} {row['model']} {row['task']}"] = spec
    for paper in ("vera", "lora_xs"):
        fair = vxlab.fair_recipe("paper", paper=paper, others=["head", "full"])
        for name, candidate in fair.names.items():
            spec = fair.spec(candidate, fair.rates(candidate)[0], fair.head_learning_rates[0], seed=0)
            found[f"fair sweep of {paper}'s paper: {name}"] = spec
    return found | {f"study: {method}": study_run(method, "paper") for method in STUDIED}


def cost_families() -> list[Family]:
    """Return every method at every rank that the notebook of costs measures at the scale ``paper``."""
    settings = study_settings("cost", "paper")
    kinds = {"lora_ranks": vxlab.LoRA, "vera_ranks": vxlab.VeRA, "lora_xs_ranks": vxlab.LoRAXS}
    return [kind(rank=rank) for name, kind in kinds.items() for rank in settings[name]]


def cases(device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    ordered = dict(sorted(specs().items(), key=lambda item: _order(*item)))
    families = cost_families()
    whole = {f"vxlab.run: {name}": partial(whole_run, ordered[name], device, tiny) for name in WHOLE_RUNS}
    if tiny:  # at rank 2 all ranks are one
        ordered = {f"{spec.method.name} {spec.model} {labels_of(spec)}": spec for spec in ordered.values()}
        families = families[::8]
    return {
        **{name: partial(one_step, spec, device, tiny) for name, spec in ordered.items()},
        **whole,
        **{f"cost of {each}": partial(cost_step, each, device, tiny) for each in families},
    }


def _order(name: str, spec: RunSpec) -> tuple[object, ...]:
    """Put what decides least last, and one model's runs together, for they share it."""
    return name.startswith("study"), spec.model, labels_of(spec)


def labels_of(spec: RunSpec) -> int:
    from vxlab.experiments.tasks import GLUE_TASKS

    return len(GLUE_TASKS[spec.task].classes) or 1


def one_step(spec: RunSpec, device: str, tiny: bool, batch_size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Take two steps of a run, the second measured, with its targets, rates, precision, batch and length.

    Args:
        spec: of the scale ``paper``.
        device: ``cuda`` or ``cpu``.
        tiny: a model of two narrow layers, adapted at rank 2.
        batch_size: texts and tokens of each, in place of the spec's.
    """
    spec = smaller(spec) if tiny else spec
    texts, tokens = batch_size or ((spec.batch_size, spec.max_length) if device == "cuda" else CPU_BATCH)
    with attached(spec, device, tiny) as model:
        batch = random_batch(model, texts, tokens)
        batch["labels"] = batch["labels"].float() if labels_of(spec) == 1 else batch["labels"]
        precision = resolve_precision(spec.precision, device)
        step = training_step(model, batch, optimizer(model, spec), precision)
        step()
        seconds = time_call(step)
        beyond = peak_bytes(step, torch.device(device))
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        finite = all(bool(p.isfinite().all()) and p.grad is not None for p in trained)
        return {
            "ok": finite,
            "step_seconds": seconds,
            "peak_bytes_beyond_resident": beyond,
            "trained": vxlab.trainable_parameters(model)._asdict(),
            "layers": len(vxlab.adapted_layers(model)),
            "batch": [texts, tokens],
            "precision": precision,
        }


def optimizer(model: nn.Module, spec: RunSpec) -> torch.optim.Optimizer:
    """Return a run's own optimizer."""
    from vxlab.experiments.runs import parameter_groups

    return torch.optim.AdamW(parameter_groups(model, spec.learning_rate, spec.head_learning_rate, spec.weight_decay))


class attached:  # noqa: N801 - a context
    """The run's model with its method on it; taken off afterwards, for the next of the same model."""

    def __init__(self, spec: RunSpec, device: str, tiny: bool) -> None:
        self.model = _base(spec.model, labels_of(spec), device, tiny)
        self.spec = spec

    def __enter__(self) -> nn.Module:
        try:
            return vxlab.attach(self.model, self.spec.method, self.spec.targets).train()
        except Exception:
            _base.cache_clear()
            raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.model.zero_grad(set_to_none=True)
        if error is None and not isinstance(self.spec.method, vxlab.Full):
            vxlab.detach(self.model)
        else:  # trained as a whole, or who knows in what state
            _base.cache_clear()


@lru_cache(maxsize=1)
def _base(name: str, num_labels: int, device: str, tiny: bool) -> nn.Module:
    config = stand_ins.roberta(name, tiny, num_labels=num_labels)
    return stand_ins.build(RobertaForSequenceClassification, config, device)


def smaller(spec: RunSpec) -> RunSpec:
    """Return the spec with rank 2 where it has a rank, for a toy model."""
    ranked = hasattr(spec.method, "rank")
    return dataclasses.replace(spec, method=dataclasses.replace(spec.method, rank=2) if ranked else spec.method)


def cost_step(family: Family, device: str, tiny: bool) -> dict[str, Any]:
    """Take the steps that the notebook of costs takes of a family at the scale ``paper``, in bases of any values."""
    settings = study_settings("cost", "paper")
    spec = dataclasses.replace(study_run(family, "paper"), model=settings["model"], targets=settings["targets"])
    batch = (settings["batch_size"], settings["tokens"]) if device == "cuda" else None
    with mock.patch.object(lora_xs, "singular_triplets", stand_ins.quick_bases):
        return one_step(spec, device, tiny, batch)


def whole_run(spec: RunSpec, device: str, tiny: bool) -> dict[str, Any]:
    from rehearsal import rehearsed

    with tempfile.TemporaryDirectory() as folder:
        record = rehearsed(smaller(spec) if tiny else spec, Path(folder), device=device, tiny=tiny)
        row = {"seconds": record.train_seconds, "peak_bytes": record.peak_memory, "score": record.score()}
        return row | {"ok": record.status == "finished", "precision": record.precision}
