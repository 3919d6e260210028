"""What merging costs on a quantised base: into a weight in floating point, and into one that is packed again."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import adapted_layers, detach, merge
from vxlab.adapters.core import AdaptedQuantisedLinear, linear_weight, quantise_alike
from vxlab.experiments import RunRecord, RunSpec
from vxlab.experiments.runs import blocks_and_roles, load_trained, reading_spec, sample_batches
from vxlab.experiments.scoring import LEVEL, Array, Difference, compare_two, compute, from_error, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.progress import progress_bar
from vxlab.studies import find_test_rows
from vxlab.studies.quantised.sweeps import FLOAT

UNMERGED, MERGED, REQUANTISED = "unmerged", "merged in floating point", "merged and requantised"
_WITHOUT = "without the update"
_LAYERS = ["scheme", "candidate", "seed", "layer", "block", "role", "relative_norm", "rounded", "lost", "kept"]
_OUTPUTS = ["scheme", "candidate", "seed", "rows", "effect", MERGED, REQUANTISED]


class MergingCosts(NamedTuple):
    """What merging costs, in weights, in outputs and in scores."""

    layers: pd.DataFrame
    """a row a run and layer: ``relative_norm`` = ‖ΔW‖ / ‖W‖; ``rounded``, what a merged weight in floating point is off
    by, and ``lost``, what one that is quantised again is, ‖Q(W + ΔW) - (W + ΔW)‖, both as shares of ‖ΔW‖; and ``kept``
    = ⟨Q(W + ΔW) - W, ΔW⟩ / ‖ΔW‖², the share that is left of the update in its own direction. All norms Frobenius's"""
    outputs: pd.DataFrame
    """a row a run: how far its logits lie from the unmerged ones once it is merged, or merged and requantised, as a
    share of ``effect``, how far the update itself moves them; Euclidean norms over some test rows, in float32"""
    scores: pd.DataFrame
    """a row a scheme and candidate: the ``metric`` unmerged, merged and requantised, means over its ``n`` runs; and the
    ``change``, the requantised score less the unmerged one, with its 95 % interval over test items, of these runs,
    ``p_holm`` and ``seen``; empty where the model writes"""


def merging_costs(results: Mapping[str, Comparison], rows: int = 64) -> MergingCosts:
    """Merge what each reported run on a quantised base trained, and quantise it again, without training.

    Layers and scores are of all reported runs of adapters, outputs of each candidate's first. Scores are in the runs'
    own precision; the unmerged ones are those that the runs reported.

    Args:
        results: of :func:`quantised_sweeps`, by scheme.
        rows: of the test split, at most, for the outputs.
    """
    layers: list[tuple[Any, ...]] = []
    outputs: list[tuple[Any, ...]] = []
    predictions: dict[str, dict[tuple[str, str], dict[int, Array]]] = {UNMERGED: {}, MERGED: {}, REQUANTISED: {}}
    runs = [each for scheme, result in results.items() if scheme != FLOAT for each in _reports(scheme, result)]
    with progress_bar(len(runs), "merging and requantising", "run") as bar:
        for run in runs:
            merged = _MergedRun(run)
            bar.update()
            if not merged.updates:  # a method whose update is not in factors on packed layers
                continue
            layers += merged.layers()
            if run.first:
                outputs.append(merged.outputs(rows))
            for state, answers in merged.answers().items():
                predictions[state].setdefault((run.scheme, run.candidate), {})[run.seed] = answers
    scores = _scores(predictions, next(iter(results.values())))
    return MergingCosts(pd.DataFrame(layers, columns=_LAYERS), pd.DataFrame(outputs, columns=_OUTPUTS), scores)


class _Run(NamedTuple):
    scheme: str
    candidate: str
    seed: int
    first: bool
    record: RunRecord
    tested: RunSpec | None
    """reads the rows that were tested; None where they are not there any more"""


def _reports(scheme: str, result: Comparison) -> Iterator[_Run]:
    """Yield the reported runs of adapters that finished."""
    gone = find_test_rows(result) is None
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    seen: set[str] = set()
    for row in reports.sort_values("seed").to_dict("records"):
        if result.fair.names[row["candidate"]].method.on_layers:
            record = result.records[row["key"]]
            tested = None if gone else reading_spec(record)
            yield _Run(scheme, row["candidate"], int(row["seed"]), row["candidate"] not in seen, record, tested)
            seen.add(row["candidate"])


class _MergedRun:
    """A trained model on a quantised base, and the weights that its layers have in each state."""

    def __init__(self, run: _Run) -> None:
        self.run, self.model = run, load_trained(run.record)
        every = adapted_layers(self.model)
        own = {name: layer for name, layer in every.items() if isinstance(layer, AdaptedQuantisedLinear)}
        self.before = {name: layer.base_weight() for name, layer in own.items()}
        self.updates = {name: layer.delta_weight().detach().double() for name, layer in own.items()}
        self.exact = {name: self.before[name].double() + delta for name, delta in self.updates.items()}
        again = {name: quantise_alike(layer.base_layer, self.exact[name].float()) for name, layer in own.items()}
        self.requantised = {name: linear_weight(layer) for name, layer in again.items()}

    def layers(self) -> Iterator[tuple[Any, ...]]:
        places = blocks_and_roles(self.updates)
        for name, delta in self.updates.items():
            exact, norm = self.exact[name], float(delta.norm())
            if not norm:
                continue
            again = self.requantised[name].double()
            rounded = (exact.to(self.before[name].dtype).double() - exact).norm() / norm
            lost, kept = (again - exact).norm() / norm, ((again - self.before[name]) * delta).sum() / norm**2
            yield (
                *self.run[:3], name, *places[name], norm / float(self.before[name].norm()),
                *map(float, (rounded, lost, kept)),
            )  # fmt: skip

    def outputs(self, rows: int) -> tuple[Any, ...]:
        """Return how far the logits of some rows lie from the unmerged ones; NaN where the rows are gone."""
        if self.run.tested is None:
            return (*self.run[:3], 0, math.nan, math.nan, math.nan)
        asked = sample_batches(self.run.tested, rows)
        found = {state: _logits(model, asked) for state, model in self._states()}
        effect = (found[UNMERGED] - found[_WITHOUT]).norm()
        off = [float((found[state] - found[UNMERGED]).norm() / effect) for state in (MERGED, REQUANTISED)]
        return (*self.run[:3], len(found[UNMERGED]), float(effect / found[UNMERGED].norm()), *off)

    def answers(self) -> dict[str, Array]:
        """Return the predictions on the whole test split in each state; {} where the model writes."""
        if not self.run.record.task["num_labels"] or self.run.tested is None:
            return {}
        asked = sample_batches(self.run.tested)
        found = {UNMERGED: self.run.record.predictions()[0].numpy()}
        for state, model in self._states():
            if state in (MERGED, REQUANTISED):
                found[state] = _logits(model, asked, self.run.record.precision).numpy()
        return found

    def _states(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the model in each state, one after another; unmerged it is but once, at the first time."""
        if adapted_layers(self.model):
            yield UNMERGED, self.model
            detach(merge(self.model))
        for state, weights in ((MERGED, None), (REQUANTISED, self.requantised), (_WITHOUT, self.before)):
            for name, W in (weights or self.exact).items():
                linear: Any = self.model.get_submodule(name)
                linear.weight.data.copy_(W)
            yield state, self.model


@torch.inference_mode()
def _logits(model: nn.Module, batches: Iterable[Mapping[str, Tensor]], precision: str = "float32") -> Tensor:
    """Return (rows, classes), or (rows, vocabulary) of what a model that writes would write next."""
    found = []
    for batch in batches:
        with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
            logits = model.eval()(**batch).logits.float()
        if logits.dim() == 3:
            mask = batch["attention_mask"]
            last = (mask * torch.arange(mask.shape[1])).argmax(1)
            logits = logits[torch.arange(len(logits)), last]
        found.append(logits)
    return torch.cat(found)


def _scores(
    predictions: Mapping[str, Mapping[tuple[str, str], Mapping[int, Array]]], result: Comparison
) -> pd.DataFrame:
    columns = [
        "scheme", "candidate", "metric", "n", UNMERGED, MERGED, REQUANTISED, "change", "low", "high", "p_holm", "seen",
    ]  # fmt: skip
    if not predictions[UNMERGED]:
        return pd.DataFrame(columns=columns)
    record = next(iter(result.records.values()))
    labels, units = record.predictions()[1].numpy(), record.units()
    states = [predictions[state] for state in (UNMERGED, MERGED, REQUANTISED)]
    changes = {key: _change(runs, states[2][key], labels, result.metric, units) for key, runs in states[0].items()}
    adjusted = holm([each.p for each in changes.values()])
    rows = []
    for (key, change), p in zip(changes.items(), adjusted.tolist(), strict=True):
        means = [_mean(result.metric, runs[key], labels) for runs in states]
        rows.append((*key, result.metric, len(states[0][key]), *means, *change[:3], p, p <= LEVEL))
    return pd.DataFrame(rows, columns=columns)


def _change(
    before: Mapping[int, Array], after: Mapping[int, Array], labels: Array, metric: str, units: Array | None
) -> Difference:
    """Return the mean change of runs that were quantised again, over other test items, of these very runs.

    Each run is paired with itself, so that no luck of training is between the two. How the items' errors of several
    runs hang together is not estimated: their mean is right where they are alike, and else too wide.
    """
    found = [compare_two({0: after[seed]}, {0: runs}, labels, metric, units) for seed, runs in before.items()]
    error = float(np.mean([each.error for each in found]))
    mean = from_error(float(np.mean([each.difference for each in found])), error, min(each.freedom for each in found))
    return Difference(mean.value, mean.low, mean.high, min(1.0, 2 * min(mean.tails(0))), False, error)


def _mean(metric: str, runs: Mapping[int, Array], labels: Array) -> float:
    return float(np.mean([compute([metric], each, labels)[metric] for each in runs.values()]))
