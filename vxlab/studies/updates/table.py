"""What a run's update is like in each layer: size, spectrum, what was trained, and how W's directions turned."""

import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from vxlab.adapters import AdaptedLinear, LoRAXS, VeRA, layer_update, updated_layers, weight_before
from vxlab.analysis import FullUpdate, Update, effective_rank, intruder_dimensions, rank_for_energy, stable_rank
from vxlab.errors import VxlabError
from vxlab.experiments import RunRecord, method_label
from vxlab.experiments.runs import (
    base_weights,
    blocks_and_roles,
    full_updates,
    load_trained,
    require_updates,
)
from vxlab.experiments.store import Where, kept_table
from vxlab.progress import progress_bar

LEADING, THRESHOLD = 10, 0.5
"""Of W + ΔW's directions so many are held against W's; a cosine below the threshold makes one an intruder."""
CELLS = 25
"""R is kept as a square of at most so many rows: of several entries the one of largest magnitude."""
_POINTS = 48
_LAYERS = [
    "layer", "block", "role", "out", "in", "relative_norm", "norm", "rank", "rank_50", "rank_90", "stable_rank",
    "effective_rank", "top", "weight_top", "intruders", "leading", "chance", "d_norm", "b_norm", "core_norm",
    "core_largest", "core_rank",
]  # fmt: skip


class UpdateTables(NamedTuple):
    """What a run's update is like, layer by layer."""

    layers: pd.DataFrame
    """one row a layer: ``layer, block, role, out, in``; ``relative_norm`` = ‖ΔW‖_F / ‖W‖_F, ``norm`` = ‖ΔW‖_F;
    ``rank``, ``rank_50`` and ``rank_90`` (singular values that hold so many per cent of ‖ΔW‖²_F), ``stable_rank`` and
    ``effective_rank`` of ΔW; ``top`` and ``weight_top``, the largest singular values of ΔW and W;
    ``intruders`` among the ``leading`` first directions of W + ΔW, and the mean similarity of a random direction,
    ``chance``; and where they were trained, else NaN: ``d_norm, b_norm`` (VeRA), ``core_norm, core_largest`` (in
    magnitude) and ``core_rank`` of R (LoRA-XS)"""
    points: pd.DataFrame
    """one row a point of a line: ``layer``, ``what`` (``spectrum``, ``similarity``, ``d``, ``b``, ``outputs``,
    ``inputs`` or ``R``), ``at`` and ``value``. Spectrum and similarity are by their number from 1; magnitudes of d, b
    and of ΔW's rows (``outputs``, ‖ΔW_i‖·√out/‖ΔW‖) and columns (``inputs``) in descending order, by the share of the
    entries up to there; R's entries row by row, as shares of the largest"""


class TrainedLayer(NamedTuple):
    """A layer's weight before training, what was added to it, and the tensors that were trained."""

    weight: Tensor
    update: Update
    trained: dict[str, Tensor]


def update_tables(record: RunRecord, *, store: Where = None) -> UpdateTables:
    """Return what a run's update is like in every layer that it trained; kept beside the store's runs.

    Args:
        record: a finished run of an adapter, or of ``Full()``.
        store: where to keep the tables, as :func:`vxlab.run` takes it.

    Raises:
        VxlabError: the run did not finish, trained no updates, or its base model is no longer the one it trained on.
    """
    require_updates(record)
    return kept_table(_updates, record, store=store)


@torch.no_grad()
def trained_layers(record: RunRecord) -> dict[str, TrainedLayer]:
    """Return what a run changed in every layer: the weight it started from, the update's factors, and what was trained.

    Args:
        record: a finished run of an adapter, or of ``Full()``, whose updates are (ΔW, identity).

    Raises:
        VxlabError: the run trained no updates, or its base model is no longer the one it trained on.
    """
    if record.spec["method"]["name"] == "full":
        weights = base_weights(record)
        return {
            name: TrainedLayer(weights[name], _by_factors(dense), {}) for name, dense in full_updates(record).items()
        }
    layers = updated_layers(load_trained(record))
    if not layers:
        raise VxlabError(
            f"run {record.key[:12]} ({method_label(record.spec['method'])}) trained no updates of weights that can be "
            "shown; give a run of an adapter on layers or of full fine-tuning"
        )
    return {
        name: TrainedLayer(weight_before(layer), _by_factors(layer_update(layer, name)), _shown_tensors(layer))
        for name, layer in layers.items()
    }


def _by_factors(update: Update) -> Update:
    """Return an update by its two factors, so that pairs of a dense and a thin one are treated alike."""
    return Update(update.left, update.right) if isinstance(update, FullUpdate) else update


def _shown_tensors(layer: nn.Module) -> dict[str, Tensor]:
    # By their names: a family of a user's own may call anything R.
    if not isinstance(layer, AdaptedLinear) or not isinstance(layer.family, VeRA | LoRAXS):
        return {}
    return {name: tensor.detach().cpu() for name, tensor in layer.trained_tensors().items()}


def describe_layers(layers: Iterable[tuple[str, TrainedLayer]], names: Collection[str], what: str) -> UpdateTables:
    """Return the tables of layers, which are asked for one at a time.

    Args:
        layers: by name.
        names: of all of them.
        what: they are, beside the progress bar.
    """
    rows, points = [], []
    places = blocks_and_roles(names)
    with progress_bar(len(names), what, "layer", delay=0.5) as bar:
        for name, layer in layers:
            S = layer.update.singular_values()
            row, similarities = _row(name, *places[name], layer, S)
            rows.append(row)
            lines = _lines(layer, S) | {"similarity": list(enumerate(similarities, 1))}
            points += [(name, kind, at, value) for kind, line in lines.items() for at, value in line]
            bar.update()
    columns = ["layer", "what", "at", "value"]
    return UpdateTables(pd.DataFrame(rows, columns=_LAYERS), pd.DataFrame(points, columns=columns))


def _updates(record: RunRecord) -> UpdateTables:
    layers = trained_layers(record)
    return describe_layers(layers.items(), layers, f"updates of {method_label(record.spec['method'])}")


def _row(name: str, block: int, role: str, layer: TrainedLayer, S: Tensor) -> tuple[dict[str, Any], list[float]]:
    """Return a layer's row, and the similarities of W + ΔW's leading directions with W's."""
    weight = layer.weight.double()
    norm, whole = float(S.norm()), float(torch.linalg.matrix_norm(weight))
    found = intruder_dimensions(weight, layer.update, top=min(LEADING, *weight.shape), threshold=THRESHOLD)
    d, b, R = (layer.trained.get(key) for key in ("lambda_d", "lambda_b", "R"))
    largest = math.nan if R is None else float(R.abs().max())
    return {
        "layer": name, "block": block, "role": role, "out": weight.shape[0], "in": weight.shape[1],
        "relative_norm": norm / whole if whole else math.nan, "norm": norm,
        "rank": int((layer.update.rounding() < S).sum()), "rank_50": rank_for_energy(S, 0.5),
        "rank_90": rank_for_energy(S, 0.9), "stable_rank": stable_rank(S),
        "effective_rank": effective_rank(S), "top": float(S[0]),
        "weight_top": float(torch.linalg.matrix_norm(weight, 2)), "intruders": found.count,
        "leading": len(found.similarities), "chance": found.chance, "d_norm": _norm(d), "b_norm": _norm(b),
        "core_norm": _norm(R), "core_largest": largest,
        "core_rank": math.nan if R is None else len(R),
    }, found.similarities.tolist()  # fmt: skip


def _lines(layer: TrainedLayer, S: Tensor) -> dict[str, list[tuple[float, float]]]:
    """Return the points of every line of a layer but the similarities, as (at, value)."""
    S = S[layer.update.rounding() < S]
    numbers = _places(len(S))
    lines = {"spectrum": [(float(i + 1), float(S[i])) for i in numbers]}
    if "R" in layer.trained:
        return lines | {"R": list(enumerate(_square(layer.trained["R"].double())))}
    vectors = {name: layer.trained.get(f"lambda_{name}") for name in ("d", "b")}
    if any(vector is not None for vector in vectors.values()):
        return lines | {name: _sorted(vector) for name, vector in vectors.items() if vector is not None}
    delta = layer.update.to_matrix()
    norm = delta.norm() or 1.0
    sides = {"outputs": delta.norm(dim=1), "inputs": delta.norm(dim=0)}
    return lines | {name: _sorted(each * math.sqrt(len(each)) / norm) for name, each in sides.items()}


def _sorted(values: Tensor) -> list[tuple[float, float]]:
    ordered = values.double().abs().sort(descending=True).values
    return [((i + 1) / len(ordered), float(ordered[i])) for i in _places(len(ordered))]


def _places(n: int) -> list[int]:
    """Return at most so many places of n, close together at the start."""
    if n <= _POINTS:
        return list(range(n))
    return sorted({round(n ** (i / (_POINTS - 1))) - 1 for i in range(_POINTS)})


def _square(R: Tensor) -> list[float]:
    """Return R's entries as shares of the largest magnitude, row by row; of a large R that of every small square."""
    largest, step = R.abs().max(), math.ceil(len(R) / CELLS)
    size = math.ceil(len(R) / step)
    padded = torch.nn.functional.pad(R, (0, size * step - len(R)) * 2)
    cells = padded.unfold(0, step, step).unfold(1, step, step).reshape(size * size, -1)
    strongest = cells.gather(1, cells.abs().argmax(1, keepdim=True))[:, 0]
    return (strongest / largest if largest else strongest).tolist()


def _norm(tensor: Tensor | None) -> float:
    return math.nan if tensor is None else float(tensor.norm())
