"""Results of fair sweeps that nobody ran: hits by candidate and seed, in the shape that studies read."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch

import vxlab
from vxlab.experiments.scoring.text_formulas import COLUMNS, WIDTH

BASE = "untuned base"
Hits = Mapping[str, Mapping[int, Sequence[float]]]


def made_up(
    hits: Hits,
    metric: str = "acc",
    texts: Mapping[str, Sequence[str]] | None = None,
    losses: Mapping[str, float] | None = None,
) -> vxlab.Comparison:
    """Return a comparison in which every candidate's runs were right on some items and wrong on others.

    Args:
        hits: by candidate and seed, of each item 1 or 0; of the base one run.
        metric: of these hits; the log-likelihood is the other one.
        texts: by candidate, what its first run answered.
        losses: by candidate, minus the log-likelihood of every item, of one token.
    """
    names = {
        name: SimpleNamespace(method=vxlab.Base() if name == BASE else vxlab.LoRA(rank=2 + number))
        for number, name in enumerate(hits)
    }
    rows, records = [], {}
    for name, runs in hits.items():
        for seed, own in runs.items():
            key = f"{name} {seed}"
            told = {"candidate": name, "seed": seed, "draw": None, "stage": "report", "status": "finished"}
            rows.append({"key": key, **told})
            records[key] = _Record(own, metric, (texts or {}).get(name), (losses or {}).get(name, 1.0))
    items = len(next(iter(next(iter(hits.values())).values())))
    summary = pd.DataFrame({"candidate": list(hits), "backbone": [100 * (name != BASE) for name in hits]})
    made: Any = SimpleNamespace(
        fair=SimpleNamespace(names=names), runs=pd.DataFrame(rows), records=records, summary=summary, items=items
    )
    return cast(vxlab.Comparison, made)


class _Record:
    def __init__(self, hits: Sequence[float], metric: str, texts: Sequence[str] | None, loss: float) -> None:
        choice = metric.startswith("acc")
        metrics = [metric, "log_likelihood"] if choice else ["log_likelihood", metric]
        self.task = {"metrics": metrics, "kind": "multiple_choice" if choice else "generation", "num_labels": 0}
        self.statistics = np.full((len(hits), WIDTH), np.nan)
        self.statistics[:, COLUMNS[metric]] = np.column_stack([hits, np.ones(len(hits))])
        # no two items alike, so that a mean of them has a spread
        jitter = np.linspace(-0.1, 0.1, len(hits)) * (1 + loss)
        self.statistics[:, COLUMNS["log_likelihood"]] = np.column_stack([jitter - loss, np.ones(len(hits))])
        self.given = texts

    def predictions(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(self.statistics), torch.arange(len(self.statistics))

    def units(self) -> None:
        return None

    def texts(self) -> list[str]:
        return list(self.given or [])

    def constant(self) -> np.ndarray:
        """Return the answer that is right on every fourth item."""
        constant = self.statistics.copy()
        metric = next(name for name in self.task["metrics"] if name != "log_likelihood")
        constant[:, COLUMNS[metric].start] = np.arange(len(constant)) % 4 == 0
        return constant
